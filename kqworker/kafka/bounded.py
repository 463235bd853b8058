"""Records on their way to the built-in broker, which drops what it cannot keep.

Decides who waits while there is no room, and who is told that nobody will make any. How much
room there is, is capacity.py's. Tested by tests/kafka_unit/test_bounded.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from confluent_kafka import KafkaError, Message

from kqworker.errors import BrokerError
from kqworker.kafka.capacity import Capacity
from kqworker.kafka.devbroker import BATCH_BYTES
from kqworker.kafka.producing import Job
from kqworker.kafka.sink import KafkaSink

# What it may take to end the questions that are under way.
CLOSE_SECONDS = 5.0


class BoundedSink(KafkaSink):
    """A sink that pushes no more to the built-in broker than fits.

    Args:
        properties: What `producer_properties` returns.
    """

    def __init__(self, properties: Mapping[str, str]) -> None:
        self._capacity = Capacity(properties["bootstrap.servers"], self._refill)
        super().__init__({"batch.size": str(BATCH_BYTES), **properties})

    @property
    def full(self) -> str:
        """Why records wait for room in a topic; empty while there is room."""
        return self._capacity.full

    def close(self, timeout: float) -> bool:
        """Close it as any sink."""
        answered = super().close(timeout)
        self._capacity.close(CLOSE_SECONDS)
        return answered

    def _accepted(self, job: Job) -> bool:
        """Hand a record on; return False if there is no room for it now.

        Raises:
            BrokerError: There is none, and nobody makes any.
        """
        if not self._capacity.admit(job.output):
            return False
        if super()._accepted(job._replace(answered=partial(self._arrived, job))):
            return True
        self._capacity.settle(job.output)
        return False

    def _taken(self, job: Job) -> bool:
        try:
            return self._accepted(job)
        except BrokerError as error:
            job.answered(KafkaError(KafkaError._QUEUE_FULL, str(error)), None)
            return True

    def _refill(self) -> None:
        # One topic's records do not wait for another's room.
        with self._lock:
            for _ in range(len(self._waiting)):
                job = self._waiting.popleft()
                if not self._taken(job):
                    self._waiting.append(job)
        super()._refill()

    def _arrived(self, job: Job, error: KafkaError | None, message: Message | None) -> None:
        self._capacity.settle(job.output, message if error is None else None)
        job.answered(error, message)
