"""The messages that may have ended a supervisor: it did not end in order while they were open.

A message can take the whole supervisor down: the container runs out of memory, or a node is
lost. No worker's death tells of it. The next owner of the partition finds a commit without a
clean mark. It charges no message yet, but it suspects every message that was open and may have
begun. A suspect runs alone, with no other message in the whole supervisor, and begins only
after Kafka has confirmed a commit that names it. If the supervisor dies then, the next owner
finds the name, and charges an attempt to that message and to no other.

No death may be overlooked. So the messages of a new assignment wait in the ward of their epoch
until Kafka has confirmed their owner's first commit, which removes the former clean mark.

Messages that are not suspected go first, and after that both take turns. So a message that
ends each supervisor holds back none that it stands beside, and slow suspects stop nothing.
Messages of the same key, or of the same ordered partition, wait for the suspect before them.

Suspects run in this order: first those with fewer attempts, then those that are not charged
for the last end, then those with more suspects of their partition below them. Unordered
messages begin with the oldest. So the messages that were running stand at the low end of their
partition, and their neighbours run first.

Pure: no Kafka, no clock, no process. Decides what may begin; hands nothing out.
Tested by tests/core/test_suspects.py, test_suspects_room.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kqworker.core.commands import Command, Report, ReportKind
from kqworker.core.epochs import Epoch
from kqworker.core.lanes import Queue, Span
from kqworker.core.policy import HandlerPolicy
from kqworker.core.wards import Turns, Ward

# So many at most are suspected, of a partition and in all: each costs one commit. They come
# as `backpressure` lets them in: the share of their partition may be less. What a
# killer behind them has done shows at a later restart, which finds the watermark further on.
PER_PARTITION, IN_ALL = 200, 300
# So many may have begun where the former owner has not said how far it had come.
UNKNOWN = 100
AGAIN_SECONDS = 0.5  # after a commit that failed
TRIES = 3  # such commits in a row: then no message of the partition is suspected any more
# What runs may hold up a suspect for so long; what had begun before its partition was assigned
# may be of any length, and so for less.
ALONE_SECONDS, BEFORE_SECONDS = 600.0, 30.0


class Suspects:
    """The wards of one supervisor, and the one suspect that may run.

    Args:
        policies: The handlers, in the app's order.
        owner: This supervisor's number, below 2**64; 0: nobody is suspected.
        queues: By handler, where what is suspected no more waits for a worker.
        out: Where reports go.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        owner: int,
        queues: Sequence[Queue],
        out: list[Command],
    ) -> None:
        self._policies = policies
        self.owner = owner
        self._queues = queues
        self._out = out
        self._wards: dict[Epoch, Ward] = {}
        self._chosen: Span | None = None
        self._sent = False
        self._alone_since: float | None = None
        self._alone_by = 0.0
        self._busy = self._up = False  # whether all else has work, and whether a worker is up
        self._turns = Turns()

    def begin(self, epoch: Epoch, now: float) -> None:
        """Take in a new epoch; charge the message that a former owner died on alone."""
        if not self.owner:
            return
        former, start = epoch.former, epoch.offsets.watermark
        epoch.claim(self.owner)
        ordering = self._policies[epoch.handler].ordering
        ward = self._wards[epoch] = Ward(epoch, ordering, now)
        # A map without an owner is of a version, or of a setting, without clean marks.
        if start is None or former.clean or former.owner in (0, self.owner):
            return
        self._turns.more(now, first=self._chosen is None and not self._waiting)
        ward.below = ward.begun_below = former.handed or start + UNKNOWN
        epoch.suspect_below(ward.below)
        self._out.append(Report(ReportKind.SUSPECTED, partition=epoch.partition))
        for offset in former.begun:
            had = epoch.charge(offset)
            name = self._policies[epoch.handler].name
            self._out.append(Report(ReportKind.CHARGED, name, epoch.partition, offset, had))

    def in_order(self, epochs: Iterable[Epoch]) -> None:
        """Have the last commits of these say that nothing of them is with a worker."""
        for epoch in epochs:
            if self.owner and epoch.owner == self.owner:
                epoch.end_in_order()

    def __contains__(self, epoch: Epoch) -> bool:
        return epoch in self._wards

    @property
    def any(self) -> bool:
        """Whether there is a ward."""
        return bool(self._wards)

    @property
    def active(self) -> bool:
        """Whether nothing but a suspect may begin."""
        if self._chosen is not None:
            return True
        return bool(self._wards) and any(epoch.begun or epoch.told for epoch in self._wards)

    @property
    def _waiting(self) -> bool:
        return any(ward.waiting for ward in self._wards.values())

    @property
    def _is_wanted(self) -> bool:
        """Whether a suspect could be chosen."""
        return self._chosen is None and self._up and self._waiting

    def take_in(self, span: Span) -> None:
        """Let messages of an epoch with a ward wait there; they ascend from call to call."""
        ward = self._wards[span.epoch]
        # Each partition has its part: else one that is never reached could hide a killer.
        among = sum(bool(other.begun_below) for other in self._wards.values()) or 1
        ward.take_in(span, max(0, min(PER_PARTITION, max(1, IN_ALL // among)) - ward.taken))

    # -- step by step

    def step(self, now: float, flying: float | None, idle: bool) -> None:
        """Open the wards that can be opened; choose who runs next, and name it in time.

        Args:
            now: The time.
            flying: Since when workers have something else, if any has.
            idle: Whether a worker has nothing.
        """
        for ward in self._wards.values():
            ward.look(now)
        self._open()
        self._busy = flying is not None or any(queue.ready for queue in self._queues)
        self._up = idle or flying is not None
        if self._is_wanted and self._turns.of_suspects(now, self._busy):
            self._choose()
        if self._chosen is None or self._sent:
            return
        if flying is not None:
            self._wait(flying, now)
        elif idle:
            # Not before: should this supervisor end meanwhile, what runs is what ended it.
            self._alone_since = None
            self._chosen.epoch.name(self._chosen.first)

    def _open(self) -> None:
        for ward in list(self._wards.values()):
            epoch = ward.epoch
            if epoch.told is None:
                continue
            queue = self._queues[epoch.handler]
            for span in ward.let_by():
                queue.push(span)
            if epoch.begun or epoch.told or self._is_chosen(epoch) or not ward.is_through(queue):
                continue
            ahead = epoch.stock.first_ahead
            if ahead is not None and ahead < ward.below:
                continue  # suspects are still to be let in
            for span in ward.let_go():
                queue.push(span)
            if not ward.waiting and ward.below <= (epoch.offsets.position or 0):
                del self._wards[epoch]

    def _choose(self) -> None:
        best: tuple[int, bool, int] | None = None
        for ward in self._wards.values():
            if ward.epoch.told is None or ward.again_at is not None:
                continue
            for place, span in ward.heads(self._queues[ward.epoch.handler]):
                charged = span.records.offsets[0] in ward.epoch.former.begun
                rank = span.attempt, charged, -place
                if best is None or rank < best:
                    best, self._chosen = rank, span

    def _is_chosen(self, epoch: Epoch) -> bool:
        return self._chosen is not None and self._chosen.epoch is epoch

    def urgent(self, now: float) -> list[Epoch]:
        """Return the epochs whose commits must be confirmed before anything begins."""
        found = []
        for epoch, ward in self._wards.items():
            if ward.again_at is not None and now >= ward.again_at:
                ward.again_at = None
            if epoch.told != epoch.begun and epoch.awaited is None and ward.again_at is None:
                found.append(epoch)
        return found

    def nothing_to_ask(self, epochs: Iterable[Epoch]) -> bool:
        """Take for confirmed what is committed already in these very words; return whether any.

        So it is where a partition comes back, or where the metadata has no room for them.
        """
        found = False
        for epoch in epochs:
            if epoch.awaited is None and epoch.committed is not None:
                found = True
                epoch.confirmed()
                self._make_do(self._wards[epoch])
        return found

    def _make_do(self, ward: Ward) -> None:
        """Suspect no message where a commit has no room for its name."""
        committed = ward.epoch.committed
        if committed is not None and not committed.metadata:
            self._acquit(ward)

    def answered(self, epochs: Iterable[Epoch], now: float, ok: bool) -> None:
        """Take the answers to commits of these epochs."""
        for epoch in epochs:
            ward = self._wards.get(epoch)
            if ward is None:
                continue
            if ok:
                ward.failures = 0
                self._make_do(ward)
            elif epoch.told != epoch.begun:
                ward.failures += 1
                ward.again_at = now + AGAIN_SECONDS
                if ward.failures >= TRIES:
                    self._acquit(ward)

    def _acquit(self, ward: Ward) -> None:
        """Suspect no message of an epoch any more: that cannot be kept up."""
        epoch = ward.epoch
        if self._is_chosen(epoch) and not self._sent:
            self._chosen = self._alone_since = None
        epoch.name_nobody()
        ward.acquit(self._chosen if self._is_chosen(epoch) else None)

    def next(self, idle: bool) -> Span | None:
        """Return the suspect that may begin now, if any.

        Args:
            idle: Whether a worker has nothing.
        """
        chosen = self._chosen
        if chosen is None or self._sent or not chosen.epoch.begun:
            return None
        confirmed = all(epoch.told in (None, epoch.begun) for epoch in self._wards)
        if not idle or not confirmed:
            return None
        self._sent = True
        self._wards[chosen.epoch].waiting.remove(chosen)
        return chosen

    def _wait(self, flying: float, now: float) -> None:
        """Let the chosen one wait for what runs, but not for ever."""
        assert self._chosen is not None
        if self._alone_since is None:
            self._alone_since = now
        before = flying < self._wards[self._chosen.epoch].since
        self._alone_by = self._alone_since + (BEFORE_SECONDS if before else ALONE_SECONDS)
        if now >= self._alone_by:
            # The others would wait for the same.
            for ward in self._wards.values():
                if ward.waiting:
                    self._acquit(ward)
            self._open()

    def back(self, span: Span) -> None:
        """Take back a suspect that was not begun, where it may still begin."""
        ward = self._wards.get(span.epoch)
        if ward is not None:
            ward.back(span)

    def done(self) -> None:
        """Note that the worker is through with the one that ran."""
        assert self._chosen is not None
        self._chosen.epoch.name()
        self._chosen, self._sent = None, False

    def drop(self, epochs: Iterable[Epoch]) -> bool:
        """Forget what waits of these epochs; return whether one of them names a suspect."""
        named = False
        for epoch in epochs:
            if self._wards.pop(epoch, None) is None:
                continue
            # It is given back in order: should that not come to its end, nobody is charged.
            named = named or bool(epoch.begun or epoch.told)
            epoch.name()
            if self._is_chosen(epoch) and not self._sent:
                self._chosen = self._alone_since = None
        return named

    def deadline(self) -> float | None:
        """Return when `step` has something to do; None: never."""
        if self._alone_since is None and not self._wards:
            return None  # as nearly always
        times = [] if self._alone_since is None else [self._alone_by]
        if self._is_wanted and not self._turns.theirs:
            times.append(self._turns.ends(self._busy))
        for ward in self._wards.values():
            if ward.again_at is not None:
                times.append(ward.again_at)
            if ward.below and ward.until is not None:
                times.append(ward.until)
        return min(times, default=None)
