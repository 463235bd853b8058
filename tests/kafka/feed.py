"""Records that are produced while something happens: a producer with a thread of its own.

Decides the pace: no faster than the handlers can follow, never all at once, and the last
part only when the test has done what it wanted to do under load. The producer is idempotent
and patient, so brokers may be killed under it. Uses confluent_kafka alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from confluent_kafka import KafkaError, Message, Producer

from tests.kafka.cluster import Cluster
from tests.kafka.journal import Key

PATIENCE = 120.0
# How often it takes a breath, in seconds.
BREATH = 0.02


class Feed:
    """Produces records in the background; entered, it runs, left, it has delivered all.

    Args:
        cluster: Where to.
        topic: Where to.
        values: Of the records.
        keys: Of the records; without them they go to the partitions in turn.
        partitions: Those of the topic.
        handled: How many of them were handled by now.
        ahead: How many may be produced and not handled.
        held: How many, the last ones, wait until `finish` is called.
        rate: How many a second at most.

    Attributes:
        placed: Where the delivered records are, by their number; the offset is -1 where a
            broker said that it has the record already.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        values: Sequence[bytes],
        *,
        keys: Sequence[bytes] | None = None,
        partitions: int = 1,
        handled: Callable[[], int],
        ahead: int = 10_000,
        held: int = 0,
        rate: int = 10_000,
    ) -> None:
        self._settings: dict[str, str | int] = {
            **cluster.client,
            "enable.idempotence": "true",
            "acks": "all",
            "linger.ms": 5,
            "message.timeout.ms": int(PATIENCE * 1000),
            "reconnect.backoff.max.ms": 1000,
            "log_level": 0,
        }
        self._topic = topic
        self._values = values
        self._keys = keys
        self._partitions = partitions
        self._handled = handled
        self._ahead = ahead
        self._held = held
        self._chunk = max(1, int(rate * BREATH))
        self._finish = threading.Event()
        self._stop = threading.Event()
        self._enough = threading.Event()
        self._failures: list[BaseException | KafkaError] = []
        self.placed: dict[int, Key] = {}
        self._thread = threading.Thread(target=self._run, name="feed")

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._finish.set()
        self._thread.join()
        if kind is None:
            self.check()

    def finish(self) -> None:
        """Let the last ones go."""
        self._finish.set()

    def enough(self) -> None:
        """Return when all that were begun are delivered; none is begun any more."""
        self._enough.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Fail if a record could not be delivered."""
        assert not self._failures, self._failures[:5]

    def _run(self) -> None:
        try:
            with Producer(self._settings) as producer:
                for number in range(len(self._values)):
                    if number % self._chunk == 0:
                        self._breathe(producer)
                        while not self._over() and self._must_wait(number):
                            self._breathe(producer)
                    if self._over():
                        break
                    self._produce(producer, number)
                if self._stop.is_set():
                    producer.purge()
                producer.flush(PATIENCE)
        except BaseException as error:  # of a thread nobody else would hear of
            self._failures.append(error)

    def _breathe(self, producer: Producer) -> None:
        # poll() alone comes back at once when something was delivered.
        self._stop.wait(BREATH)
        producer.poll(0)

    def _over(self) -> bool:
        return self._stop.is_set() or self._enough.is_set()

    def _must_wait(self, number: int) -> bool:
        held = number >= len(self._values) - self._held and not self._finish.is_set()
        return held or number - self._handled() >= self._ahead

    def _produce(self, producer: Producer, number: int) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None and not self._stop.is_set():
                self._failures.append(error)
            elif error is None:
                self.placed[number] = Key(
                    self._topic, message.partition() or 0, message.offset() or 0
                )

        key = None if self._keys is None else self._keys[number]
        where = {} if self._keys is not None else {"partition": number % self._partitions}
        producer.produce(self._topic, self._values[number], key, on_delivery=delivered, **where)
