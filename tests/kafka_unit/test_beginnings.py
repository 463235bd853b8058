"""Where partitions begin, asked of a consumer that answers in part or not at all."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.completion import Completion, encode
from kqworker.core.events import Start
from kqworker.errors import BrokerError
from kqworker.kafka.beginnings import Beginning, Beginnings
from kqworker.types import TopicPartition

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)
AWAY = KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Consumer:
    """Answers what a group has committed, and where partitions begin and end.

    Args:
        committed: Of partitions; of others it says that there is nothing.
        ends: Of partitions; each begins three below.
    """

    def __init__(
        self,
        committed: list[KafkaPartition] | KafkaException,
        ends: list[KafkaPartition] | KafkaException = AWAY,
    ) -> None:
        self.commits = committed
        self.ends = ends
        self.asked: list[list[int]] = []

    def committed(self, asked: list[KafkaPartition], timeout: float) -> list[KafkaPartition]:
        assert timeout > 0 and asked
        self.asked.append(sorted(p.partition for p in asked))
        if isinstance(self.commits, KafkaException):
            raise self.commits
        known = {(p.topic, p.partition): p for p in self.commits}
        return [known.get((p.topic, p.partition), p) for p in asked]

    def offsets_for_times(
        self, asked: list[KafkaPartition], timeout: float
    ) -> list[KafkaPartition]:
        assert timeout > 0
        if isinstance(self.ends, KafkaException):
            raise self.ends
        ends = {(p.topic, p.partition): p.offset for p in self.ends}
        before = {OFFSET_END: 0, OFFSET_BEGINNING: 3}
        return [
            KafkaPartition(p.topic, p.partition, ends[p.topic, p.partition] - before[p.offset])
            for p in asked
        ]


def none() -> list[KafkaPartition]:
    return [KafkaPartition(*ONE), KafkaPartition(*OTHER)]


def begin(
    consumer: Consumer, offset: str, *partitions: TopicPartition, present: int = 2
) -> dict[TopicPartition, Beginning]:
    beginnings = Beginnings(offset, {"t": present})
    return beginnings.of(consumer, partitions or (ONE, OTHER))  # type: ignore[arg-type]


def said(count: int, offset: int = 7) -> str:
    """The metadata of a commit that tells how many partitions there were at first."""
    text = encode(offset, Completion(partitions=count), 100)
    assert text is not None
    return text


@pytest.mark.parametrize("offset", ["earliest", "latest", "error"])
def test_what_is_committed_counts_whatever_the_setting(offset: str) -> None:
    consumer = Consumer([KafkaPartition(*ONE, 7, "map"), KafkaPartition(*OTHER, 0)])

    count = 2 if offset == "latest" else None
    assert begin(consumer, offset) == {
        ONE: Beginning(Start(7, "map", count), 7),
        OTHER: Beginning(Start(0, "", count), 0),
    }


def test_without_a_commit_the_setting_counts() -> None:
    ends = [KafkaPartition(*ONE, 5), KafkaPartition(*OTHER, 0)]

    assert begin(Consumer(none(), ends), "earliest") == dict.fromkeys(
        (ONE, OTHER), Beginning(Start(None), OFFSET_BEGINNING)
    )
    assert begin(Consumer(none(), ends), "latest") == {
        ONE: Beginning(Start(None, "", 2), 5),
        OTHER: Beginning(Start(None, "", 2), 0),
    }
    with pytest.raises(BrokerError, match=r"t\[0\]: the group has no committed offset"):
        begin(Consumer(none(), ends), "error")


def test_an_end_of_which_nothing_is_heard_is_no_beginning() -> None:
    consumer = Consumer(none(), [KafkaPartition(*ONE, 5), KafkaPartition(*OTHER, -1)])

    assert begin(consumer, "latest") == {ONE: Beginning(Start(None, "", 2), 5)}


# -- what came after the group's first start

NEW, NEWEST = TopicPartition("t", 2), TopicPartition("t", 3)
ENDS = [KafkaPartition("t", number, 10) for number in range(4)]


def at(found: dict[TopicPartition, Beginning]) -> dict[int, int]:
    return {partition.partition: beginning.at for partition, beginning in found.items()}


def test_a_partition_that_came_while_it_runs_begins_at_its_beginning() -> None:
    consumer = Consumer(
        [KafkaPartition(*ONE, 7, said(2)), KafkaPartition(*OTHER, 7, said(2))], ENDS
    )
    beginnings = Beginnings("latest", {"t": 2})
    assert at(beginnings.of(consumer, [ONE, OTHER])) == {0: 7, 1: 7}  # type: ignore[arg-type]
    assert consumer.asked == [[0, 1]]  # its own commits say it

    found = beginnings.of(consumer, [NEW, NEWEST])  # type: ignore[arg-type]

    assert at(found) == {2: 7, 3: 7}
    assert [beginning.start for beginning in found.values()] == [Start(None, "", 2)] * 2


def test_it_does_so_too_before_the_first_commit_was_made() -> None:
    found = begin(Consumer([], ENDS), "latest", ONE, OTHER, NEW, NEWEST)
    assert at(found) == {0: 10, 1: 10, 2: 7, 3: 7}


def test_a_partition_that_came_while_all_were_stopped_begins_at_its_beginning() -> None:
    # By the commits of partitions that somebody else owns now.
    consumer = Consumer([KafkaPartition(*ONE, 7, said(2)), KafkaPartition(*OTHER, 7)], ENDS)
    found = begin(consumer, "latest", NEWEST, present=4)
    assert at(found) == {3: 7}
    assert found[NEWEST].start.partitions == 2
    assert consumer.asked == [[3], [0, 1, 2]]


def test_without_a_commit_a_partition_of_the_first_start_begins_at_its_end() -> None:
    consumer = Consumer([KafkaPartition(*ONE, 7, said(2))], ENDS)
    assert at(begin(consumer, "latest", present=4)) == {0: 7, 1: 10}


def test_the_least_count_wins() -> None:
    # Two have started together while the topic grew.
    consumer = Consumer(
        [KafkaPartition(*ONE, 7, said(3)), KafkaPartition(*OTHER, 7, said(2))], ENDS
    )
    found = begin(consumer, "latest", NEW, NEWEST, present=4)
    assert at(found) == {2: 7, 3: 7}
    assert {beginning.start.partitions for beginning in found.values()} == {2}


def test_commits_of_somebody_else_prove_nothing_and_the_count_is_recorded() -> None:
    # As go-queue writes them, and as another program may.
    consumer = Consumer([KafkaPartition(*ONE, 7), KafkaPartition(*OTHER, 7, "foreign")], ENDS)
    found = begin(consumer, "latest", ONE, OTHER, NEW, NEWEST, present=4)
    assert at(found) == {0: 7, 1: 7, 2: 10, 3: 10}
    assert {beginning.start.partitions for beginning in found.values()} == {4}


def test_a_topic_that_came_while_it_runs_begins_at_its_beginning() -> None:
    consumer = Consumer([], ENDS)
    found = Beginnings("latest", {}).of(consumer, [ONE, OTHER])  # type: ignore[arg-type]
    assert at(found) == {0: 7, 1: 7}
    assert {beginning.start.partitions for beginning in found.values()} == {0}


def test_of_a_topic_that_came_while_it_ran_what_came_later_still_begins_at_its_beginning() -> None:
    consumer = Consumer([KafkaPartition(*ONE, 7, said(0))], ENDS)
    assert at(begin(consumer, "latest", ONE, OTHER)) == {0: 7, 1: 7}


def test_a_topic_that_was_made_anew_begins_at_its_beginning() -> None:
    # Kafka forgets what was committed of a topic that is deleted.
    consumer = Consumer([], ENDS)
    beginnings = Beginnings("latest", {"t": 2})
    assert at(beginnings.of(consumer, [ONE, OTHER])) == {0: 10, 1: 10}  # type: ignore[arg-type]
    assert at(beginnings.of(consumer, [ONE, OTHER])) == {0: 10, 1: 10}  # type: ignore[arg-type]
    beginnings.committed("t")

    found = beginnings.of(consumer, [ONE, OTHER])  # type: ignore[arg-type]

    assert at(found) == {0: 7, 1: 7}
    assert beginnings.told("t", Start(None)) == Start(None, "", 0)


def test_a_partition_that_was_not_begun_in_time_is_no_new_one() -> None:
    # Its leader was away at the first start; the other's commit is there by now.
    consumer = Consumer([KafkaPartition(*ONE, 7, said(2))], ENDS)
    beginnings = Beginnings("latest", {"t": 2})
    beginnings.committed("t")
    assert at(beginnings.of(consumer, [OTHER])) == {1: 10}  # type: ignore[arg-type]


def test_while_the_others_commits_are_not_to_be_had_what_has_none_waits() -> None:
    class Half(Consumer):
        def committed(self, asked: list[KafkaPartition], timeout: float) -> list[KafkaPartition]:
            if any(p.partition < 2 for p in asked):
                raise AWAY
            return super().committed(asked, timeout)

    consumer = Half([KafkaPartition(*NEW, 7, "foreign")], ENDS)
    found = begin(consumer, "latest", NEW, NEWEST)
    assert found == {NEW: Beginning(Start(7, "foreign", None), 7)}


def test_nothing_is_asked_or_recorded_where_the_beginning_is_the_setting() -> None:
    consumer = Consumer([KafkaPartition(*ONE, 7)], ENDS)
    found = begin(consumer, "earliest")
    assert [beginning.start.partitions for beginning in found.values()] == [None, None]
    assert consumer.asked == [[0, 1]]


@pytest.mark.parametrize("offset", ["earliest", "latest", "error"])
def test_without_an_answer_nothing_begins(offset: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert begin(Consumer(AWAY), offset) == {}
    assert "committed offsets are not to be had" in caplog.text


def test_a_cluster_that_does_not_tell_its_ends_lets_nothing_begin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert begin(Consumer(none()), "latest") == {}
    assert "ends of partitions are not to be had" in caplog.text
