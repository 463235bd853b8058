"""The core's `Sink` on Kafka: commands in, events out.

Decides what it tells the core of a record that was not delivered. Knows nothing of messages that
wait for a record, and nothing of retries: both are the core's.
Tested by tests/kafka_unit/test_sink.py, tests/kafka/test_sink.py and
tests/contract/test_sink.py.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.errors import BrokerError
from kqworker.kafka import refusals
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.outgoing import Outgoing
from kqworker.types import Failure, Output


@dataclass(slots=True, eq=False)
class _Produced:
    """A record of the core."""

    output: Output
    ticket: int
    answers: deque[Event]

    def delivered(self, message: Message) -> None:
        self.answers.append(Delivered(self.ticket))

    def refused(self, error: KafkaError, text: str) -> None:
        code = error.code()
        if code in refusals.UNKNOWN_TOPIC:
            text += ": no push, output or dead letter can go there"
        failure = Failure(f"KafkaError.{error.name()}", text)
        # The right may be given while the record waits.
        retriable = code not in refusals.FINAL - refusals.NO_RIGHT
        too_large = code in refusals.TOO_LARGE
        self.answers.append(Delivered(self.ticket, failure, retriable, too_large))

    def lost(self, error: BrokerError) -> None:
        """Tell the core nothing: then it does not commit the offset."""


class KafkaSink:
    """The sink of the core; every method is safe to call from several threads.

    Args:
        outgoing: Delivers the records; the sink starts and closes it.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._mailbox = Mailbox()
        # One system call for all answers of a poll, not one for each.
        self._answers: deque[Event] = deque()
        self._posting = threading.Lock()
        outgoing.start(self._post)

    @property
    def fatal(self) -> BrokerError | None:
        """Why it delivers nothing and answers nothing any more; None while it works."""
        return self._outgoing.fatal

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait, or there is a `fatal`."""
        return self._mailbox.fileno()

    def events(self) -> Sequence[Event]:
        """Return the answers since the last call, in order; never block."""
        return self._mailbox.take()

    def produce(self, command: Produce) -> None:
        """Produce a record; answered by one `Delivered`, unless there is a `fatal`; never block."""
        self._outgoing.enqueue(_Produced(command.output, command.ticket, self._answers))
        self._post()

    def close(self, timeout: float) -> bool:
        """Wait for records under way, as `Outgoing.close` does."""
        answered = self._outgoing.close(timeout)
        self._mailbox.close()
        return answered

    def _post(self) -> None:
        if self.fatal is not None:
            self._mailbox.fail(self.fatal)
        elif self._answers:
            with self._posting:
                found = [self._answers.popleft() for _ in range(len(self._answers))]
            self._mailbox.put(*found)
