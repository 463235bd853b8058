"""Stands in for the core beside a source under test: the least that a source can rely on.

Holds every source to what its events promise. Used by tests/contract and tests/kafka.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from kqworker.core.commands import Commit, Mark, Release
from kqworker.core.events import (
    Assigned,
    Committed,
    Event,
    Fetched,
    Gone,
    Lost,
    Positions,
    Revoked,
    Start,
    Unreadable,
)
from kqworker.kafka.source import KafkaSource
from kqworker.types import Records, TopicPartition
from tests.waiting import pump

TIMEOUT = 30.0


class Owner:
    """Takes what a source gives, and gives partitions back with all of it committed.

    Attributes:
        events: All of them, in order.
        starts: Where the present epoch of each owned partition began.
        at: The position of each owned partition, where it is known.
        taken: How often each offset was handed over.
        values: All payloads, in order.
        releases: Whether a `Revoked` is answered.
    """

    def __init__(self, source: KafkaSource) -> None:
        self.source = source
        self.events: list[Event] = []
        self.starts: dict[TopicPartition, Start] = {}
        self.at: dict[TopicPartition, int] = {}
        self.taken: Counter[tuple[TopicPartition, int]] = Counter()
        self.values: list[bytes | None] = []
        self.releases = True

    def fileno(self) -> int:
        return self.source.fileno()

    def pump(self) -> None:
        for event in self.source.events():
            self.events.append(event)
            self._handle(event)

    def commit(self, metadata: str = "", **marks: int) -> None:
        """Commits everything that was taken, or these offsets of `p0`, `p1`, …"""
        by_name = {f"p{tp.partition}": tp for tp in self.at}
        wanted = {by_name[name]: offset for name, offset in marks.items()} or self.at
        self.source.execute(Commit({p: Mark(at, metadata) for p, at in wanted.items()}))

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def answers(self) -> list[Committed]:
        return [event for event in self.events if isinstance(event, Committed)]

    def partitions(self) -> set[int]:
        return {tp.partition for tp in self.starts}

    def records(self) -> list[Records]:
        return [r for event in self.events if isinstance(event, Fetched) for r in event.records]

    def _handle(self, event: Event) -> None:
        match event:
            case Assigned():
                for partition, start in event.partitions.items():
                    assert partition not in self.starts, f"{partition} was assigned twice"
                    self.starts[partition] = start
                    if start.offset is not None:
                        self.at[partition] = start.offset
            case Fetched():
                for records in event.records:
                    self._take(records)
            case Positions():
                for partition, position in event.offsets.items():
                    assert partition in self.starts, f"a position of {partition}, not owned"
                    assert position > self.at.get(partition, -1), "a position that changed nothing"
                    self.at[partition] = position
            case Gone():
                for partition, position in event.offsets.items():
                    assert position > self.at[partition], "what is gone was not there"
                    self.at[partition] = position
            case Unreadable():
                assert self.at.get(event.partition, -1) == event.offset
            case Revoked():
                marks = {p: Mark(self.at[p], "") for p in event.partitions if p in self.at}
                self._forget(event.partitions)
                if self.releases:
                    self.source.execute(Release(event.member, event.partitions, marks))
            case Lost():
                self._forget(event.partitions)
            case Committed():
                pass
            case _:
                raise AssertionError(f"a source says nothing like {event}")

    def _take(self, records: Records) -> None:
        partition = records.partition
        assert partition in self.starts, f"messages of {partition}, which is not owned"
        offsets = list(records.offsets)
        assert offsets == sorted(set(offsets)), "offsets that do not ascend"
        assert offsets[0] >= self.at.get(partition, 0), "messages below the position"
        assert len(offsets) == len(records.values) == len(records.timestamps)
        self.at[partition] = offsets[-1] + 1
        self.taken.update((partition, offset) for offset in offsets)
        self.values += records.values

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            del self.starts[partition]
            self.at.pop(partition, None)


def run(until: Callable[[], bool], *owners: Owner, timeout: float = TIMEOUT) -> None:
    """Goes round as the loop does, until it is true."""
    if not pump(until, Owner.pump, *owners, within=timeout):
        seen = [[_short(e) for e in owner.events[-8:]] for owner in owners]
        raise AssertionError(f"not within {timeout} s; the last events: {seen}")


def idle(seconds: float, *owners: Owner) -> None:
    """Goes round for a time, whatever happens."""
    pump(lambda: False, Owner.pump, *owners, within=seconds)


def _short(event: Event) -> str:
    if isinstance(event, Fetched):
        return f"Fetched({[(str(r.partition), r.offsets[0], len(r)) for r in event.records]})"
    return str(event)
