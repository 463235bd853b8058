"""A worker that is stopped between two messages keeps none where there is a time limit.

The core and real processes, with no Kafka around them.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core import time_limits
from kqworker.core.commands import OnNone
from kqworker.core.limits import Limits
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.core.supervisor import Supervisor
from kqworker.runtime.process import ProcessWorkers
from kqworker.types import Ordering, TopicPartition
from tests.runtime.bench import PATIENCE, VERBS, Bench, Fate, fate, segment

TP = TopicPartition("verbs", 0)
LIMIT, QUIET = 0.5, 1.0
POLICY = HandlerPolicy("do", "verbs", Ordering.PARTITION, Retry(attempts=1), None, time_limit=LIMIT)


class Run:
    """A supervisor of one worker; keeps all that is said."""

    def __init__(self) -> None:
        self._core = Supervisor((POLICY,), Limits(workers=1), random.Random(1))
        self._workers = ProcessWorkers(VERBS)
        self.events: list[e.Event] = []
        self.commands: list[c.Command] = []
        self._do(self._core.start(time.monotonic()))

    def close(self) -> None:
        self._workers.close(0.0)

    def feed(self, event: e.Event) -> None:
        self.events.append(event)
        self._do(self._core.handle(event, time.monotonic()))

    def _do(self, commands: list[c.Command]) -> None:
        self.commands += commands
        for command in commands:
            if isinstance(command, c.WorkersCommand):
                self._workers.execute(command)

    def until(self, kind: type[e.Event]) -> e.Event:
        """Go on until an event of a kind has come."""
        before = len(self.events)
        deadline = time.monotonic() + PATIENCE
        while True:
            for event in self.events[before:]:
                if isinstance(event, kind):
                    return event
            assert time.monotonic() < deadline, (kind, self.events)
            due = self._core.deadline() or deadline
            wait = min(0.5, max(0.0, due - time.monotonic()))
            if select.select([self._workers.fileno()], [], [], wait)[0]:
                for event in self._workers.events():
                    self.feed(event)
            if time.monotonic() >= due:
                self.feed(e.Tick())


def test_who_is_stopped_on_no_message_is_killed_for_none() -> None:
    with Bench() as bench:
        worker = bench.start()
        os.kill(bench.pid(worker), signal.SIGSTOP)
        task = bench.send(worker, ["ok", "ok"])
        assert bench.observe(worker) is None

        bench.kill(worker, OnNone())
        died = bench.died(worker)
        assert (died.cause, died.task) == (e.Cause.KILLED, None)
        assert fate(task, bench.said) == Fate(unstarted=[0, 1])


def test_who_is_on_a_message_is_not_killed_for_none(tmp_path: Path) -> None:
    with Bench() as bench:
        worker = bench.start()
        task = bench.send(worker, ["ok", f"until {tmp_path / 'go'}", "ok"])
        bench.until_on(worker, task, 1)
        bench.kill(worker, OnNone())
        (tmp_path / "go").touch()
        assert bench.done(task).accepted == [0, 1, 2]
        assert not bench.all(e.WorkerDied)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(time_limits, "QUIET_SECONDS", QUIET)
    run = Run()
    yield run
    run.close()


def test_what_a_stopped_worker_was_handed_goes_to_another_uncharged(run: Run) -> None:
    ready = run.until(e.WorkerReady)
    assert isinstance(ready, e.WorkerReady)
    os.kill(ready.pid, signal.SIGSTOP)
    run.feed(e.Assigned(0, {TP: e.Start(0)}))
    began = time.monotonic()
    run.feed(e.Fetched((segment(["ok", "ok"]).records,), 0))

    died = run.until(e.WorkerDied)
    took = time.monotonic() - began
    assert isinstance(died, e.WorkerDied)
    assert (died.worker, died.cause, died.task) == (1, e.Cause.KILLED, None)
    assert LIMIT + QUIET <= took < LIMIT + QUIET + 5.0  # which a busy machine may take

    done = 0
    while done < 2:
        finished = run.until(e.Finished)
        assert isinstance(finished, e.Finished)
        assert (finished.worker, finished.outcomes, finished.unstarted) == (2, (), ())
        done += 1
    sent = [x.task for x in run.commands if isinstance(x, c.Send) and x.worker == 2]
    assert {part.attempt for task in sent for part in task.segments} == {1}
    notes = [x.kind for x in run.commands if isinstance(x, c.Report)]
    assert notes == [c.ReportKind.WORKER_DIED]
