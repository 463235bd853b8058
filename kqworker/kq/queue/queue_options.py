"""The options of a Queue beside its file: go-queue's, as functions.

Decides their bounds. Imports no Kafka. Tested by tests/kq/test_queue_options.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from kqworker.app.context import Context
from kqworker.app.signature import cannot_be_called, has_yield
from kqworker.errors import ConfigError
from kqworker.kq.option import Option, joined
from kqworker.kq.queue.metrics import Adds
from kqworker.settings import values
from kqworker.types import Message

T = TypeVar("T")

ErrorHandler = Callable[[Context, Message[bytes | None], BaseException], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What the options of one queue say together; each is explained at its function."""

    commit_interval: float = 1.0
    queue_capacity: int = 1000
    max_wait: float = 1.0
    metrics: Adds | None = None
    error_handler: ErrorHandler | None = None


# go-queue's own.
DEFAULTS: Final = QueueOptions()


class QueueOption(Option[QueueOptions]):
    """What a function `with_…` returns; a queue checks its value when it is made."""

    __slots__ = ()
    of = "a queue"


def with_commit_interval(seconds: float) -> QueueOption:
    """Set the time between two commits.

    Args:
        seconds: At least 0.01; 0 stands for the default, 1.
    """
    bound = values.seconds(0.01)
    return QueueOption(
        lambda options: replace(
            options,
            commit_interval=_checked(
                "with_commit_interval", bound, seconds, DEFAULTS.commit_interval
            ),
        )
    )


def with_queue_capacity(messages: int) -> QueueOption:
    """Set how many messages each member holds, including those being handled.

    Args:
        messages: At least 1; 0 stands for the default, 1000.
    """
    bound = values.whole(1)
    return QueueOption(
        lambda options: replace(
            options,
            queue_capacity=_checked(
                "with_queue_capacity", bound, messages, DEFAULTS.queue_capacity
            ),
        )
    )


def with_max_wait(seconds: float) -> QueueOption:
    """Set how long a fetch waits for `MinBytes`.

    A single message waits that long too, unless `MinBytes` is 1.

    Args:
        seconds: At least 0.001; more than 59 is taken for 59, with a warning, and 0 stands for
            the default, 1.
    """
    bound = values.seconds(0.001)
    return QueueOption(
        lambda options: replace(
            options, max_wait=_checked("with_max_wait", bound, seconds, DEFAULTS.max_wait)
        )
    )


def with_metrics(metrics: Adds) -> QueueOption:
    """Count each message, in the worker that handles it.

    Args:
        metrics: Its `add(seconds)` is called after each attempt, failed or not. Each worker
            has a copy of its own. What it raises is logged, at most once a minute, and
            changes nothing.
    """

    def apply(options: QueueOptions) -> QueueOptions:
        if isinstance(metrics, type):
            name = metrics.__name__
            raise ConfigError(f"with_metrics({name}): {name} is a class: give an object of it")
        if not callable(getattr(metrics, "add", None)):
            raise ConfigError(f"with_metrics({metrics!r}): it has no method add(seconds)")
        return replace(options, metrics=metrics)

    return QueueOption(apply)


def with_error_handler(function: ErrorHandler) -> QueueOption:
    """Call a function in the worker after each failed attempt, before anything comes of it.

    What it raises is logged, and changes nothing. It cannot push by the context: what a
    failed attempt pushes is dropped. It is not called for a worker that died or was killed;
    the log reports that.

    Args:
        function: Takes the context, the message with its bytes, and what was raised. It may
            be async if the handler is.
    """

    def apply(options: QueueOptions) -> QueueOptions:
        why = cannot_be_called(function, 3)
        if why is not None:
            raise ConfigError(
                f"with_error_handler({function!r}): it is called with context, message and "
                f"error: {why}"
            )
        if has_yield(function):
            raise ConfigError(
                f"with_error_handler({function!r}): it has a yield, so a call would run nothing"
            )
        return replace(options, error_handler=function)

    return QueueOption(apply)


def combined(options: tuple[QueueOption, ...]) -> QueueOptions:
    """Return what options say together; if two contradict each other, the later one counts.

    Raises:
        ConfigError: One of them is no option, or has a value that it does not take.
    """
    return joined(QueueOption, options, DEFAULTS)


def _checked(name: str, parse: values.Parse[T], value: object, default: T) -> T:
    if value == 0:
        return default
    try:
        return parse(value)
    except ValueError as error:
        raise ConfigError(f"{name}({value!r}): must be {error}, or 0") from None
