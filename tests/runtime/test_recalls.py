"""What is taken from a worker in a slow message is never begun by it; on real processes."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.core.commands import Observe
from kqworker.core.events import Event, Finished, Observed, Running, WorkerDied
from kqworker.ports import Workers
from kqworker.types import Task
from tests.runtime.bench import PATIENCE, Bench, Fate, fate, segment
from tests.waiting import pump


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def certain(bench: Bench, worker: int, task: Task) -> Running | None:
    """Look at a worker until it is certain what it will not begin, or it is done or dead."""
    found: list[Running] = []

    def known() -> bool:
        if bench.all(WorkerDied, worker):
            return True
        bench.workers.execute(Observe((worker,)))
        bench.look(0.01)
        seen = [event.running.get(worker) for event in bench.all(Observed)][-1:]
        found[:] = [x for x in seen if x is not None and x.recalled >= task.id]
        return bool(found) or any(e.complete for e in bench.all(Finished) if e.task == task.id)

    bench.until(known, f"worker {worker} to heed a recall")
    return found[0] if found else None


def traced(path: Path) -> tuple[set[int], set[int]]:
    """The offsets of messages that were begun, and that have ended."""
    lines = path.read_text().splitlines() if path.exists() else []
    begun = {int(line.split()[0]) for line in lines if line.endswith("begin")}
    return begun, {int(line.split()[0]) for line in lines if line.endswith("end")}


def mixed(chance: random.Random) -> list[str]:
    seconds = [chance.choice((0.0, 0.0005, 0.002, 0.03)) for _ in range(12)]
    verbs = [f"sleep {s}" for s in seconds]
    for i in range(len(verbs)):
        if chance.random() < 0.1:
            verbs[i] = "fail why"
    return verbs


def test_a_recall_is_certain_only_after_a_while(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    task = bench.send(worker, [f"until {tmp_path / 'go'}", "ok"])
    assert bench.until_on(worker, task, 0).recalled == 0
    bench.recall(worker)
    running = certain(bench, worker, task)

    assert running is not None
    assert (running.task, running.index, running.recalled) == (task.id, 0, task.id)
    (tmp_path / "go").touch()
    assert bench.done(task) == Fate([0], unstarted=[1])


def test_what_was_told_comes_before_the_look_that_it_belongs_to(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One read would not bring it all.
    monkeypatch.setattr("kqworker.runtime.channel.READ_SIZE", 16)
    worker = bench.start()
    task = bench.send(worker, ["fail a", "ok", "fail b", f"until {tmp_path / 'go'}"])
    bench.until_on(worker, task, 3)

    told = 0
    for event in bench.said:
        if isinstance(event, Finished):
            told += len(event.outcomes)
        elif isinstance(event, Observed):
            running = event.running[worker]
            at = -1 if running is None else running.index
            assert told >= (at > 0) + (at > 2), bench.said
    (tmp_path / "go").touch()
    assert list(bench.done(task).outcomes) == [0, 2]


def test_a_worker_that_ruins_its_channel_is_ended_by_a_look_too(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", "garble"])

    # The look is what reads the channel, whatever has made it readable.
    def look(workers: Workers) -> None:
        workers.execute(Observe((worker,)))
        bench.said += workers.events()

    assert pump(lambda: bench.all(WorkerDied), look, bench.workers, within=PATIENCE), bench.said
    died = bench.died(worker)
    assert (died.task, died.index) == (task.id, 1)
    assert died.text.startswith("it wrote what is no frame: ")


def test_what_is_taken_from_a_worker_is_never_begun(bench: Bench, tmp_path: Path) -> None:
    chance = random.Random(3)
    worker = bench.start()
    taken = 0
    for turn in range(60):
        trace = tmp_path / str(turn)
        verbs = mixed(chance)
        task = bench.send(worker, segment(verbs, trace=trace))
        second = bench.send(worker, segment(["ok"] * 3, first=100, trace=trace))
        bench.look(chance.uniform(0.0, 0.03))
        bench.recall(worker)
        running = certain(bench, worker, second)
        done = bench.done(task)
        behind = bench.done(second)
        begun, _ = traced(trace)

        assert set(done.accepted) | set(done.outcomes) == {i for i in begun if i < 100}
        assert {100 + i for i in behind.accepted} == {i for i in begun if i >= 100}
        if running is not None and running.task == task.id:
            taken += 1
            assert max(begun) <= running.index, (running, bench.said[-8:])
            assert set(range(running.index + 1, len(verbs))) <= set(done.unstarted)
            assert not behind.accepted
    assert taken > 5


def test_a_kill_at_any_moment_of_a_recall_is_accounted_for(bench: Bench, tmp_path: Path) -> None:
    chance = random.Random(5)
    for turn in range(30):
        trace = tmp_path / str(turn)
        verbs = mixed(chance)
        worker = bench.start()
        task = bench.send(worker, segment(verbs, trace=trace))
        bench.look(chance.uniform(0.0, 0.02))
        bench.recall(worker)
        running = certain(bench, worker, task) if chance.random() < 0.7 else None
        bench.look(chance.uniform(0.0, 0.02))
        os.kill(bench.pid(worker), signal.SIGKILL)
        bench.died(worker)

        events = _of(bench, worker)
        found = fate(task, events)
        begun, ended = traced(trace)
        assert set(found.accepted) <= ended, events
        assert not set(found.unstarted) & begun, events
        assert not set(found.outcomes) & ended
        assert len(ended - set(found.accepted)) <= 1
        if running is not None and running.task == task.id:
            assert all(i <= running.index for i in begun), (running, events)
            before = set(range(running.index)) - set(found.unstarted)
            assert before <= ended | set(found.outcomes), (running, events)


def _of(bench: Bench, worker: int) -> list[Event]:
    return [event for event in bench.said if getattr(event, "worker", None) == worker]
