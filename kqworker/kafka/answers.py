"""Waiting for Kafka's answers, so that the wait can always be ended.

Decides which refusals mean "ask again", when no answer counts as one, and which reason is given.
Every wait answers Ctrl-C at once, and a refused login or certificate ends it at once. admin.py
asks the questions. Tested by tests/kafka_unit/test_admin.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import NoReturn, TypeVar

from confluent_kafka import KafkaError, KafkaException

from kqworker.clock import TimeOut
from kqworker.errors import BrokerError
from kqworker.kafka.reasons import Ear

T = TypeVar("T")

# How often a wait looks for reasons to end.
SLICE = 0.1
# How long one blocking attempt may take: short at first, for a broker that comes up while we
# wait; at last long enough for a large cluster's answer.
FIRST_ATTEMPT, LAST_ATTEMPT = 0.2, 4.0

# Right after a start or a failover these mean "ask again".
PASSING = frozenset(
    {
        KafkaError._NOENT,  # "no leaders found", for a topic that is new or has none now
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        # One broker knows of a new leader, and another does not yet (KIP-320, KIP-207).
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


class Answers:
    """The answers to what one client asks.

    Args:
        address: What the user calls Kafka.
        ear: Hears why there is no answer.
        poll: Lets the client call back with what it has heard.
        unwanted: Whether the answer is no longer wanted.
    """

    def __init__(
        self, address: str, ear: Ear, poll: Callable[[], object], unwanted: Callable[[], bool]
    ) -> None:
        self._address = address
        self._ear = ear
        self._poll = poll
        self._unwanted = unwanted

    def of(self, futures: Sequence[Future[T]], timeout: float) -> list[T]:
        """Wait for all answers, and notice meanwhile why they do not come.

        Args:
            futures: The answers to come.
            timeout: Seconds.

        Raises:
            BrokerError: Kafka does not answer.
            KafkaException: It refuses.
        """
        time_out = TimeOut(timeout, SLICE)
        # wait() in slices: a Ctrl-C is answered between two slices, and below at once.
        while wait(futures, SLICE).not_done:
            if self._unwanted():
                raise BrokerError(f"told to stop before Kafka at {self._address} had answered")
            try:
                self._poll()
            except SystemError:
                # A callback's exception is lost. Ours raise none: a signal handler has raised.
                raise KeyboardInterrupt from None
            if self._ear.refusal is not None:
                raise BrokerError(self._ear.refusal)
            if time_out.left <= 0:
                why = self._ear.why() or "no answer"
                text = f"cannot reach Kafka at {self._address}: {why} (waited {timeout:g}s)"
                raise BrokerError(text, retriable=True)
        return [future.result() for future in futures]

    def of_call(
        self,
        ask: Callable[[float], T],
        what: str,
        timeout: float,
        finish: Callable[[], None] | None = None,
    ) -> T:
        """Make a blocking call in a thread, because Ctrl-C could not end the call.

        Args:
            ask: The call, which takes the seconds that it may last; repeated while it fails.
            what: What cannot be done, for the error if Kafka refuses.
            timeout: Seconds.
            finish: Called in the thread after the last call.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
        """
        answer: Future[T] = Future()
        given_up = threading.Event()
        arguments = (ask, finish, timeout, answer, given_up)
        threading.Thread(target=_repeat, args=arguments, name="kqworker-admin", daemon=True).start()
        try:
            return self.of([answer], timeout)[0]
        except KafkaException as error:
            self.refuse(what, error)
        finally:
            given_up.set()

    def refuse(self, what: str, error: KafkaException) -> NoReturn:
        """Raise a BrokerError that says what cannot be done, and why."""
        told = error.args[0]
        reason = f"{told.str()} ({why})" if (why := self._ear.why()) else told.str()
        raise BrokerError(f"{what}: {reason}", told.code() in PASSING) from None


def _repeat(
    ask: Callable[[float], T],
    finish: Callable[[], None] | None,
    timeout: float,
    answer: Future[T],
    given_up: threading.Event,
) -> None:
    """Call until there is an answer, the time is over or nobody waits any more."""
    time_out, patience = TimeOut(timeout, LAST_ATTEMPT), FIRST_ATTEMPT
    while not given_up.is_set() and (left := time_out.left) > 0:
        try:
            answer.set_result(ask(min(left, patience)))
            break
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                answer.set_exception(error)
                break
        patience = min(2 * patience, LAST_ATTEMPT)
    if finish is not None:
        finish()
