"""The commits of one member: sent without waiting, or waited for when an epoch ends.

Decides how a commit's answer becomes an event, which failures are tried again at the end
of an epoch, and which partitions a failure concerns that librdkafka reports for all.
commit_fence.py decides what may be committed. Called only on the member's thread.
Tested by tests/kafka_unit/test_commits.py and tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.commands import Mark
from kqworker.core.events import Committed
from kqworker.kafka.commit_fence import CommitFence, Marks
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.partitions import ours
from kqworker.types import TopicPartition

# Tries of the last commit of an epoch, while the group or its coordinator moves.
LAST_TRIES = 3
_PASSING = {
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.REQUEST_TIMED_OUT,
}
# Errors of the broker for single partitions. librdkafka reports them for all partitions of the
# commit, although the others are committed: commits one by one show which it concerns.
_OF_TOPICS = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}
_OF_PARTITIONS = {KafkaError.OFFSET_METADATA_TOO_LARGE}


class Commits:
    """Commits what the fence allows.

    Args:
        fence: Knows what may be committed.
        mailbox: Where the answers go.
    """

    def __init__(self, fence: CommitFence, mailbox: Mailbox) -> None:
        self._fence = fence
        self._mailbox = mailbox

    def ask(self, consumer: Consumer, marks: Mapping[TopicPartition, Mark]) -> None:
        """Commit without waiting; `answered` is called with the broker's answer."""
        send, answers = self._fence.ask(marks)
        self._mailbox.put(*answers)
        self._send(consumer, send)

    def answered(
        self, consumer: Consumer, error: KafkaError | None, partitions: list[KafkaPartition]
    ) -> None:
        """Take the broker's answer, and send the marks that have waited for it."""
        marks = {ours(p): Mark(p.offset, p.metadata or "") for p in partitions}
        parts = _apart(error, marks)
        if len(parts) > 1:
            again = {p: mark for p, mark in marks.items() if self._fence.on_its_way(p, mark)}
            for part in parts:
                self._send(consumer, {p: again[p] for p in part if p in again})
            partitions = [p for p in partitions if ours(p) not in again]
        following = {}
        for p in partitions:
            ok = error is None and p.error is None
            mark = self._fence.answered(ours(p), Mark(p.offset, p.metadata or ""), ok)
            if mark is not None:
                following[ours(p)] = mark
        self._mailbox.put(*_events(error, partitions, marks))
        self._send(consumer, following)

    def last(
        self,
        consumer: Consumer,
        marks: Mapping[TopicPartition, Mark],
        partitions: Iterable[TopicPartition] = (),
    ) -> None:
        """Commit and wait for the answer.

        Args:
            consumer: The consumer of the partitions.
            marks: What to commit.
            partitions: Those whose epoch ends: their waiting marks are sent, too.
        """
        send, answers = self._fence.last(marks, partitions)
        self._mailbox.put(*answers)
        for left in reversed(range(LAST_TRIES)):
            send = self._wait(consumer, send, retry=left > 0)

    def _wait(self, consumer: Consumer, marks: Marks, retry: bool) -> Marks:
        """Commit, and report the answer; return what is to be tried again."""
        if not marks:
            return {}
        offsets = _offsets(marks)
        error = None
        try:
            offsets = consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as raised:
            error = raised.args[0]
        again: Marks = {}
        parts = _apart(error, marks)
        if len(parts) > 1:
            for part in parts:
                again |= self._wait(consumer, part, retry)
            return again
        for p in offsets:
            failed = error or p.error
            self._fence.settle(ours(p), marks[ours(p)], failed is None)
            if retry and failed is not None and failed.code() in _PASSING:
                again[ours(p)] = marks[ours(p)]
        answered = [p for p in offsets if ours(p) not in again]
        self._mailbox.put(*_events(error, answered, marks))
        return again

    def _send(self, consumer: Consumer, marks: Mapping[TopicPartition, Mark]) -> None:
        if not marks:
            return
        offsets = _offsets(marks)
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self.answered(consumer, error.args[0], offsets)


def _offsets(marks: Mapping[TopicPartition, Mark]) -> list[KafkaPartition]:
    return [KafkaPartition(*p, mark.offset, mark.metadata) for p, mark in marks.items()]


def _apart(error: KafkaError | None, marks: Marks) -> list[Marks]:
    """Return the marks in the parts to commit again, to see which partitions fail."""
    by_topic = error is not None and error.code() in _OF_TOPICS
    if error is None or not (by_topic or error.code() in _OF_PARTITIONS):
        return [marks]
    parts: dict[object, Marks] = {}
    for p, mark in marks.items():
        parts.setdefault(p.topic if by_topic else p, {})[p] = mark
    return list(parts.values())


def _events(
    error: KafkaError | None, partitions: Iterable[KafkaPartition], asked: Marks
) -> list[Committed]:
    """Return the events of a commit: one for all partitions with the same result."""
    told: dict[tuple[str | None, bool], Marks] = {}
    for p in partitions:
        failed = error or p.error
        kind: tuple[str | None, bool] = None, False
        if failed is not None:
            kind = failed.str(), failed.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
        told.setdefault(kind, {})[ours(p)] = asked[ours(p)]
    return [Committed(marks, text, large) for (text, large), marks in told.items()]
