"""The loop: who is heard first, what goes where, and what comes in between."""

from __future__ import annotations

import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from kqworker.clock import StandstillClock
from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.runtime.loop import Loop, Signals, Stop, Wake
from kqworker.types import Output, TopicPartition

TP = TopicPartition("test", 0)
CLEAN = c.Stopped(c.End.CLEAN)


class FakePort:
    """Has events from the start, and keeps what it is told."""

    def __init__(self, events: Sequence[e.Event]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._events = list(events)
        self.told: list[c.Command] = []
        if events:
            self._writer.send(b"!")

    def fileno(self) -> int:
        return self._reader.fileno()

    def events(self) -> list[e.Event]:
        self._reader.recv(1)
        events, self._events = self._events, []
        return events

    def execute(self, command: c.Command) -> None:
        self.told.append(command)

    produce = execute

    def close(self, timeout: float = 0.0) -> bool:
        self._reader.close()
        self._writer.close()
        return True


class FakeCore:
    """Answers events as a test says, and stops after so many of them."""

    def __init__(self, stop_after: int, answer: Callable[[e.Event], list[c.Command]]) -> None:
        self.heard: list[e.Event] = []
        self.due: float | None = None
        self._stop_after = stop_after
        self._answer = answer

    def start(self, now: float) -> list[c.Command]:
        return [c.StartWorker(1, 0)]

    def handle(self, event: e.Event, now: float) -> list[c.Command]:
        self.heard.append(event)
        done = len(self.heard) >= self._stop_after
        return [*self._answer(event), *([CLEAN] if done else [])]

    def deadline(self) -> float | None:
        return self.due


def nothing(event: e.Event) -> list[c.Command]:
    return []


class Surroundings:
    """A loop with ports that are not real."""

    def __init__(
        self,
        stop_after: int,
        answer: Callable[[e.Event], list[c.Command]] = nothing,
        *,
        workers: Sequence[e.Event] = (),
        sink: Sequence[e.Event] = (),
        source: Sequence[e.Event] = (),
    ) -> None:
        self.core = FakeCore(stop_after, answer)
        self.workers, self.sink, self.source = map(FakePort, (workers, sink, source))
        self.reports: list[c.Report] = []
        self.stop = Stop()

    @contextmanager
    def loop(self) -> Iterator[Loop]:
        with Signals((signal.SIGUSR1,)) as signals, self.stop as stop:
            source: Any = self.source
            sink: Any = self.sink
            workers: Any = self.workers
            try:
                yield Loop(
                    self.core,
                    source,
                    sink,
                    workers,
                    StandstillClock(),
                    self.reports.append,
                    signals,
                    lambda _: (e.StopRequested(0.0),),
                    stop,
                    lambda at_once: (e.StopRequested(0.0 if at_once else 9.0),),
                )
            finally:
                for port in (source, sink, workers):
                    port.close()


def test_each_command_goes_where_it_belongs() -> None:
    produce = c.Produce(1, Output("out", b"x"))
    fetching, kill = c.Fetching(False), c.KillWorker(1)
    report = c.Report(c.ReportKind.WORKER_DIED)
    asked: list[c.Command] = [fetching, report, produce, kill]
    around = Surroundings(1, lambda _: asked, workers=[e.WorkerReady(1, 7)])

    with around.loop() as loop:
        assert loop.run() == CLEAN

    assert around.source.told == [fetching]
    assert around.sink.told == [produce]
    assert around.workers.told == [c.StartWorker(1, 0), kill]
    assert around.reports == [report]


def test_workers_are_heard_before_the_sink_and_the_source() -> None:
    ready, delivered, lost = e.WorkerReady(1, 7), e.Delivered(1), e.Lost(0, (TP,))
    around = Surroundings(3, source=[lost], sink=[delivered], workers=[ready])

    with around.loop() as loop:
        loop.run()

    assert around.core.heard == [ready, delivered, lost]


def test_a_signal_is_heard_before_all_else_and_outside_of_its_handler() -> None:
    ready = e.WorkerReady(1, 7)
    around = Surroundings(2, workers=[ready])

    with around.loop() as loop:
        signal.raise_signal(signal.SIGUSR1)
        assert around.core.heard == []
        loop.run()

    assert around.core.heard == [e.StopRequested(0.0), ready]


def test_a_stop_that_was_asked_for_before_the_loop_listens_is_heard() -> None:
    around = Surroundings(2)
    around.stop.request()
    around.stop.request(now=True)

    with around.loop() as loop:
        loop.run()

    assert around.stop.asked
    assert around.core.heard == [e.StopRequested(9.0), e.StopRequested(0.0)]


def test_a_stop_from_another_thread_wakes_the_loop() -> None:
    around = Surroundings(1)

    with around.loop() as loop:
        asking = threading.Thread(target=around.stop.request)
        asking.start()
        loop.run()
        asking.join()

    assert around.core.heard == [e.StopRequested(9.0)]


def test_a_stop_after_the_end_changes_nothing() -> None:
    stop = Stop()
    with stop:
        pass

    stop.request()

    assert stop.asked


def test_a_call_from_before_wakes_too_and_once_cleared_it_is_over() -> None:
    wake = Wake()
    wake.call()
    with wake, selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ)

        assert selector.select(0)
        wake.clear()
        assert not selector.select(0)
        wake.call()
        wake.call()
        assert selector.select(0)
        wake.clear()
        assert not selector.select(0)
    wake.call()


def test_a_tick_comes_when_the_core_wants_one() -> None:
    around = Surroundings(1)
    around.core.due = time.monotonic()

    with around.loop() as loop:
        loop.run()

    assert around.core.heard == [e.Tick()]


def test_what_a_chore_returns_is_heard_again_and_again() -> None:
    around = Surroundings(3)

    with around.loop() as loop:
        loop.every(0.001, lambda: (e.Replace(),))
        loop.run()

    assert around.core.heard == [e.Replace()] * 3


def test_an_error_of_the_core_ends_the_loop() -> None:
    def fail(event: e.Event) -> list[c.Command]:
        raise ValueError("no")

    around = Surroundings(1, fail, workers=[e.WorkerReady(1, 7)])

    with around.loop() as loop, pytest.raises(ValueError, match="no"):
        loop.run()


def test_signals_are_as_before_when_it_is_over() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with Signals((signal.SIGUSR1,)) as signals:
        signal.raise_signal(signal.SIGUSR1)
        assert signals.take() == [signal.SIGUSR1]
        assert signals.take() == []
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_further_port_is_heard_after_the_others() -> None:
    around = Surroundings(2, source=[e.Replace()])
    further = FakePort([e.StopRequested(1.0)])
    with around.loop() as loop:
        loop.listen(further)
        loop.run()
    further.close()

    assert around.core.heard == [e.Replace(), e.StopRequested(1.0)]
