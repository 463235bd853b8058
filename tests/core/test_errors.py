"""Errors cross processes and keep what they say."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from kqworker import errors
from kqworker.errors import BrokerError, KQWorkerError, Reject, RetryLater

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value)
    and issubclass(value, BaseException)
    and value.__module__ == errors.__name__
]
MADE_OTHERWISE: dict[type[BaseException], BaseException] = {
    BrokerError: BrokerError("no leader", retriable=True),
    RetryLater: RetryLater(2.5, "busy"),
}


def test_the_module_holds_the_errors_that_are_tested() -> None:
    assert {KQWorkerError, Reject, *MADE_OTHERWISE} < set(CLASSES)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[BaseException], protocol: int) -> None:
    error = MADE_OTHERWISE.get(kind) or kind("what happened")
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.args == error.args
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_for_whom_it_is(kind: type[BaseException]) -> None:
    assert kind.__doc__
    # A handler's verdicts are no failures: `except KQWorkerError` must let them pass.
    assert issubclass(kind, KQWorkerError) == (kind not in (Reject, RetryLater))


def test_the_text_of_a_broker_error_is_what_happened() -> None:
    error = BrokerError("no leader")
    assert (str(error), error.text, error.retriable) == ("no leader", "no leader", False)


def test_retry_later_says_when_and_why() -> None:
    error = RetryLater(2.5)
    assert (error.seconds, str(error)) == (2.5, "the handler asked for another attempt")
    assert str(RetryLater(1, "busy")) == RetryLater(1, "busy").reason == "busy"
