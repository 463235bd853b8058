"""Messages under test: fetched, taken and settled in the words of the tests.

Time goes on by hand; each step returns the commands that it led to.
"""

from __future__ import annotations

from random import Random

from kqworker.core.backpressure import Backpressure
from kqworker.core.commands import Command
from kqworker.core.completion import Completion, encode
from kqworker.core.epochs import METADATA_BUDGET, Epochs
from kqworker.core.events import Delivered, Fetched, Start
from kqworker.core.in_flight import InFlightTask
from kqworker.core.messages import Messages
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.types import Failure, Ordering, Outcome, Output, Verdict
from tests.core.supervised import BOOM, TP, policy, records

A, B = b"a", b"b"
OUT = Output("out", b"x")
ONCE = Retry(attempts=1)


class Life:
    """Messages of partition 0 under test; time goes on by hand."""

    def __init__(self, *policies: HandlerPolicy, attempts: dict[int, int] | None = None) -> None:
        self.epochs, self.backpressure, self._out = (
            Epochs(),
            Backpressure(1000, 1 << 20, 1 << 20),
            list[Command](),
        )
        self.messages = Messages(
            policies or (policy(),), self.epochs, self.backpressure, Random(1), self._out
        )
        metadata = encode(0, Completion(attempts=attempts or {}), METADATA_BUDGET)
        assert metadata is not None
        self.epoch, _ = self.epochs.begin(0, TP, 0, Start(0, metadata))
        self.backpressure.share_out(self.epochs)
        self.now = 0.0

    def out(self) -> list[Command]:
        """The commands since the last look."""
        commands = self._out[:]
        self._out.clear()
        return commands

    def fetch(self, *offsets: int, keys: list[bytes | None] | None = None) -> list[Command]:
        self.messages.fetched(Fetched((records(*offsets, keys=keys),), 0))
        return self.out()

    def take(self, count: int = 100) -> InFlightTask:
        return self.messages.take(0, count)

    def settle(
        self,
        flight: InFlightTask,
        *outcomes: Outcome,
        unstarted: tuple[int, ...] = (),
    ) -> list[Command]:
        flight.told(outcomes, unstarted)
        self.messages.settle(flight, self.now)
        return self.out()

    def fail(
        self, flight: InFlightTask, *indices: int, delay: float | None = None
    ) -> list[Command]:
        failed = [Outcome(i, Verdict.RELEASE, BOOM, delay) for i in indices or (0,)]
        return self.settle(flight, *failed)

    def push(self, flight: InFlightTask, *outputs: Output) -> list[Command]:
        return self.settle(flight, Outcome(0, Verdict.ACCEPT, outputs=outputs))

    def delivered(
        self, ticket: int, failure: Failure | None = None, *, retriable: bool = True
    ) -> list[Command]:
        self.messages.settling.delivered(Delivered(ticket, failure, retriable), self.now)
        return self.out()

    def at(self, now: float) -> list[Command]:
        self.now = now
        self.messages.due(now)
        return self.out()

    def lose(self) -> None:
        self.messages.ended(self.epochs.end([TP]))

    @property
    def ready(self) -> int:
        return self.messages.ready(0)

    @property
    def watermark(self) -> int | None:
        return self.epoch.offsets.watermark

    @property
    def counts(self) -> tuple[int, int, int]:
        settling = self.messages.settling
        return settling.handled, settling.failed, settling.retried

    def nothing_is_held(self) -> bool:
        backpressure = self.backpressure
        return (
            backpressure.held,
            backpressure.held_bytes,
            self.epoch.stock.held,
            self.epoch.busy,
        ) == (0, 0, 0, 0)


def told(flight: InFlightTask) -> list[tuple[int, int]]:
    """Offset and attempt of each message of a flight."""
    return [(o, s.attempt) for s in flight.task.segments for o in s.records.offsets]


def keyed(*keys: bytes | None, ordering: Ordering = Ordering.KEY) -> Life:
    life = Life(policy(ordering=ordering))
    life.fetch(*range(len(keys)), keys=list(keys))
    return life
