"""What a queue of messages promises, as lists: the naive model that lanes are held against.

Used by tests/core/test_lanes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kqworker.core.completion import Completion
from kqworker.core.epochs import Epoch
from kqworker.core.events import Start
from kqworker.core.lanes import Span
from kqworker.types import Records, TopicPartition


class Entry(NamedTuple):
    """A message of the model."""

    epoch: int
    offset: int
    attempt: int


Name = tuple[int, object]


def epoch_of(number: int, partition: int = 0) -> Epoch:
    return Epoch(number, 0, TopicPartition("test", partition), 0, Start(0), Completion())


def span(epoch: Epoch, batch: Records, attempt: int = 1) -> Span:
    return Span(epoch, batch, 0, len(batch), attempt)


def entries(spans: Iterable[Span]) -> list[Entry]:
    return [
        Entry(s.epoch.number, offset, s.attempt)
        for s in spans
        for offset in s.records.offsets[s.start : s.stop]
    ]


def offsets(spans: Iterable[Span]) -> list[int]:
    return [entry.offset for entry in entries(spans)]


class Line:
    """What an unordered queue promises: a list for each partition, and whose turn it is."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[Entry]] = {}  # in turn

    @property
    def ready(self) -> int:
        return sum(map(len, self.waiting.values()))

    def next(self, count: int) -> list[Entry]:
        return [entry for line in self.waiting.values() for entry in line][:count]

    def push(self, pushed: Sequence[Entry]) -> None:
        for entry in pushed:
            self.waiting.setdefault(entry.epoch, []).append(entry)

    def take(self, taken: Sequence[Entry]) -> set[Name]:
        for entry in taken:
            self.waiting[entry.epoch].remove(entry)
        served(self.waiting, taken)
        return set()

    def give_back(self, back: Sequence[Entry]) -> None:
        for entry in reversed(back):
            line = self.waiting.setdefault(entry.epoch, [])
            line.append(entry)
            line.sort(key=lambda one: one.offset)

    def release(self, name: Name) -> None:
        raise AssertionError("there are no lanes")

    def drop(self, epochs: set[int]) -> None:
        for epoch in epochs:
            self.waiting.pop(epoch, None)


class Lines:
    """What lanes promise: a list for each, who is held, and whose turn it is: partitions
    take turns, and the lanes of each."""

    def __init__(self, name: dict[tuple[int, int], Name]) -> None:
        self.name = name  # lanes, by epoch and offset
        self.waiting: dict[Name, list[Entry]] = {}
        self.held: set[Name] = set()
        self.turns: dict[int, list[Name]] = {}  # by epoch, in turn

    def _of(self, entry: Entry) -> Name:
        return self.name[entry[:2]]

    @property
    def ready(self) -> int:
        return sum(len(self.waiting[name]) for turn in self.turns.values() for name in turn)

    def next(self, count: int) -> list[Entry]:
        names = [name for turn in self.turns.values() for name in turn]
        return [entry for name in names for entry in self.waiting[name]][:count]

    def push(self, pushed: Sequence[Entry]) -> None:
        for entry in pushed:
            name = self._of(entry)
            self.waiting.setdefault(name, []).append(entry)
            turn = self.turns.get(entry.epoch, [])
            if name not in self.held and name not in turn:
                self.turns[entry.epoch] = [*turn, name]

    def take(self, taken: Sequence[Entry]) -> set[Name]:
        names = {self._of(entry) for entry in taken}
        assert not names & self.held
        self.held |= names
        for epoch, turn in self.turns.items():
            self.turns[epoch] = [name for name in turn if name not in names]
        for entry in taken:
            self.waiting[self._of(entry)].remove(entry)
        served(self.turns, taken)
        return names

    def give_back(self, back: Sequence[Entry]) -> None:
        for entry in reversed(back):
            self.waiting[self._of(entry)].insert(0, entry)

    def release(self, name: Name) -> None:
        self.held.remove(name)
        if self.waiting[name]:
            self.turns.setdefault(name[0], []).append(name)

    def drop(self, epochs: set[int]) -> None:
        for name in self.waiting:
            if name[0] in epochs:
                self.waiting[name] = []
        for epoch in epochs:
            self.turns.pop(epoch, None)


def served(turns: dict[int, Any], taken: Sequence[Entry]) -> None:
    """Who was served goes behind the others, if there is more of it."""
    for epoch in dict.fromkeys(entry.epoch for entry in taken):
        turn = turns.pop(epoch)
        if turn:
            turns[epoch] = turn
