"""The options of a queue: their bounds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kqworker.errors import ConfigError
from kqworker.kq import (
    Metrics,
    with_commit_interval,
    with_error_handler,
    with_max_wait,
    with_metrics,
    with_queue_capacity,
    with_sync_push,
)
from kqworker.kq.queue_options import QueueOptions, combined


def test_options_come_together_and_the_later_counts() -> None:
    options = combined((with_commit_interval(3), with_queue_capacity(7), with_commit_interval(2)))

    assert options == QueueOptions(commit_interval=2.0, queue_capacity=7)


@pytest.mark.parametrize("option", [with_commit_interval, with_queue_capacity, with_max_wait])
def test_nothing_is_the_default_as_in_go_queue(option: Callable[[float], Any]) -> None:
    assert combined((option(0),)) == QueueOptions()


@pytest.mark.parametrize("option", [with_commit_interval, with_queue_capacity, with_max_wait])
@pytest.mark.parametrize("value", [-1, "soon", None, True])
def test_what_is_out_of_bounds_is_refused_with_the_options_name(
    option: Callable[[Any], Any], value: object
) -> None:
    given = option(value)

    with pytest.raises(ConfigError, match=rf"{option.__name__}\(.*\): must be .*, or 0"):
        combined((given,))


def test_an_error_handler_takes_three_arguments() -> None:
    given = with_error_handler(lambda context: None)  # type: ignore[arg-type,misc]

    with pytest.raises(ConfigError, match="it is called with context, message and error"):
        combined((given,))


def test_metrics_are_an_object_and_no_class() -> None:
    given = with_metrics(Metrics)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"with_metrics\(Metrics\): Metrics is a class: give an"):
        combined((given,))


def test_metrics_have_a_method_add() -> None:
    given = with_metrics(object())  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"it has no method add\(seconds\)"):
        combined((given,))


@pytest.mark.parametrize("wrong", [3, with_sync_push(), pytest.fail])
def test_what_is_no_option_of_a_queue_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is not an option of a queue"):
        combined((wrong,))
