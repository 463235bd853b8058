"""Whom a commit's failure is about, where librdkafka says it of all that went with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.commands import Mark
from kqworker.core.events import Committed, Start
from kqworker.kafka.commit_fence import CommitFence
from kqworker.kafka.commits import Commits
from kqworker.kafka.mailbox import Mailbox
from kqworker.types import TopicPartition

GONE, STAYS, BESIDE = (
    TopicPartition("gone", 0),
    TopicPartition("stays", 0),
    TopicPartition("stays", 1),
)
ALL = (GONE, STAYS, BESIDE)


class Broker:
    """Commits for a consumer, and answers as librdkafka passes it on.

    Args:
        code: Of the error about the partitions that are `refused`.
        refused: Which.
    """

    def __init__(self, code: int, *refused: TopicPartition) -> None:
        self.code = code
        self.refused = set(refused)
        self.asked: list[set[TopicPartition]] = []
        self.answers: list[tuple[KafkaError | None, list[KafkaPartition]]] = []

    def commit(self, offsets: list[KafkaPartition], asynchronous: bool) -> Any:
        partitions = {TopicPartition(p.topic, p.partition) for p in offsets}
        self.asked.append(partitions)
        error = KafkaError(self.code, "no") if partitions & self.refused else None
        if asynchronous:
            self.answers.append((error, offsets))
        elif error is not None:
            raise KafkaException(error)
        return offsets


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


@pytest.fixture
def fence() -> CommitFence:
    made = CommitFence()
    for partition in ALL:
        made.begin(partition, Start(0, ""))
        made.reach(partition, 5)
    return made


def answer(commits: Commits, broker: Broker) -> None:
    while broker.answers:
        commits.answered(broker, *broker.answers.pop(0))  # type: ignore[arg-type]


def outcome(mailbox: Mailbox) -> dict[TopicPartition, str | None]:
    """Of each partition the one answer to its commit."""
    told = [event for event in mailbox.take() if isinstance(event, Committed)]
    found = [(partition, event.error) for event in told for partition in event.marks]
    assert len(found) == len({partition for partition, _ in found})
    return dict(found)


def to_send(fence: CommitFence, mark: Mark) -> set[TopicPartition]:
    """The partitions that the broker is not known to have at this mark."""
    marks, _ = fence.ask(dict.fromkeys(ALL, mark))
    return set(marks)


@pytest.mark.parametrize("wait", [False, True], ids=["asked", "last"])
def test_a_topic_that_is_gone_does_not_fail_the_commits_of_others(
    fence: CommitFence, mailbox: Mailbox, wait: bool
) -> None:
    broker = Broker(KafkaError.UNKNOWN_TOPIC_OR_PART, GONE)
    commits = Commits(fence, mailbox)
    marks = dict.fromkeys(ALL, Mark(5, ""))

    if wait:
        commits.last(broker, marks, ALL)  # type: ignore[arg-type]
    else:
        commits.ask(broker, marks)  # type: ignore[arg-type]
        answer(commits, broker)

    assert outcome(mailbox) == {GONE: "no", STAYS: None, BESIDE: None}
    assert broker.asked == [set(ALL), {GONE}, {STAYS, BESIDE}]
    assert not fence.busy
    assert to_send(fence, Mark(5, "")) == {GONE}


@pytest.mark.parametrize("wait", [False, True], ids=["asked", "last"])
def test_metadata_that_is_too_large_is_told_of_its_partition_alone(
    fence: CommitFence, mailbox: Mailbox, wait: bool
) -> None:
    broker = Broker(KafkaError.OFFSET_METADATA_TOO_LARGE, STAYS)
    commits = Commits(fence, mailbox)
    marks = dict.fromkeys(ALL, Mark(5, ""))

    if wait:
        commits.last(broker, marks, ALL)  # type: ignore[arg-type]
    else:
        commits.ask(broker, marks)  # type: ignore[arg-type]
        answer(commits, broker)

    events = mailbox.take()
    assert Committed({STAYS: Mark(5, "")}, "no", too_large=True) in events
    assert {event.error for event in events if isinstance(event, Committed)} == {None, "no"}
    assert to_send(fence, Mark(5, "")) == {STAYS}


def test_what_fails_for_the_whole_group_is_not_tried_apart(
    fence: CommitFence, mailbox: Mailbox
) -> None:
    broker = Broker(KafkaError.ILLEGAL_GENERATION, GONE)
    commits = Commits(fence, mailbox)

    commits.ask(broker, dict.fromkeys(ALL, Mark(5, "")))  # type: ignore[arg-type]
    answer(commits, broker)

    assert broker.asked == [set(ALL)]
    assert outcome(mailbox) == dict.fromkeys(ALL, "no")


def test_what_was_given_away_meanwhile_is_not_committed_again(
    fence: CommitFence, mailbox: Mailbox
) -> None:
    broker = Broker(KafkaError.UNKNOWN_TOPIC_OR_PART, GONE)
    commits = Commits(fence, mailbox)
    commits.ask(broker, dict.fromkeys(ALL, Mark(5, "")))  # type: ignore[arg-type]

    fence.end([STAYS])
    answer(commits, broker)

    assert broker.asked == [set(ALL), {GONE}, {BESIDE}]
    assert outcome(mailbox) == {GONE: "no", STAYS: "no", BESIDE: None}
    assert not fence.busy
