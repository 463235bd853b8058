"""A death costs the message that the worker was on, and that one only; on real processes."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kqworker import wire
from kqworker.core.events import Cause, Event, Finished, WorkerDied, WorkerReady
from kqworker.types import Ordering, Outcome, Task, Verdict
from tests.runtime.bench import Bench, Fate, fate, segment, wait_for_end, wait_for_file


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("exit 0", "exit code 0"),
        ("exit 3", "exit code 3"),
        ("exit 255", "exit code 255"),  # what a lost forkserver looks like to multiprocessing
        ("signal 9", "signal 9 (SIGKILL)"),
        ("segfault", "signal 11 (SIGSEGV)"),
    ],
)
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_crash_is_charged_to_the_message_it_happened_on(
    verb: str, text: str, method: str
) -> None:
    with Bench(method=method) as bench:
        worker = bench.start()
        task = bench.send(worker, ["ok", "fail why", verb, "ok"])
        waiting = bench.send(worker, ["ok"])

        died = bench.died(worker)

    assert (died.cause, died.task, died.index, died.text) == (Cause.CRASHED, task.id, 2, text)
    found = fate(task, bench.said)
    assert (found.accepted, found.charged, found.unstarted) == ([0], 2, [3])
    assert found.verdicts == {1: Verdict.RELEASE}
    assert not [e for e in bench.all(Finished) if e.task == waiting.id]


def test_a_worker_that_dies_idle_is_on_nothing(bench: Bench) -> None:
    worker = bench.start()
    bench.done(bench.send(worker, ["ok"]))
    os.kill(bench.pid(worker), signal.SIGKILL)

    died = bench.died(worker)

    assert (died.cause, died.task) == (Cause.CRASHED, None)


def test_what_an_order_kept_from_running_is_not_taken_for_done(
    bench: Bench, tmp_path: Path
) -> None:
    worker = bench.start()
    verbs = ["fail why", "ok", "ok", "exit 1", "ok"]
    parts = segment(verbs, keys=[b"a", b"b", b"a", b"b", b"c"])
    task = bench.send(worker, parts, ordering=Ordering.KEY)

    bench.died(worker)

    found = fate(task, bench.said)
    assert (found.accepted, found.charged, found.unstarted) == ([1], 3, [2, 4])


def test_what_a_dead_worker_wrote_is_read_to_its_end_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Here the same descriptor tells the supervisor and this test of the end.
    with Bench(method="spawn") as bench:
        # One read would not bring it all.
        monkeypatch.setattr("kqworker.runtime.channel.READ_SIZE", 16)
        worker = bench.start()
        task = bench.send(worker, ["fail a", "fail b", "exit 1"])
        wait_for_end(bench.pid(worker))

        died = bench.died(worker)

        assert bench.said[-1] is died
        found = fate(task, bench.said)
        assert (list(found.outcomes), found.charged) == ([0, 1], 2)


@pytest.mark.parametrize("verb", ["close", "garble"])
def test_a_worker_that_ruins_its_channel_is_ended(bench: Bench, verb: str) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", verb, "ok"])

    died = bench.died(worker)

    assert (died.task, died.index) == (task.id, 1)
    expected = "signal 9" if verb == "close" else "it wrote what is no frame: "
    assert died.text.startswith(expected)


# A kill at every byte of an answer


def of_worker(bench: Bench, worker: int) -> list[Event]:
    return [event for event in bench.said if getattr(event, "worker", None) == worker]


def cut(
    bench: Bench, verbs: list[str], sizes: list[int]
) -> Iterator[tuple[int, list[Event], Task]]:
    """Have a worker killed after so many bytes of the frame that follows the `cut` verb."""
    for start in range(0, len(sizes), 8):
        batch = sizes[start : start + 8]
        workers = [bench.start_only() for _ in batch]
        sent = {}
        for worker, size in zip(workers, batch, strict=True):
            bench.next(WorkerReady, worker)
            sent[worker] = bench.send(worker, [verb.format(size) for verb in verbs])
        for worker, size in zip(workers, batch, strict=True):
            bench.died(worker)
            yield size, of_worker(bench, worker), sent[worker]


def all_accepted(found: Fate) -> None:
    assert (found.accepted, found.outcomes, found.unstarted) == ([0, 1, 2], {}, [])


def second_to_last_unknown(found: Fate) -> None:
    assert (found.accepted, found.charged, found.unstarted) == ([0, 1], 2, [3])
    assert found.outcomes == {}


def second_to_last_told(found: Fate) -> None:
    assert (found.accepted, found.charged, found.unstarted) == ([0, 1], None, [3])
    assert list(found.outcomes) == [2]


@pytest.mark.parametrize(
    ("verbs", "partly", "wholly"),
    [
        (["ok", "cut {}", "ok"], all_accepted, all_accepted),
        (["ok", "cut {}", "later 1", "ok"], second_to_last_unknown, second_to_last_told),
        (["ok", "cut {}", "return 9", "ok"], second_to_last_unknown, second_to_last_told),
    ],
    ids=["plain", "failed", "with an output"],
)
def test_a_kill_at_every_byte_of_an_answer_is_accounted_for(
    bench: Bench,
    verbs: list[str],
    partly: Callable[[Fate], None],
    wholly: Callable[[Fate], None],
) -> None:
    bench.task_ids_from(1000)  # all of one length in a frame
    ((_, events, task),) = cut(bench, verbs, [10_000])
    wholly(fate(task, events))
    told = next(e for e in events if isinstance(e, Finished))
    answer = wire.Answer(task.id, told.outcomes, told.complete, told.unstarted, told.seconds)
    size = len(wire.encode_answer(answer))

    for at, events, task in cut(bench, verbs, list(range(size + 1))):
        found = fate(task, events)
        try:
            (wholly if at == size else partly)(found)
        except AssertionError as error:
            raise AssertionError(f"killed after {at} of {size} bytes: {events}") from error


def test_a_kill_while_unstarted_messages_are_handed_back_blames_nobody(
    bench: Bench, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    for size in (0, 12):
        worker = bench.start()
        task = bench.send(worker, ["ok", f"cut {size}", f"until {go}", "ok", "ok"])
        bench.until_on(worker, task, 2)
        bench.recall(worker)
        go.touch()
        bench.died(worker)
        go.unlink()

        found = fate(task, of_worker(bench, worker))
        assert (found.accepted, found.charged, found.unstarted) == ([0, 1, 2], None, [3, 4])


# Kills at any time


def test_kills_at_any_time_are_accounted_for(bench: Bench, tmp_path: Path) -> None:
    chance = random.Random(7)
    for turn in range(30):
        trace = tmp_path / str(turn)
        verbs = ["fail why" if chance.random() < 0.1 else "ok" for _ in range(100)]
        keys = [chance.choice([None, b"a", b"b", b"c"]) for _ in verbs]
        ordering = chance.choice(list(Ordering))
        worker = bench.start()
        task = bench.send(worker, segment(verbs, keys=keys, trace=trace), ordering=ordering)
        size = chance.randrange(800)
        bench.until(lambda: _size(trace) >= size or bool(of_worker(bench, worker)[1:]))  # noqa: B023
        os.kill(bench.pid(worker), signal.SIGKILL)
        bench.died(worker)

        events = of_worker(bench, worker)
        found = fate(task, events)
        lines = wait_for_file(trace).splitlines() if trace.exists() else []
        ended = {int(line.split()[0]) for line in lines if line.endswith("end")}
        begun = {int(line.split()[0]) for line in lines if line.endswith("begin")}
        assert set(found.accepted) <= ended, events
        assert not set(found.unstarted) & begun, events
        assert all(o.verdict is Verdict.RELEASE for o in found.outcomes.values())
        assert not set(found.outcomes) & ended
        charged = set() if found.charged is None else {found.charged}
        parts = [set(found.accepted), set(found.outcomes), set(found.unstarted), charged]
        assert set().union(*parts) == set(range(100))
        assert sum(map(len, parts)) == 100
        # At most the one that it was on is done again.
        assert len(ended - set(found.accepted)) <= 1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_fates_are_read_by_the_letter() -> None:
    task = Task(1, 0, Ordering.UNORDERED, (segment(["ok"] * 5),))
    failed = Outcome(1, Verdict.RELEASE)
    partly = Finished(1, 1, (failed,), False, (2,))
    charged = WorkerDied(1, Cause.CRASHED, 1, 3, "")
    stopped = WorkerDied(1, Cause.STOPPED, 1, 3, "")

    assert fate(task, [partly, charged]) == Fate([0], {1: failed}, [2, 4], 3)
    assert fate(task, [partly, stopped]) == Fate([0], {1: failed}, [2, 3, 4], None)
    assert fate(task, [Finished(1, 1, (), True, (4,))]) == Fate([0, 1, 2, 3], {}, [4], None)
