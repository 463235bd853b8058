"""The options of a queue: their bounds, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from kqworker import kq
from kqworker.errors import ConfigError
from kqworker.kq import (
    Metrics,
    with_commit_interval,
    with_error_handler,
    with_max_wait,
    with_metrics,
    with_on_delivery,
    with_queue_capacity,
    with_sync_push,
)
from kqworker.kq.queue.queue_options import QueueOptions, combined


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


def test_a_function_without_a_signature_may_be_an_error_handler() -> None:
    assert combined((with_error_handler(min),)).error_handler is min


def test_metrics_are_an_object_and_no_class() -> None:
    given = with_metrics(Metrics)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"with_metrics\(Metrics\): Metrics is a class: give an"):
        combined((given,))


def test_metrics_have_a_method_add() -> None:
    given = with_metrics(object())  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"it has no method add\(seconds\)"):
        combined((given,))


@pytest.mark.parametrize("wrong", [3, with_sync_push, pytest.fail])
def test_what_is_no_option_of_a_queue_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is not an option of a queue: give what a function"):
        combined((wrong,))


def test_an_option_of_a_pusher_is_named_and_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        combined((with_max_wait(1), with_sync_push()))  # type: ignore[arg-type]

    assert str(caught.value) == "with_sync_push(…) is an option of a pusher, not of a queue"


@pytest.mark.parametrize(
    "option",
    [
        with_commit_interval(1),
        with_queue_capacity(1),
        with_max_wait(1),
        with_metrics(Metrics("m")),
        with_error_handler(print),
        with_sync_push(),
        with_on_delivery(print),
    ],
)
def test_an_option_is_shown_as_the_function_that_made_it(option: object) -> None:
    assert re.fullmatch(r"with_\w+\(…\)", repr(option))
    assert repr(option).removesuffix("(…)") in kq.__all__
