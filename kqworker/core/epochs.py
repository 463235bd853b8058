"""Assignments of partitions: what is open in each, and how far it is committed.

Each assignment of a partition is an epoch. A revoke or a loss ends it, and what comes
back from a worker for an ended epoch changes nothing (fencing).

Pure: no Kafka, no clock, no process. Knows nothing of workers or of ordering.
Tested by tests/core/test_epochs.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from kqworker.core.commands import Mark, Report, ReportKind
from kqworker.core.completion import Completion, decode, encode
from kqworker.core.events import Committed, Start
from kqworker.core.offsets import Offsets
from kqworker.core.stock import Stock
from kqworker.types import Failure, Records, TopicPartition

# Kafka's offset.metadata.max.bytes is 4,096 by default, of which 4,095 can be used.
METADATA_BUDGET = 4095


class Epoch:
    """One assignment of one partition.

    Attributes:
        number: Ascends over all epochs of a supervisor.
        member: Whose it is: what another member fetches of it, or loses, is not this one's.
        live: False once the partition was given back or lost.
        draining: The partition is to be given back: nothing new of it is begun.
        unreadable: What follows its position cannot be read at present.
        attempts: Attempts that open messages have had, by offset; only where any failed.
        tried: The last offset that a former owner has attempted in vain; -1 for none.
        stock: Its messages in memory.
        busy: Those of them that a worker has, or whose delivery is awaited.
        used: Characters of the map at the last look; more than the budget if it did not fit.
        partitions, clean, begun, handed, owner: What its commits say beside the map; see
            `Completion`.
        margin: How far beyond `handed` messages may have begun before the next commit.
        awaited: The mark whose answer it waits for; `awaited_begun` was `begun` then.
        told: What was begun, by the last commit of this owner that was confirmed; None while
            there is none.
        former: What the former owner has committed.
    """

    __slots__ = (
        "attempts",
        "awaited",
        "awaited_begun",
        "begun",
        "budget",
        "busy",
        "clean",
        "committed",
        "draining",
        "former",
        "full",
        "handed",
        "handler",
        "live",
        "margin",
        "member",
        "number",
        "offsets",
        "owner",
        "partition",
        "partitions",
        "stock",
        "told",
        "tried",
        "unreadable",
        "used",
    )

    def __init__(
        self,
        number: int,
        member: int,
        partition: TopicPartition,
        handler: int,
        start: Start,
        found: Completion,
    ) -> None:
        self.number = number
        self.member = member
        self.partition = partition
        self.handler = handler
        self.live = True
        self.draining = False
        self.unreadable = False
        self.stock = Stock()
        self.busy = 0
        self.budget = METADATA_BUDGET
        self.used = 0
        self.full = False  # at the last look of `Epochs.due`
        self.awaited: Mark | None = None
        self.committed: Mark | None = None
        if start.offset is not None:
            self.committed = Mark(start.offset, start.metadata)
        self.offsets = Offsets(start.offset, found.done)
        self.attempts: dict[int, int] = dict(found.attempts)
        self.tried = max(self.attempts, default=-1)
        self.partitions = found.partitions if start.partitions is None else start.partitions
        self.clean = False
        self.begun: tuple[int, ...] = ()
        self.handed = 0
        self.owner = 0
        self.margin = 0
        self.told: tuple[int, ...] | None = None
        self.awaited_begun: tuple[int, ...] = ()
        self.former = found

    def mark(self) -> Mark | None:
        """Return how far this epoch may be committed; None while nothing is known.

        Over the budget the finished runs are left out as a whole, and then the attempts. That
        is safe: what finished above the watermark may run again. What stands beside the map
        fits into any budget that Apache Kafka has by default.
        """
        watermark = self.offsets.watermark
        if watermark is None:
            return None
        # A message that compaction has removed meanwhile is never finished.
        self.attempts = {o: had for o, had in self.attempts.items() if o >= watermark}
        said = Completion(
            tuple(self.offsets.runs_done()),
            self.attempts,
            self.partitions,
            self.clean,
            self.begun,
            self.handed + self.margin if self.handed else 0,
            self.owner,
        )
        text = encode(watermark, said, self.budget)
        self.used = self.budget + 1 if text is None else len(text)
        if text is None:
            text = encode(watermark, replace(said, done=()), self.budget)
        if text is None:
            text = encode(watermark, replace(said, done=(), attempts={}), self.budget)
        return Mark(watermark, text or "")

    def unsettled(self) -> bool:
        """Return whether something of it is finished, and its commit not confirmed."""
        return self.awaited is not None or self.mark() not in (None, self.committed)

    def owes(self) -> bool:
        """Return whether what is finished, or was tried, is not confirmed as such by a commit.

        Unlike `unsettled` it leaves out what else a commit says: without a clean mark its
        messages come again no more than with one.
        """
        mark, known = self.mark(), self.committed
        if mark is None or mark == known:
            return False
        if known is None or mark.offset != known.offset:
            return True
        ours, theirs = (decode(m.metadata, m.offset) or Completion() for m in (mark, known))
        return (ours.done, ours.attempts) != (theirs.done, theirs.attempts)

    # -- what becomes of its messages

    def hold(self, count: int) -> None:
        """Count messages that a worker is given, or that wait for their records."""
        self.busy += count

    def hand_over(self, offsets: Sequence[int]) -> None:
        """Count messages that a worker is given, and that may begin from now on."""
        self.busy += len(offsets)
        if self.owner:
            self.handed = max(self.handed, offsets[-1] + 1)

    def take_back(self, count: int) -> None:
        """Count messages that come back from a worker, to be tried again or for the first time."""
        self.busy -= count

    def attempted(self, offset: int, attempts: int) -> None:
        """Note how many attempts a message has had in vain."""
        self.attempts[offset] = attempts

    def finish(self, records: Records, tried: bool) -> None:
        """Count messages as done for good, which were held.

        Args:
            records: Just them.
            tried: Any of them may have had attempts before.
        """
        self.busy -= len(records.values)
        self.offsets.finish(records.offsets)
        if tried:
            for offset in records.offsets:
                self.attempts.pop(offset, None)

    # -- its end, and what cannot be read

    def drain(self) -> None:
        """Begin nothing new any more: the partition is to be given back."""
        self.draining = True

    def halt(self) -> None:
        """Note that what follows its position cannot be read at present."""
        self.unreadable = True

    def read_on(self) -> None:
        """Note that something behind its position was read."""
        self.unreadable = False

    # -- what its commits say beside the map

    def claim(self, owner: int) -> None:
        """Say from now on who its owner is."""
        self.owner = owner

    def inherit(self) -> None:
        """Say what the former owner has said: nothing of this epoch will begin."""
        former = self.former
        self.owner, self.clean = former.owner, former.clean
        self.begun, self.handed = former.begun, former.handed

    def suspect_below(self, offset: int) -> None:
        """Say that what is open below this offset may have begun."""
        self.handed = offset

    def may_begin(self, margin: int) -> None:
        """Say that so many messages more may begin before the next commit."""
        self.margin = margin

    def charge(self, offset: int) -> int:
        """Charge a message that a former owner died on; return its attempts."""
        had = self.attempts[offset] = self.attempts.get(offset, 0) + 1
        self.tried = max(self.tried, offset)
        return had

    def name(self, *offsets: int) -> None:
        """Say that just these begin, each alone; none where there is none any more."""
        self.begun = offsets

    def confirmed(self) -> None:
        """Take for confirmed what is said of what begins."""
        self.told = self.begun

    def name_nobody(self) -> None:
        """Say nothing of what begins any more, and wait for no confirmation of that."""
        self.begun = self.told = ()

    def end_in_order(self) -> None:
        """Say that nothing of it is with a worker."""
        self.clean, self.begun = True, ()


class Epochs:
    """The epochs that a supervisor owns now, by partition, and their commits."""

    def __init__(self) -> None:
        self._epochs: dict[TopicPartition, Epoch] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs.values())

    def get(self, partition: TopicPartition) -> Epoch | None:
        """Return the present epoch of a partition; None if it is not owned."""
        return self._epochs.get(partition)

    def of(self, member: int, partition: TopicPartition) -> Epoch | None:
        """Return the present epoch of a partition if it is this member's, else None."""
        epoch = self._epochs.get(partition)
        return epoch if epoch is not None and epoch.member == member else None

    def begin(
        self, member: int, partition: TopicPartition, handler: int, start: Start
    ) -> tuple[Epoch, Report | None]:
        """Open a new epoch; also return what is to be said of a map that was dropped."""
        found: Completion | None = Completion()
        if start.offset is not None:
            found = decode(start.metadata, start.offset)
        self._number += 1
        epoch = Epoch(self._number, member, partition, handler, start, found or Completion())
        self._epochs[partition] = epoch
        if found is not None:
            return epoch, None
        failure = Failure("CompletionMap", f"unreadable metadata at offset {start.offset}")
        return epoch, Report(ReportKind.MAP_IGNORED, partition=partition, failure=failure)

    def end(self, partitions: Iterable[TopicPartition]) -> list[Epoch]:
        """Fence these partitions off; return the epochs that were open."""
        ended = []
        for partition in partitions:
            epoch = self._epochs.pop(partition, None)
            if epoch is not None:
                epoch.live = False
                ended.append(epoch)
        return ended

    def due(self, epochs: Iterable[Epoch]) -> tuple[dict[TopicPartition, Mark], list[Report]]:
        """Return the marks that are not committed yet, and what is to be said of them."""
        marks: dict[TopicPartition, Mark] = {}
        reports: list[Report] = []
        for epoch in epochs:
            mark = epoch.mark()
            if mark is None:
                continue
            full = epoch.used > epoch.budget
            if full and not epoch.full:
                # Said when it begins, even if there is no new watermark to commit.
                reports.append(
                    Report(ReportKind.MAP_FULL, partition=epoch.partition, offset=mark.offset)
                )
            epoch.full = full
            if mark != epoch.committed:
                marks[epoch.partition] = mark
        return marks, reports

    def ask(self, epochs: Iterable[Epoch]) -> tuple[dict[TopicPartition, Mark], list[Report]]:
        """Return what is to be committed now of these, and what is to be said of it.

        An epoch waits for one answer at a time: it must say which mark is confirmed, and who is
        named in that. The next mark is cumulative. (What is on its way to the broker, of former
        epochs, too, is the source's matter: docs/decisions/0019.)
        """
        marks, reports = self.due([epoch for epoch in epochs if epoch.awaited is None])
        for partition, mark in marks.items():
            epoch = self._epochs[partition]
            epoch.awaited, epoch.awaited_begun = mark, epoch.begun
        return marks, reports

    def answered(self, event: Committed) -> list[Report]:
        """Take the broker's answer; a commit that failed was no commit.

        An answer to a former epoch's commit may come late. It counts if that was of the very
        same mark: such a success is as good, and such a failure costs one more try.
        """
        reports = []
        for partition, mark in event.marks.items():
            epoch = self._epochs.get(partition)
            if epoch is None or epoch.awaited != mark:
                continue
            epoch.awaited = None
            if event.error is None:
                epoch.committed = mark
                epoch.told = epoch.awaited_begun
                continue
            if not event.too_large:
                # It may be the answer that failed, and what is to be committed may go back to
                # what was confirmed before: nobody knows what the broker has.
                epoch.committed = None
            else:
                # The limit is the broker's setting: find it by halving.
                epoch.budget = max(len(mark.metadata), 2) // 2
            failure = Failure("CommitFailed", event.error)
            reports.append(
                Report(
                    ReportKind.COMMIT_FAILED,
                    partition=partition,
                    offset=mark.offset,
                    failure=failure,
                )
            )
        return reports

    def settled(self) -> bool:
        """Return whether every epoch's mark is committed."""
        return not any(epoch.unsettled() for epoch in self)

    def owing(self) -> bool:
        """Return whether an epoch's work is not committed; see `Epoch.owes`."""
        return any(epoch.owes() for epoch in self)

    def reached(self, partition: TopicPartition, target: int) -> bool:
        """Return whether a partition is owned, and all below `target` in it is finished.

        Or all that can be read of it.
        """
        epoch = self._epochs.get(partition)
        if epoch is None:
            return False
        watermark = epoch.offsets.watermark
        read = epoch.unreadable and watermark == epoch.offsets.position
        return read or (watermark or 0) >= target

    def remaining(self, targets: Mapping[TopicPartition, int]) -> int:
        """Return the offsets below `targets` that are not finished, in what is owned."""
        left = 0
        for partition, target in targets.items():
            epoch = self._epochs.get(partition)
            if epoch is not None:
                left += max(0, target - (epoch.offsets.watermark or 0))
        return left
