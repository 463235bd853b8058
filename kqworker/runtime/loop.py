"""The loop: turns what the ports say into events, and the core's commands into calls.

Decides nothing. Signals only append to a list, which is read here, between two
events. Nothing in here blocks except the one `select`.
Tested by tests/runtime/test_loop.py and by everything end to end.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Protocol, Self, get_args

from kqworker.core import commands as c
from kqworker.core.events import Event, Tick
from kqworker.ports import Clock, Port, Sink, Source, Workers

Call = Callable[[], Iterable[Event]]

# Why a run ends if its own program has asked for that.
TOLD = "told to stop"


class Core(Protocol):
    """What the loop drives; `kqworker.core.supervisor.Supervisor` is one."""

    def start(self, now: float) -> list[c.Command]:
        """Return the first commands."""
        ...

    def handle(self, event: Event, now: float) -> list[c.Command]:
        """Take an event in, and return what is to be done."""
        ...

    def deadline(self) -> float | None:
        """Return when a `Tick` is wanted."""
        ...


def ending_signals() -> list[signal.Signals]:
    """Return the signals that drain: also a hang-up, unless `nohup` has it ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def called(number: signal.Signals) -> str:
    """Return the common name of a signal.

    >>> called(signal.SIGINT), called(signal.SIGTERM)
    ('Ctrl-C', 'SIGTERM')
    """
    return "Ctrl-C" if number is signal.SIGINT else number.name


class Signals:
    """Catches signals while it is entered, and says which have come.

    Only the main thread can: elsewhere it catches nothing.

    Args:
        numbers: The signals to catch.
    """

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self._numbers = numbers
        self._caught: list[signal.Signals] = []
        self._before: dict[signal.Signals, object] = {}
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = -1

    def __enter__(self) -> Signals:
        try:
            self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            return self
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # as signal() gave it
        if self._before:
            signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(signal.Signals(number))

    def fileno(self) -> int:
        """Return a descriptor that is readable when a signal has come."""
        return self._reader.fileno()

    def take(self) -> list[signal.Signals]:
        """Return the signals since the last call, in order."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass
        caught, self._caught = self._caught, []
        return caught


class Wake:
    """Wakes a selector that waits for it: called from any thread, or from a signal handler.

    A call before it is entered is not lost.
    """

    def __init__(self) -> None:
        self._called = False
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def call(self) -> None:
        """Wake the thread that waits; may be called at any time, repeatedly; never block."""
        # Does only what a signal handler can do in the middle of anything else.
        self._called = True
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
                ends[1].send(b"\0")

    def __enter__(self) -> Self:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._ends = reader, writer
        if self._called:
            writer.send(b"\0")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable after a call."""
        assert self._ends is not None
        return self._ends[0].fileno()

    def clear(self) -> None:
        """Be quiet until the next call; look at what has changed after this, not before."""
        assert self._ends is not None
        with contextlib.suppress(BlockingIOError):
            while self._ends[0].recv(4096):
                pass


class Stop(Wake):
    """Asks a run to end: from another thread, from a signal handler, before it has begun.

    Each serves one run. A request before the run listens is not lost.

    Attributes:
        reason: The reason of the last request, for people.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason = TOLD
        self._requests: deque[bool] = deque()

    @property
    def asked(self) -> bool:
        """Whether anybody has asked yet."""
        return self._called

    def request(self, now: bool = False, reason: str = TOLD) -> None:
        """Ask for the end; may be called at any time, repeatedly; never block.

        Args:
            now: Do not wait for what is being handled.
            reason: Why, for people.
        """
        self.reason = reason
        self._requests.append(now)
        self.call()

    def take(self) -> list[bool]:
        """Return the requests since the last call, in order: whether each wants the end now."""
        self.clear()
        taken = []
        while self._requests:
            taken.append(self._requests.popleft())
        return taken


@dataclass(slots=True)
class _Chore:
    seconds: float
    call: Call
    due: float


class Loop:
    """One supervisor's loop.

    Args:
        core: Decides.
        source: Where messages come from.
        sink: Where records go.
        workers: Run the handlers.
        clock: The time.
        report: Takes every `Report`; must be quick.
        signals: The signals that have come.
        on_signal: Turns a signal into events.
        stop: Asks for the end from elsewhere; entered.
        on_stop: Turns such a request into events; takes whether to end now.
    """

    def __init__(
        self,
        core: Core,
        source: Source,
        sink: Sink,
        workers: Workers,
        clock: Clock,
        report: Callable[[c.Report], None],
        signals: Signals,
        on_signal: Callable[[signal.Signals], Iterable[Event]],
        stop: Stop,
        on_stop: Callable[[bool], Iterable[Event]],
    ) -> None:
        self._core = core
        self._clock = clock
        self._signals = signals
        self._on_signal = on_signal
        self._stop = stop
        self._on_stop = on_stop
        self._chores: list[_Chore] = []
        self._stopped: c.Stopped | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ, signals)
        self._selector.register(stop, selectors.EVENT_READ, stop)
        # Workers first: what they finished frees room for what was fetched.
        self._ports: list[Port] = []
        for port in (workers, sink, source):
            self.listen(port)
        self._route: dict[type, Callable[..., None]] = {
            c.Produce: sink.produce,
            c.Report: report,
            c.Stopped: self._end,
        }
        self._route.update(dict.fromkeys(get_args(c.SourceCommand), source.execute))
        self._route.update(dict.fromkeys(get_args(c.WorkersCommand), workers.execute))

    def listen(self, port: Port) -> None:
        """Listen to a further port, after those that are there already."""
        self._ports.append(port)
        self._selector.register(port.fileno(), selectors.EVENT_READ, port)

    def every(self, seconds: float, call: Call) -> None:
        """Call a function about every `seconds`, and give the core what it returns."""
        self._chores.append(_Chore(seconds, call, self._clock.now() + seconds))

    def run(self) -> c.Stopped:
        """Go round until the core has stopped; return how it ended."""
        try:
            self._do(self._core.start(self._clock.now()))
            while self._stopped is None:
                self._turn()
            return self._stopped
        finally:
            self._selector.close()

    def _end(self, command: c.Stopped) -> None:
        self._stopped = command

    def _do(self, commands: list[c.Command]) -> None:
        route = self._route
        for command in commands:
            route[type(command)](command)

    def _feed(self, events: Iterable[Event]) -> None:
        for event in events:
            self._do(self._core.handle(event, self._clock.now()))

    def _turn(self) -> None:
        now = self._clock.now()
        deadline = self._core.deadline()
        if deadline is not None and deadline <= now:
            self._feed((Tick(),))
            if self._stopped is not None:
                return
            deadline = self._core.deadline()
        due = min((chore.due for chore in self._chores), default=now + 1.0)
        if deadline is not None:
            due = min(due, deadline)
        wait = max(0.0, due - now)
        self._clock.waits(wait)
        ready = {key.data for key, _ in self._selector.select(wait)}
        self._clock.now()  # the next steps are not part of the wait
        if self._signals in ready:
            for number in self._signals.take():
                self._feed(self._on_signal(number))
        if self._stop in ready:
            for at_once in self._stop.take():
                self._feed(self._on_stop(at_once))
        for port in self._ports:
            if port in ready:
                self._feed(port.events())
        now = self._clock.now()
        for chore in self._chores:
            if chore.due <= now:
                chore.due = now + chore.seconds
                self._feed(chore.call())
