"""What a group has left to read, and why a run has not caught up yet; asked while the run goes on.

Decides how often to ask Kafka, and when to say that the run waits for a transaction. For a run
that ends when everything up to a target is handled: it sees what another supervisor of the group
does only by the group's commits.
Tested by tests/kafka_unit/test_group_lag.py, test_admin.py and tests/kafka/test_admin.py.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from kqworker.errors import BrokerError
from kqworker.kafka.admin import READ_COMMITTED, READ_UNCOMMITTED, TIMEOUT, Admin
from kqworker.kafka.firsts import first_counts
from kqworker.types import TopicPartition
from kqworker.watch import logs

logger = logs.logger("kqworker.kafka")

# The time between two questions. Each of them opens a connection.
ASK_SECONDS = 2.0
# How long a run has nothing to handle before Kafka is asked what it waits for; and the time between
# two lines about that.
IDLE_SECONDS = 2.0
TELL_SECONDS = 30.0


def left_to_read(
    kafka: Admin,
    group: str,
    topics: Mapping[str, int],
    offset: str,
    isolation: str = READ_COMMITTED,
    timeout: float = TIMEOUT,
) -> dict[TopicPartition, int]:
    """Return the end of each partition in which a group has something left to read.

    Messages of an open transaction count, whatever the isolation: they can be read, or passed
    over, once the transaction has ended.

    Args:
        kafka: The client to ask.
        group: The group.
        topics: Partitions by topic, as `require_topics` returns them.
        offset: Where it starts without a commit: earliest, latest or error. Partitions that
            came after its first start begin at their beginning. With a commit that is out
            of range it goes on at the log's start.
        isolation: The `isolation.level` of the group: it decides where `latest` begins.
        timeout: Seconds, for each of the questions.

    Raises:
        BrokerError: Kafka refuses or does not answer.
    """
    partitions = [TopicPartition(t, n) for t, count in topics.items() for n in range(count)]
    ends = kafka.end_offsets(partitions, READ_UNCOMMITTED, timeout)
    latest = ends
    if offset == "latest" and isolation != READ_UNCOMMITTED:
        latest = kafka.end_offsets(partitions, isolation, timeout)
    begins = kafka.beginning_offsets(partitions, timeout)
    starts = kafka.left_off(group, partitions, timeout)
    counts = {**topics, **first_counts(starts, topics)}
    left: dict[TopicPartition, int] = {}
    for tp, end in ends.items():
        position = starts[tp].offset if tp in starts else None
        if position is None and offset == "latest" and tp.partition < counts[tp.topic]:
            position = latest[tp]
        elif position is None or position > end:
            position = begins[tp]
        # Below the log's start some or all messages are gone, and the run must see that.
        if position < end:
            left[tp] = end
    return left


class _Asking(ABC):
    """A question that a thread asks Kafka again and again."""

    def __init__(self) -> None:
        self._asking: threading.Thread | None = None
        self._ask_at = 0.0

    def ask(self) -> None:
        """Start a question to Kafka, unless one runs or ran a moment ago; never block."""
        now = time.monotonic()
        if now < self._ask_at or (self._asking is not None and self._asking.is_alive()):
            return
        self._ask_at = now + ASK_SECONDS
        # Daemon: a frozen broker must not keep the process from ending.
        self._asking = threading.Thread(target=self._ask, name="kqworker-behind", daemon=True)
        self._asking.start()

    @abstractmethod
    def _ask(self) -> None:
        """Ask Kafka, on the background thread, and keep its answer."""


class Behind(_Asking):
    """The partitions in which a group has not committed everything up to some offsets.

    Args:
        properties: What `admin_properties` returns.
        group: The group.
        targets: The offsets, by partition.

    Attributes:
        left: The targets that the group has not reached by the last answer; replaced,
            never changed, so that any thread may read it.
    """

    def __init__(
        self, properties: Mapping[str, str], group: str, targets: Mapping[TopicPartition, int]
    ) -> None:
        super().__init__()
        self.left = targets
        self._properties = properties
        self._group = group

    def _ask(self) -> None:
        try:
            with Admin(self._properties) as kafka:
                committed = kafka.committed(self._group, self.left)
        except BrokerError as error:
            logger.warning("whether others are done is not known: %s", error)
            return
        self.left = {p: end for p, end in self.left.items() if committed.get(p, 0) < end}


class Transactions(_Asking):
    """Transactions that keep partitions from being read up to some offsets.

    Args:
        properties: What `admin_properties` returns.
        targets: The offsets, by partition.
    """

    def __init__(
        self, properties: Mapping[str, str], targets: Mapping[TopicPartition, int]
    ) -> None:
        super().__init__()
        self._properties = properties
        self._targets = targets
        self._idle_since: float | None = None
        self._tell_at = 0.0

    def look(self, idle: bool) -> None:
        """Log what the run waits for, once it has had nothing to do for a while; never block.

        Args:
            idle: There are messages left, and none of them can be handled now.
        """
        now = time.monotonic()
        if not idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now >= max(self._idle_since + IDLE_SECONDS, self._tell_at):
            self.ask()

    def _ask(self) -> None:
        try:
            with Admin(self._properties) as kafka:
                ends = kafka.end_offsets(self._targets, READ_COMMITTED)
        except BrokerError as error:
            logger.warning("whether a transaction is open is not known: %s", error)
            return
        for partition, end in ends.items():
            if end < self._targets[partition]:
                self._tell_at = time.monotonic() + TELL_SECONDS
                logger.warning(
                    "waiting for a transaction: from offset %s on %s cannot be read before it ends",
                    end,
                    partition,
                    extra={
                        "event": "transaction_open",
                        "topic": partition.topic,
                        "partition": partition.partition,
                        "offset": end,
                    },
                )
