"""How much is held in memory: who may go to work next, and when fetching stops and goes on.

The room for work, in messages and in bytes, is shared out between the handlers and then
between the partitions of each handler. A partition may use more than its share while no other
partition needs the room. A partition below its share may fill its share at once, whatever the
others have. Messages that were fetched and may not go to work yet are kept ahead, within a
bound of their own.

While messages are handled fast, all fetching stops for moments when everything is full. What
Kafka's client has prefetched stays where it is. While messages are handled slowly, fetching
never stops as a whole, because a message of another partition may stand behind what was
prefetched. Then each partition is paused alone once enough of it is ahead. A pause throws
away what was prefetched, so "enough" is more than a pause can lose.

Pure. Knows nothing of workers or lanes.
Tested by tests/core/test_backpressure.py, test_fetching.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from kqworker.core.commands import Command, Fetching, Pause, Report, ReportKind, Resume
from kqworker.core.epochs import Epoch, Epochs
from kqworker.core.stock import OVERHEAD_BYTES, Stock
from kqworker.types import Failure, Records, TopicPartition

LOOK_SECONDS = 0.5  # between two looks at how fast messages are handled
# Messages, and bytes, that are handled in a second, or fetching is not stopped: so long a
# message stands at most behind what Kafka's client has prefetched (see kafka/properties.py).
FAST_MESSAGES = 50_000
FAST_BYTES = 16 << 20
FULL_MAP = 3, 4  # no new message is let in when a map fills this part of its budget
RESUME = 4  # a paused partition goes on when this part of its bound is left
TELL_SECONDS = 600.0  # the same of a partition is said again only after this
AHEAD_PARTS = 12  # into so many parts at most the bound of what is ahead is shared out


class Backpressure:
    """The bounds of what a supervisor holds.

    Args:
        messages: Messages at work at most, at least 1.
        size: Their bytes at most, at least 1.
        ahead: Bytes that may be fetched ahead of them, at least 1.

    Attributes:
        paused: Partitions of which nothing more goes on, at the last look, though there is.
        wanting: With messages ahead and nothing against them but the room, in turn: without
            one `let_in` has nothing to do.
    """

    def __init__(self, messages: int, size: int, ahead: int) -> None:
        self._messages = messages
        self._size = size
        self._ahead = ahead
        # Where fetching was stopped it goes on at half, or after half a second at the least
        # speed at which it is stopped: a message of another partition waits no longer for it.
        self._low_messages = max(messages // 2, messages - FAST_MESSAGES // 2)
        self._low_size = max(size // 2, size - FAST_BYTES // 2)
        self.paused = 0
        self._working = self._working_bytes = 0
        self._waiting = self._waiting_bytes = 0
        self._ahead_count = self._ahead_bytes = 0
        self.wanting: OrderedDict[Epoch, None] = OrderedDict()
        self._touched: dict[Epoch, None] = {}  # these may have room within their share
        self._freed = False  # there may be more room than when `let_in` was called last
        self._large: Epoch | None = None  # has a message at work that is more than its share
        self._grown: dict[Epoch, None] = {}  # more of these is ahead
        self._resumed: list[TopicPartition] = []
        self._fetching = True
        self._slow = False  # messages are handled slowly: fetching goes on
        self._stopped = False  # since the last look
        self._looked = self._look_at = 0.0
        self._done = self._done_bytes = 0  # since the last look

    @property
    def ahead(self) -> int:
        """Bytes that are fetched ahead, with what messages cost beside their payload."""
        return self._ahead_bytes

    @property
    def held(self) -> int:
        """All messages in memory."""
        return self._working + self._ahead_count + self._waiting

    @property
    def held_bytes(self) -> int:
        """Their keys and values."""
        ahead = self._ahead_bytes - OVERHEAD_BYTES * self._ahead_count
        return self._working_bytes + ahead + self._waiting_bytes

    def share_out(self, epochs: Epochs) -> None:
        """Give each partition its share; call it when others are owned than before."""
        handlers = Counter(epoch.handler for epoch in epochs)
        most = self._ahead // min(AHEAD_PARTS, max(1, len(epochs)))
        for epoch in epochs:
            parts = len(handlers) * handlers[epoch.handler]
            stock = epoch.stock
            stock.messages = max(1, self._messages // parts)
            stock.size = max(1, self._size // parts)
            stock.most_ahead = max(1, most)
            stock.least_ahead = max(1, self._ahead // len(epochs))
            self._want(epoch)

    # -- what comes and goes

    def put(self, epoch: Epoch, records: Records) -> bool:
        """Take in what was fetched.

        Returns:
            Whether all of it goes to work at once; otherwise it does by `let_in`.
        """
        count, size = len(records.values), records.size
        if self._has_room(epoch.stock, count, size):
            self.admit(epoch, records)
            return True
        epoch.stock.put(records)
        self._ahead_count += count
        self._ahead_bytes += size + OVERHEAD_BYTES * count
        self._grown[epoch] = None
        self._want(epoch)
        return False

    def _has_room(self, stock: Stock, count: int, size: int) -> bool:
        """Return whether `let_in` would let all of it in at once, and nothing else before."""
        return not (
            self.wanting
            or stock.ahead
            or self._working + count > self._messages
            or self._working_bytes + size > self._size
            or stock.working + count > stock.messages
            or stock.working_bytes + size > stock.size
            or stock.shut
        )

    def admit(self, epoch: Epoch, records: Records) -> None:
        """Count messages that go to work whatever room there is."""
        stock, count, size = epoch.stock, len(records.values), records.size
        stock.working += count
        stock.working_bytes += size
        self._working += count
        self._working_bytes += size

    def finish(self, epoch: Epoch, count: int, size: int) -> None:
        """Count messages at work as done for good."""
        self._done += count
        self._done_bytes += size
        self._free(epoch, count, size)

    def wait(self, epoch: Epoch, size: int, undelivered: bool = False) -> None:
        """Let a message at work wait: for its next attempt, or until a record goes out."""
        stock = epoch.stock
        stock.waiting += 1
        stock.waiting_bytes += size
        stock.undelivered += undelivered
        self._waiting += 1
        self._waiting_bytes += size
        self._free(epoch, 1, size)

    def go_on(self, epoch: Epoch, size: int, undelivered: bool = False) -> None:
        """Let a message that has waited go to work again, whatever room there is."""
        stock = epoch.stock
        stock.waiting -= 1
        stock.waiting_bytes -= size
        stock.undelivered -= undelivered
        stock.working += 1
        stock.working_bytes += size
        self._waiting -= 1
        self._waiting_bytes -= size
        self._working += 1
        self._working_bytes += size
        self._want(epoch)

    def drain(self, epoch: Epoch) -> None:
        """Let nothing more of a partition go to work."""
        epoch.stock.forget_ahead()
        self.wanting.pop(epoch, None)
        self._freed = True

    def forget(self, epoch: Epoch) -> None:
        """Forget all of a partition that is no longer owned."""
        stock = epoch.stock
        self.drain(epoch)
        self._waiting -= stock.waiting
        self._waiting_bytes -= stock.waiting_bytes
        self._ahead_count -= stock.ahead
        self._ahead_bytes -= stock.ahead_bytes
        self._working -= stock.working
        self._working_bytes -= stock.working_bytes
        self._grown.pop(epoch, None)
        self._touched.pop(epoch, None)
        if self._large is epoch:
            self._small_again()

    def _free(self, epoch: Epoch, count: int, size: int) -> None:
        stock = epoch.stock
        stock.working -= count
        stock.working_bytes -= size
        self._working -= count
        self._working_bytes -= size
        self._freed = True
        if self._large is epoch and not stock.working:
            self._small_again()
        if epoch in self.wanting:
            self._touched[epoch] = None
        elif stock.ahead:
            self._want(epoch)

    def _small_again(self) -> None:
        """Let another have its turn with a message that is more than its share."""
        if self._large is not None and self._large in self.wanting:
            self.wanting.move_to_end(self._large)
        self._large = None
        self._touched.update(self.wanting)

    def _want(self, epoch: Epoch) -> None:
        stock = epoch.stock
        if stock.ahead and not stock.shut and not epoch.draining:
            self.wanting[epoch] = None
            self._touched[epoch] = None

    # -- who may go to work

    def let_in(self) -> list[tuple[Epoch, Records, int, int]]:
        """Return what goes to work now: messages `start` up to, not including, `stop`."""
        found: list[tuple[Epoch, Records, int, int]] = []
        if not (self._freed or self._touched):
            return found
        self._freed = False
        touched, self._touched = self._touched, {}
        for epoch in touched:
            if epoch in self.wanting:
                stock = epoch.stock
                count = stock.messages - stock.working
                self._take(found, epoch, count, stock.size - stock.working_bytes)
        # Partitions with less take turns with what is left. The first of them waits for no other.
        while self.wanting and self._working < self._messages:
            room = self._size - self._working_bytes
            epoch = next(iter(self.wanting))
            before = self._working
            count = min(self._messages - self._working, epoch.stock.messages)
            self._take(found, epoch, count, room)
            if epoch in self.wanting:
                if self._working == before:
                    break
                self.wanting.move_to_end(epoch)
        for epoch in touched:
            if self._large is None and epoch in self.wanting and not epoch.stock.working:
                # More than there is room for at all: beside the others, one at a time.
                self._take(found, epoch, 1, 0, 1)
                self._large = epoch if epoch.stock.working else None
        return found

    def _take(
        self,
        found: list[tuple[Epoch, Records, int, int]],
        epoch: Epoch,
        count: int,
        size: int,
        least: int = 0,
    ) -> None:
        stock = epoch.stock
        if stock.shut:
            del self.wanting[epoch]
            return
        pieces, taken, weight = stock.take(count, size, least)
        self._ahead_count -= taken
        self._ahead_bytes -= weight + OVERHEAD_BYTES * taken
        self._working += taken
        self._working_bytes += weight
        if not stock.ahead:
            del self.wanting[epoch]
        if stock.paused and self._may_resume(stock):
            stock.paused = False
            self._resumed.append(epoch.partition)
        for records, start, stop in pieces:
            found.append((epoch, records, start, stop))

    # -- fetching

    def decide(self) -> list[Command]:
        """Return what is to be said to Kafka's side now."""
        commands: list[Command] = []
        if self._slow:
            on = True
        elif self._fetching:
            on = self._working < self._messages and self._working_bytes < self._size
        else:
            on = self._working <= self._low_messages and self._working_bytes <= self._low_size
        if on is not self._fetching:
            self._fetching = on
            self._stopped = self._stopped or not on
            commands.append(Fetching(on))
        if self._grown:
            grown = [epoch for epoch in self._grown if on and self._is_much(epoch)]
            for epoch in grown:
                epoch.stock.paused = True
            if grown:
                commands.append(Pause(tuple(epoch.partition for epoch in grown)))
            self._grown.clear()
        if self._resumed:
            commands.append(Resume(tuple(self._resumed)))
            self._resumed = []
        return commands

    def _is_much(self, epoch: Epoch) -> bool:
        stock = epoch.stock
        return not stock.paused and not epoch.draining and stock.ahead_bytes >= self._most(stock)

    def _may_resume(self, stock: Stock) -> bool:
        return stock.ahead_bytes * RESUME <= self._most(stock)

    def _most(self, stock: Stock) -> int:
        """What may be ahead of a partition; where all of it is used up, an even part."""
        return stock.most_ahead if self._ahead_bytes < self._ahead else stock.least_ahead

    def deadline(self) -> float | None:
        """Return when `look` has something to see; None while nothing is held."""
        return self._look_at if self.held else None

    def look(self, epochs: Epochs, now: float) -> list[Report]:
        """See how fast messages are handled, and what is held up; call it as time passes.

        Returns:
            What is to be said: once of each partition that is held up, and why.
        """
        if now < self._look_at:
            return []
        seconds, self._looked = now - self._looked, now
        self._look_at = now + LOOK_SECONDS
        fast = self._done >= FAST_MESSAGES * seconds or self._done_bytes >= FAST_BYTES * seconds
        half = self._working <= self._messages // 2 and self._working_bytes <= self._size // 2
        self._slow = not fast and (self._stopped or (self._slow and not half))
        self._stopped = not (self._fetching or self._slow)
        self._done = self._done_bytes = 0
        reports = []
        self.paused = 0
        room = any(_wants_more(epoch) for epoch in epochs)
        for epoch in epochs:
            if not epoch.draining:
                self._look_at_map(epoch)
                cause = _held_up(epoch.stock, room)
                self.paused += cause is not None
                report = self._tell(epoch, cause, now)
                if report is not None:
                    reports.append(report)
        return reports

    def _look_at_map(self, epoch: Epoch) -> None:
        stock = epoch.stock
        # Where nothing is at work, only new messages can shrink the map.
        if stock.held == stock.ahead or epoch.used * 2 <= epoch.budget:
            stock.full = False
        elif epoch.used * FULL_MAP[1] > epoch.budget * FULL_MAP[0]:
            stock.full = True
        self._want(epoch)

    def _tell(self, epoch: Epoch, cause: Failure | None, now: float) -> Report | None:
        """Return what is to be said, of a cause that the look before found as well."""
        stock, kind = epoch.stock, cause.type if cause is not None else ""
        lasting, stock.cause = kind == stock.cause, kind
        if cause is None or not lasting or now < stock.told.get(kind, now):
            return None
        stock.told[kind] = now + TELL_SECONDS
        what = ReportKind.SLOW if kind == SLOW else ReportKind.PAUSED
        return Report(what, partition=epoch.partition, failure=cause)


SLOW = "Slow"


def _wants_more(epoch: Epoch) -> bool:
    stock = epoch.stock
    less = stock.working < stock.messages and stock.working_bytes < stock.size
    return less and not (stock.ahead or stock.shut or epoch.draining)


def _held_up(stock: Stock, room: bool) -> Failure | None:
    """Return why a partition has messages that may not go on; None if it has not."""
    if not stock.ahead:
        return None
    if stock.shut:
        if not stock.choked:
            behind = f", behind {stock.waiting:,} that wait" if stock.waiting else ""
            text = f"too many of its messages are done out of order{behind}"
            return Failure("CompletionMap", text)
        share = f"{stock.waiting:,} of its messages ({stock.waiting_bytes:,} bytes)"
        if stock.undelivered * 2 > stock.waiting:
            return Failure("Undelivered", f"records of {share} cannot be delivered")
        return Failure("Retries", f"{share} wait for their next attempt")
    if stock.paused and room:
        text = f"it has its share of prefetch, {stock.messages:,} messages or {stock.size:,} bytes"
        return Failure(SLOW, text)
    return None
