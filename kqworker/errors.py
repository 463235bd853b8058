"""Every exception of kqworker, by who must act on it.

Pure. All of them survive pickling, so that they may cross a process.
Tested by tests/core/test_errors.py.
"""

from __future__ import annotations


class KQWorkerError(Exception):
    """The root of every error that kqworker raises."""


class ConfigError(KQWorkerError):
    """The user must mend a setting, an app or a file before the start."""


class HandlerError(KQWorkerError):
    """The application failed; raised where a result was asked for."""


class BrokerError(KQWorkerError):
    """Kafka refused or could not be reached: the operator must act.

    Attributes:
        retriable: Whether the same call may succeed later.
    """

    def __init__(self, text: str, retriable: bool = False) -> None:
        super().__init__(text, retriable)
        self.text = text
        self.retriable = retriable

    def __str__(self) -> str:
        return self.text


class WorkerLost(KQWorkerError):
    """Worker processes cannot be kept alive: the operator must act."""


class BugError(KQWorkerError):
    """kqworker broke a promise to itself: please report it."""


class Reject(Exception):  # a verdict that a handler raises, not an error of ours
    """Raised by a handler: no further attempt, the message is dead-lettered at once."""


class RetryLater(Exception):  # a verdict that a handler raises
    """Raised by a handler: try this message again after `seconds`.

    It counts as an attempt; a message out of attempts is dead-lettered.

    Args:
        seconds: The delay, at least 0.
        reason: Said in the log and in the dead letter.
    """

    def __init__(self, seconds: float, reason: str = "the handler asked for another attempt"):
        super().__init__(seconds, reason)
        self.seconds = seconds
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class DecodeError(HandlerError, Reject):
    """A payload is not what the handler's signature asks for.

    It never will be, so it is a `Reject`: no further attempt, dead-lettered at once.
    """
