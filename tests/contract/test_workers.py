"""What every `Workers` keeps: real processes by both ways of starting, and the simulator's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.core.commands import OnMessage, OnNone
from kqworker.core.events import Cause, Event, Finished, Observed, Running, WorkerDied
from kqworker.types import Ordering, Verdict
from tests.contract.simulated import SimulatedWorkers
from tests.runtime.bench import Bench, Fate, fate, segment


@pytest.fixture(params=["forkserver", "spawn", "simulated"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    simulated = SimulatedWorkers() if request.param == "simulated" else None
    method = None if simulated else request.param
    with Bench(simulated, method=method) as bench:
        yield bench


def of(bench: Bench, worker: int) -> list[Event]:
    return [event for event in bench.said if getattr(event, "worker", None) == worker]


def test_all_that_return_are_accepted(bench: Bench) -> None:
    worker = bench.start()
    first, second = bench.send(worker, ["ok"] * 5), bench.send(worker, ["ok"])

    assert bench.done(first) == Fate(list(range(5)))
    assert bench.done(second) == Fate([0])


def test_each_outcome_is_told_with_its_index(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(worker, ["fail x", "ok"], ["reject x", "later 2", "return 3"])

    done = bench.done(task)

    assert done.accepted == [1]
    assert done.verdicts == {
        0: Verdict.RELEASE,
        2: Verdict.REJECT,
        3: Verdict.RELEASE,
        4: Verdict.ACCEPT,
    }
    assert all(done.outcomes[i].failure for i in (0, 2, 3))
    assert done.outcomes[3].delay is not None
    assert len(done.outcomes[4].outputs) == 1


@pytest.mark.parametrize(
    ("ordering", "accepted", "unstarted"),
    [
        (Ordering.UNORDERED, [1, 2, 3, 4], []),
        (Ordering.KEY, [1, 3, 4], [2]),
        (Ordering.PARTITION, [4], [1, 2, 3]),
    ],
)
def test_a_failure_keeps_what_its_order_forbids_from_running(
    bench: Bench, ordering: Ordering, accepted: list[int], unstarted: list[int]
) -> None:
    worker = bench.start()
    task = bench.send(
        worker,
        segment(["fail x", "ok", "ok", "ok"], keys=[b"a", b"b", b"a", None]),
        segment(["ok"], keys=[b"a"], partition=1),
        ordering=ordering,
    )

    done = bench.done(task)

    assert (done.accepted, list(done.outcomes), done.unstarted) == (accepted, [0], unstarted)


def test_what_a_failure_forbids_is_told_with_it(bench: Bench) -> None:
    worker = bench.start()
    verbs = ["fail x", "exit 1", "ok", "ok"]
    parts = segment(verbs, keys=[b"a", b"b", b"a", b"c"])
    task = bench.send(worker, parts, ordering=Ordering.KEY)
    bench.died(worker)

    found = fate(task, of(bench, worker))

    assert (found.accepted, found.charged, found.unstarted) == ([], 1, [2, 3])


def test_a_recall_brings_back_what_is_not_begun(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    first = bench.send(worker, ["ok", f"until {tmp_path / 'go'}", "ok"])
    second = bench.send(worker, ["ok"])
    bench.until_on(worker, first, 1)

    bench.recall(worker)
    (tmp_path / "go").touch()

    assert bench.done(first) == Fate([0, 1], unstarted=[2])
    assert bench.done(second) == Fate(unstarted=[0])
    assert bench.done(bench.send(worker, ["ok"])) == Fate([0])


def test_a_look_at_a_recalled_worker_says_what_it_will_not_begin(
    bench: Bench, tmp_path: Path
) -> None:
    worker = bench.start()
    first = bench.send(worker, ["ok", "fail x", f"until {tmp_path / 'go'}", "ok"])
    second = bench.send(worker, ["ok"])
    running = bench.until_on(worker, first, 2)
    assert running.recalled == 0
    bench.recall(worker)

    bench.until(lambda: looked(bench, worker) == second.id, "a recall to be heeded")

    # What it had told before is told before the look.
    assert [e.outcomes[0].index for e in bench.all(Finished)] == [1]
    seen = bench.all(Observed)[-1].running[worker]
    assert isinstance(seen, Running)
    assert (seen.task, seen.index, seen.recalled) == (first.id, 2, second.id)
    (tmp_path / "go").touch()
    done = bench.done(first)
    assert (done.accepted, list(done.outcomes), done.unstarted) == ([0, 2], [1], [3])
    assert bench.done(second) == Fate(unstarted=[0])


def looked(bench: Bench, worker: int) -> int:
    """Return up to which task a worker goes on to nothing else."""
    running = bench.observe(worker)
    assert running is not None
    return running.recalled


def test_a_crash_names_the_message_it_was_on(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", "fail x", "exit 1", "ok"])

    died = bench.died(worker)

    assert (died.cause, died.task, died.index) == (Cause.CRASHED, task.id, 2)
    assert of(bench, worker)[-1] is died
    found = fate(task, of(bench, worker))
    assert (found.accepted, list(found.outcomes), found.unstarted) == ([0], [1], [3])


def test_a_kill_hits_the_message_that_it_names(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", "hang"])
    bench.until_on(worker, task, 1)

    bench.kill(worker, OnMessage(task.id, 0))
    bench.kill(worker, OnMessage(task.id + 1, 1))
    bench.kill(worker, OnNone())  # who is on no message
    assert bench.until_on(worker, task, 1)
    assert not bench.all(WorkerDied)
    bench.kill(worker, OnMessage(task.id, 1))

    died = bench.died(worker)
    assert (died.cause, died.task, died.index) == (Cause.KILLED, task.id, 1)


def test_a_kill_of_an_idle_or_booting_worker_names_no_message(bench: Bench) -> None:
    idle, booting = bench.start(), bench.start_only()
    bench.kill(idle)
    bench.kill(booting)

    assert bench.died(idle).cause is bench.died(booting).cause is Cause.KILLED
    assert bench.died(idle).task is bench.died(booting).task is None


def test_a_stop_of_an_idle_worker_is_nobodys_fault(bench: Bench) -> None:
    worker = bench.start()
    bench.done(bench.send(worker, ["ok"]))

    died = bench.stop(worker)

    assert died.cause is Cause.STOPPED
    assert len(bench.all(WorkerDied)) == 1


def test_commands_to_a_worker_that_has_ended_do_nothing(bench: Bench) -> None:
    worker = bench.start()
    bench.kill(worker)
    bench.died(worker)

    bench.recall(worker)
    bench.kill(worker)
    bench.send(worker, ["ok"])

    other = bench.start()
    assert bench.done(bench.send(other, ["ok"])) == Fate([0])
    assert len(bench.all(WorkerDied)) == 1
    assert {event.worker for event in bench.all(Finished)} == {other}
