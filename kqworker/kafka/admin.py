"""Questions to Kafka: which brokers and topics there are, where they end, what a group has done.

Decides what is asked, how often, and what an incomplete answer means; answers.py waits for
the answers. Joins no group. Tested by tests/kafka_unit/test_admin.py and
tests/kafka/test_admin.py.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import confluent_kafka
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # no __all__, but public
    AdminClient,
    ClusterMetadata,
    ListOffsetsResultInfo,
    NewTopic,
    OffsetSpec,
)

from kqworker.core.events import Start
from kqworker.errors import BrokerError
from kqworker.kafka.answers import PASSING, SLICE, Answers
from kqworker.kafka.reasons import Ear
from kqworker.settings.values import did_you_mean
from kqworker.types import TopicPartition

K = TypeVar("K")
T = TypeVar("T")

# How long a question waits for its answer by default.
TIMEOUT = 30.0
# How the name of librdkafka's mock cluster begins.
MOCK = "mockCluster"

# What `isolation.level` may be; the first is librdkafka's default for consumers.
READ_COMMITTED, READ_UNCOMMITTED = "read_committed", "read_uncommitted"
_LEVELS = {
    READ_COMMITTED: IsolationLevel.READ_COMMITTED,
    READ_UNCOMMITTED: IsolationLevel.READ_UNCOMMITTED,
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that answers.

    Attributes:
        brokers: How many are up.
        mock: Whether it is librdkafka's mock cluster, which does not answer some questions.
    """

    brokers: int
    mock: bool = False


class Admin:
    """A client that only asks questions; usable as a context manager.

    Args:
        properties: What `admin_properties` returns.
        unwanted: Asked while it waits: whether the answer is no longer wanted.
    """

    def __init__(
        self, properties: Mapping[str, str], unwanted: Callable[[], bool] = lambda: False
    ) -> None:
        self._address = properties["bootstrap.servers"]
        self._ear = Ear(self._address)
        heard: dict[str, Any] = {
            **properties,
            "error_cb": self._ear.error,
        }  # its stub: no callbacks
        self._properties = heard
        self._client = AdminClient(heard, logger=self._ear)
        self._answers = Answers(self._address, self._ear, lambda: self._client.poll(0), unwanted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections; no question is possible afterwards."""
        # It has no close() of its own; it ends with its last reference.
        del self._client

    def cluster(self, timeout: float = TIMEOUT) -> Cluster:
        """Wait until Kafka answers.

        Args:
            timeout: Seconds.

        Raises:
            BrokerError: It does not answer, or refuses us; the text says why.
        """
        listing = self._listing(timeout)
        return Cluster(len(listing.brokers), str(listing.cluster_id).startswith(MOCK))

    def topics(self, timeout: float = TIMEOUT) -> dict[str, int]:
        """Return all topics and how many partitions each has; creates none.

        Raises:
            BrokerError: Kafka does not answer.
        """
        # All of them: a question about one topic creates it on brokers that create topics.
        topics = self._listing(timeout).topics
        return {name: len(topic.partitions) for name, topic in topics.items()}

    def require_topics(self, wanted: Iterable[str], timeout: float = TIMEOUT) -> dict[str, int]:
        """Return the partitions of each wanted topic.

        Args:
            wanted: Names, and patterns, which begin with `^`. A pattern stands for all
                topics that it matches now. If there is none, that is no error: some may come.
            timeout: Seconds.

        Raises:
            BrokerError: A topic does not exist, or Kafka does not answer.
        """
        topics = self.topics(timeout)
        found: dict[str, int] = {}
        missing: list[str] = []
        unknown: list[str] = []
        for name in dict.fromkeys(wanted):
            if name.startswith("^"):
                # By search(), as in librdkafka: "^" holds for its own alternative alone.
                pattern = re.compile(name)
                found |= {t: count for t, count in topics.items() if pattern.search(t)}
            elif name in topics:
                found[name] = topics[name]
            else:
                hint = did_you_mean(name, topics)
                missing.append(f"topic {name!r} does not exist{hint}")
                if not hint:
                    unknown.append(name)
        if unknown:
            missing.append(
                "kqworker creates no topics; with Kafka's own tools: kafka-topics.sh "
                f"--bootstrap-server {self._address} --create --topic {unknown[0]}"
            )
        if missing:
            raise BrokerError("\n".join(missing))
        return found

    def create_topics(
        self,
        names: Iterable[str],
        partitions: int,
        replication: int = -1,
        timeout: float = TIMEOUT,
    ) -> None:
        """Create topics, and wait until they can be used; existing ones stay as they are.

        Args:
            names: The names of the topics.
            partitions: How many each topic gets, at least 1.
            replication: Copies of each partition; -1 for the cluster's own default.
            timeout: Seconds.

        Raises:
            BrokerError: Kafka refuses or does not answer.
        """
        wanted = set(names)
        deadline = time.monotonic() + timeout
        asked = self._client.create_topics(
            [NewTopic(name, partitions, replication) for name in wanted],
            request_timeout=timeout,
        )
        for name, future in asked.items():
            try:
                self._answers.of([future], timeout)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    self._answers.refuse(f"cannot create topic {name!r}", error)
        while not wanted <= self._led(deadline):
            # Each broker learns of a topic on its own; there is no event to wait for.
            time.sleep(SLICE)

    def end_offsets(
        self,
        partitions: Iterable[TopicPartition],
        isolation: str = READ_UNCOMMITTED,
        timeout: float = TIMEOUT,
    ) -> dict[TopicPartition, int]:
        """Return where each partition ends.

        Args:
            partitions: The partitions.
            isolation: As `isolation.level`: with read_uncommitted it is the offset that the
                next message will get; with read_committed it is the first offset of the oldest
                transaction that is still open, if there is one.
            timeout: Seconds.

        Raises:
            BrokerError: Kafka refuses or does not answer.
        """
        return self._offsets(partitions, OffsetSpec.latest(), timeout, isolation)  # type: ignore[no-untyped-call]

    def beginning_offsets(
        self, partitions: Iterable[TopicPartition], timeout: float = TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has.

        Raises:
            BrokerError: Kafka refuses or does not answer.
        """
        return self._offsets(partitions, OffsetSpec.earliest(), timeout)  # type: ignore[no-untyped-call]

    def committed(
        self, group: str, partitions: Iterable[TopicPartition], timeout: float = TIMEOUT
    ) -> dict[TopicPartition, int]:
        """Return what a group has committed; partitions without a commit are absent.

        Raises:
            BrokerError: Kafka refuses or does not answer.
        """
        starts = self.left_off(group, partitions, timeout)
        return {tp: start.offset for tp, start in starts.items() if start.offset is not None}

    def left_off(
        self, group: str, partitions: Iterable[TopicPartition], timeout: float = TIMEOUT
    ) -> dict[TopicPartition, Start]:
        """Return what a group has committed, with its metadata; other partitions are absent.

        Raises:
            BrokerError: Kafka refuses or does not answer.
        """
        asked = [_foreign(tp) for tp in partitions]
        if not asked:
            return {}
        # With a consumer that never joins. AdminClient.list_consumer_group_offsets ends the
        # process with SIGSEGV when the coordinator has moved or is not up yet:
        # https://github.com/confluentinc/librdkafka/issues/5040
        properties = {**self._properties, "group.id": group, "enable.auto.commit": "false"}
        consumer = Consumer(properties, logger=self._ear)

        def ask(timeout: float) -> list[confluent_kafka.TopicPartition]:
            return consumer.committed(asked, timeout=timeout)

        what = f"cannot read what group {group!r} has committed"
        told = self._answers.of_call(ask, what, timeout, consumer.close)
        return {
            TopicPartition(tp.topic, tp.partition): Start(tp.offset, tp.metadata or "")
            for tp in told
            if tp.error is None and tp.offset >= 0
        }

    # -- asking

    def told(
        self, ask: Callable[[AdminClient], Mapping[K, Future[T]]], timeout: float
    ) -> dict[K, T]:
        """Return the answers to questions, without those that a broker refuses.

        Args:
            ask: Asks the questions, and returns the answers to come.
            timeout: Seconds.

        Raises:
            BrokerError: Kafka does not answer.
        """
        answers: dict[K, T] = {}
        for about, future in ask(self._client).items():
            with contextlib.suppress(KafkaException):
                (answers[about],) = self._answers.of([future], timeout + SLICE)
        return answers

    def _offsets(
        self,
        partitions: Iterable[TopicPartition],
        spec: OffsetSpec,
        timeout: float,
        isolation: str = READ_UNCOMMITTED,
    ) -> dict[TopicPartition, int]:
        asked = {_foreign(tp): spec for tp in partitions}
        if not asked:
            return {}
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), SLICE)
            told = self._client.list_offsets(
                asked, isolation_level=_LEVELS[isolation], request_timeout=left
            )
            futures: list[Future[ListOffsetsResultInfo]] = list(told.values())
            try:
                answers = self._answers.of(futures, left + SLICE)
                # A broker that did not answer raises no error here: its offsets are -1001.
                if all(answer.offset >= 0 for answer in answers):
                    break
                unable = KafkaException(KafkaError(KafkaError._TIMED_OUT))
            except KafkaException as error:
                unable = error
            if unable.args[0].code() not in PASSING or time.monotonic() >= deadline:
                self._answers.refuse("cannot read the offsets of the topics", unable)
            time.sleep(SLICE)
        return {
            TopicPartition(tp.topic, tp.partition): answer.offset
            for tp, answer in zip(told, answers, strict=True)
        }

    def _led(self, deadline: float) -> set[str]:
        """Return the topics whose partitions all have a leader."""
        listing = self._listing(deadline - time.monotonic())
        return {
            name
            for name, topic in listing.topics.items()
            if topic.partitions and all(p.leader >= 0 for p in topic.partitions.values())
        }

    def _listing(self, timeout: float) -> ClusterMetadata:
        client = self._client

        def ask(timeout: float) -> ClusterMetadata:
            return client.list_topics(timeout=timeout)

        what = f"cannot list the topics of Kafka at {self._address}"
        return self._answers.of_call(ask, what, timeout)


def _foreign(tp: TopicPartition) -> confluent_kafka.TopicPartition:
    return confluent_kafka.TopicPartition(tp.topic, tp.partition)
