"""The commits of one member: sent without waiting, or waited for when an epoch ends.

Decides how a commit's answer becomes an event, and which failures are tried again at the
end of an epoch. What may be committed at all is ledger.py's. Called on the member's thread
only. Tested by tests/contract/test_source.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.commands import Mark
from kqworker.core.events import Committed
from kqworker.kafka.ledger import Ledger
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.partitions import ours
from kqworker.types import TopicPartition

# Tries of the last commit of an epoch, while the group or its coordinator is on the move.
LAST_TRIES = 3
_PASSING = {
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.REQUEST_TIMED_OUT,
}


class Commits:
    """Carries out what the ledger allows.

    Args:
        ledger: Knows what may be committed.
        mailbox: Where the answers go.
    """

    def __init__(self, ledger: Ledger, mailbox: Mailbox) -> None:
        self._ledger = ledger
        self._mailbox = mailbox

    def ask(self, consumer: Consumer, marks: Mapping[TopicPartition, Mark]) -> None:
        """Commit without waiting; `answered` is called with the broker's answer."""
        send, answers = self._ledger.ask(marks)
        self._mailbox.put(*answers)
        self._send(consumer, send)

    def answered(
        self, consumer: Consumer, error: KafkaError | None, partitions: list[KafkaPartition]
    ) -> None:
        """Take the broker's answer, and send what has waited for it."""
        following = {}
        for p in partitions:
            ok = error is None and p.error is None
            mark = self._ledger.answered(ours(p), Mark(p.offset, p.metadata or ""), ok)
            if mark is not None:
                following[ours(p)] = mark
        self._mailbox.put(*_events(error, partitions))
        self._send(consumer, following)

    def last(
        self,
        consumer: Consumer,
        marks: Mapping[TopicPartition, Mark],
        partitions: Iterable[TopicPartition] = (),
    ) -> None:
        """Commit and wait for the answer.

        Args:
            consumer: Whose partitions they are.
            marks: What to commit.
            partitions: Whose epoch ends: what waits of them goes out too.
        """
        send, answers = self._ledger.last(marks, partitions)
        self._mailbox.put(*answers)
        for left in reversed(range(LAST_TRIES)):
            if not send:
                return
            offsets = _offsets(send)
            error = None
            try:
                offsets = consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as raised:
                error = raised.args[0]
            again = {}
            for p in offsets:
                failed = error or p.error
                self._ledger.settle(ours(p), send[ours(p)], failed is None)
                if left and failed is not None and failed.code() in _PASSING:
                    again[ours(p)] = send[ours(p)]
            self._mailbox.put(*_events(error, [p for p in offsets if ours(p) not in again]))
            send = again

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


def _events(error: KafkaError | None, partitions: Iterable[KafkaPartition]) -> list[Committed]:
    """Return what to say of a commit: one event for those that went alike."""
    told: dict[tuple[str | None, bool], dict[TopicPartition, int]] = {}
    for p in partitions:
        failed = error or p.error
        kind: tuple[str | None, bool] = None, False
        if failed is not None:
            kind = failed.str(), failed.code() == KafkaError.OFFSET_METADATA_TOO_LARGE
        told.setdefault(kind, {})[ours(p)] = p.offset
    return [Committed(offsets, text, large) for (text, large), offsets in told.items()]
