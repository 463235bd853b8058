"""Which commits of one member may go to the broker, and which are on their way to it.

The broker checks neither who owns a partition nor whether an offset goes back, so both are
checked here, at the last moment. Decides that each partition has one request on its way at a
time, whichever epoch it belongs to, and what happens to a newer mark meanwhile: librdkafka
sends a request again by itself, and of two requests the older one could arrive last. Each mark
is answered, or merged into a newer one. (`core.epochs` decides whose answer the core waits
for: see docs/decisions/0019.)

Pure: no Kafka, no clock, no thread. Tested by tests/kafka_unit/test_commit_fence.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from kqworker.core.commands import Mark
from kqworker.core.events import Committed, Start
from kqworker.types import TopicPartition

Marks = dict[TopicPartition, Mark]

NOT_OWNED = "not committed: the partition is not owned (any more)"
BACKWARDS = "not committed: it is lower than what was committed before"
BEYOND = "not committed: it is beyond what was handed over"


@dataclass(slots=True, eq=False)
class FencedEpoch:
    """One assignment of one partition.

    Attributes:
        floor: Commits may not go below it: the start, then the highest mark so far.
        reached: Commits may not go beyond it: the end of what was handed over.
        committed: What the broker has, as far as we know.
        waiting: The newest mark that came while another was on its way.
    """

    floor: int | None
    reached: int | None
    committed: Mark | None
    waiting: Mark | None = None


class CommitFence:
    """The commits of one member of a group."""

    def __init__(self) -> None:
        self._epochs: dict[TopicPartition, FencedEpoch] = {}
        # Each with the epoch that it belongs to: an answer may come after the epoch's end.
        self._on_its_way: dict[TopicPartition, tuple[FencedEpoch, Mark]] = {}

    @property
    def owned(self) -> Set[TopicPartition]:
        """The partitions that are assigned now."""
        return self._epochs.keys()

    @property
    def busy(self) -> bool:
        """Whether a commit is on its way."""
        return bool(self._on_its_way)

    def begin(self, partition: TopicPartition, start: Start) -> None:
        """Open an epoch."""
        offset = start.offset
        mark = None if offset is None else Mark(offset, start.metadata)
        self._epochs[partition] = FencedEpoch(offset, offset, mark)

    def end(self, partitions: Iterable[TopicPartition]) -> list[Committed]:
        """Close epochs; return the answers to marks that can no longer go out."""
        ended = {p: epoch for p in partitions if (epoch := self._epochs.pop(p, None)) is not None}
        dropped = {p: epoch.waiting for p, epoch in ended.items() if epoch.waiting}
        return [Committed(dropped, NOT_OWNED)] if dropped else []

    def reached(self, partition: TopicPartition) -> int | None:
        """Return the end of what was handed over; None if nothing was."""
        return self._epochs[partition].reached

    def committed(self, partition: TopicPartition) -> bool:
        """Return whether the group has a commit of an owned partition, as far as we know."""
        return self._epochs[partition].committed is not None

    def reach(self, partition: TopicPartition, position: int) -> None:
        """Note that everything below `position` was handed over."""
        self._epochs[partition].reached = position

    def ask(self, marks: Mapping[TopicPartition, Mark]) -> tuple[Marks, list[Committed]]:
        """Return which marks are to be sent now, and the answers to those that are never sent."""
        allowed, answers = self._allowed(marks)
        send: Marks = {}
        for partition, mark in allowed.items():
            epoch = self._epochs[partition]
            if partition not in self._on_its_way:
                send[partition] = mark
                self._on_its_way[partition] = (epoch, mark)
            elif self._on_its_way[partition] != (epoch, mark):
                epoch.waiting = mark
        return send, answers

    def last(
        self, marks: Mapping[TopicPartition, Mark], partitions: Iterable[TopicPartition]
    ) -> tuple[Marks, list[Committed]]:
        """Return what to commit before an epoch ends, whatever is on its way.

        Args:
            marks: What the core asks for.
            partitions: Those whose waiting marks are sent, too.
        """
        send, answers = self._allowed(marks)
        for partition in {*partitions, *send} & self._epochs.keys():
            epoch = self._epochs[partition]
            if epoch.waiting is not None:
                send.setdefault(partition, epoch.waiting)
                epoch.waiting = None
            if partition in send and partition in self._on_its_way:
                # The commit on its way is older: if its answer comes later, it says nothing new.
                self._on_its_way[partition] = (
                    FencedEpoch(None, None, None),
                    self._on_its_way[partition][1],
                )
        return send, answers

    def settle(self, partition: TopicPartition, mark: Mark, ok: bool) -> None:
        """Take the answer to what `last` gave."""
        if partition in self._epochs:
            self._epochs[partition].committed = mark if ok else None

    def on_its_way(self, partition: TopicPartition, mark: Mark) -> bool:
        """Return whether this is what `ask` gave last, in the present epoch."""
        present = self._epochs.get(partition)
        return present is not None and self._on_its_way.get(partition) == (present, mark)

    def answered(self, partition: TopicPartition, mark: Mark, ok: bool) -> Mark | None:
        """Take the broker's answer to what `ask` gave; return what is to be sent next.

        An answer to anything else changes nothing.
        """
        if self._on_its_way.get(partition, (None, None))[1] != mark:
            return None
        epoch, _ = self._on_its_way.pop(partition)
        # After a failure we do not know what the broker has: only the answer may be lost.
        epoch.committed = mark if ok else None
        present = self._epochs.get(partition)
        if present is None or present.waiting is None:
            return None
        following, present.waiting = present.waiting, None
        self._on_its_way[partition] = (present, following)
        return following

    def _allowed(self, marks: Mapping[TopicPartition, Mark]) -> tuple[Marks, list[Committed]]:
        allowed: Marks = {}
        refused: dict[str | None, Marks] = {}
        for partition, mark in marks.items():
            epoch = self._epochs.get(partition)
            reason: str | None
            if epoch is None:
                reason = NOT_OWNED
            elif epoch.reached is None or mark.offset > epoch.reached:
                reason = BEYOND
            elif epoch.floor is not None and mark.offset < epoch.floor:
                reason = BACKWARDS
            elif mark == epoch.committed and partition not in self._on_its_way:
                reason = None
            else:
                epoch.floor = mark.offset
                allowed[partition] = mark
                continue
            refused.setdefault(reason, {})[partition] = mark
        return allowed, [Committed(marks, reason) for reason, marks in refused.items()]
