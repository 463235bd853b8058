"""The backpressure under test: fed, and looked at, in the words of the tests."""

from __future__ import annotations

from kqworker.core.backpressure import LOOK_SECONDS, Backpressure
from kqworker.core.commands import Command, Report
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.events import Start
from kqworker.types import TopicPartition
from tests.core.supervised import records

PLENTY = 1 << 30


def partition(number: int) -> TopicPartition:
    return TopicPartition("test", number)


class House:
    """The backpressure under test, and what went to work of each partition: offsets, in order."""

    def __init__(
        self,
        messages: int = 12,
        size: int = PLENTY,
        ahead: int = PLENTY,
        handlers: tuple[int, ...] = (0, 0),
        backpressure: type[Backpressure] = Backpressure,
    ) -> None:
        self.backpressure = backpressure(messages, size, ahead)
        self.epochs = Epochs()
        self.of = [self.own(n, handler) for n, handler in enumerate(handlers)]
        self.backpressure.share_out(self.epochs)
        self.working: list[list[tuple[int, int]]] = [[] for _ in handlers]  # offset, bytes
        self.waiting: list[list[tuple[int, int]]] = [[] for _ in handlers]
        self.next = [0] * len(handlers)
        self.now = 0.0

    def own(self, number: int, handler: int = 0) -> Epoch:
        return self.epochs.begin(0, partition(number), handler, Start(0))[0]

    def fetch(self, which: int, count: int, size: int = 10) -> None:
        first = self.next[which]
        self.next[which] += count
        fetched = range(first, first + count)
        batch = records(*fetched, partition=partition(which), values=[b"x" * size] * count)
        if self.backpressure.put(self.of[which], batch):
            self.working[which] += [(offset, size) for offset in fetched]
        self.let_in()

    def let_in(self) -> None:
        for epoch, batch, start, stop in self.backpressure.let_in():
            part = batch.slice(start, stop)
            sizes = [len(value or b"") for value in part.values]
            self.working[self.of.index(epoch)] += zip(part.offsets, sizes, strict=True)

    def finish(self, which: int, count: int = 1) -> None:
        for _ in range(count):
            _, size = self.working[which].pop(0)
            self.backpressure.finish(self.of[which], 1, size)
        self.let_in()

    def wait(self, which: int, count: int = 1, undelivered: bool = False) -> None:
        for _ in range(count):
            message = self.working[which].pop(0)
            self.waiting[which].append(message)
            self.backpressure.wait(self.of[which], message[1], undelivered)
        self.let_in()

    def go_on(self, which: int, count: int = 1, undelivered: bool = False) -> None:
        for _ in range(count):
            message = self.waiting[which].pop(0)
            self.working[which].insert(0, message)
            self.backpressure.go_on(self.of[which], message[1], undelivered)
        self.let_in()

    def look(self, seconds: float = LOOK_SECONDS) -> list[Report]:
        self.now += seconds
        reports = self.backpressure.look(self.epochs, self.now)
        self.let_in()
        return reports

    def decide(self) -> list[Command]:
        return self.backpressure.decide()

    @property
    def at_work(self) -> list[int]:
        return [len(messages) for messages in self.working]
