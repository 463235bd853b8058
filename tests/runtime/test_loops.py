"""What runs beside a worker's messages, and what they leave behind; on real processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.runtime.spec import WorkerSpec
from kqworker.types import Task
from tests.runtime.bench import ROOT, Bench, wait_for_file
from tests.waiting import until

LOOPS = WorkerSpec("tests.runtime.loops:app", app_dir=str(ROOT), log_level="warning")
SYNC, ASYNC = 0, 1


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setenv("KQWORKER_TEST_TICKS", str(tmp_path / "ticks"))
    with Bench(spec=LOOPS, method="spawn") as bench:
        yield bench


def results(bench: Bench, task: Task) -> list[str]:
    outcomes = bench.done(task).outcomes
    return [(outcomes[i].outputs[0].value or b"").decode() for i in sorted(outcomes)]


def test_the_event_loop_runs_while_a_worker_waits_for_messages(
    bench: Bench, tmp_path: Path
) -> None:
    bench.start()

    # Nothing is sent to it.
    wait_for_file(tmp_path / "ticks")
    until(lambda: (tmp_path / "ticks").stat().st_size >= 50, "50 ticks")


def test_the_event_loop_has_its_turn_between_the_messages_of_a_sync_handler(bench: Bench) -> None:
    worker = bench.start()

    seen = [int(text) for text in results(bench, bench.send(worker, ["sleep 0.01"] * 10))]

    assert all(later > sooner for sooner, later in itertools.pairwise(seen)), seen


@pytest.mark.parametrize("handler", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_message_sees_what_the_hooks_set_and_nothing_of_another_message(
    bench: Bench, handler: int
) -> None:
    worker = bench.start()

    first = results(bench, bench.send(worker, ["leak"] * 3, handler=handler))
    second = results(bench, bench.send(worker, ["leak"] * 2, handler=handler))

    assert first + second == ["import hook nothing 20"] * 5


def test_a_stop_hook_sees_what_the_start_hooks_set(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    bench.done(bench.send(worker, ["leak"]))

    bench.stop(worker)

    assert wait_for_file(tmp_path / "ticks.stop") == "hook nothing"


def test_a_background_task_that_leaves_ends_alone(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = bench.start()
    task = bench.send(worker, ["leave", "leak", "leave"], handler=ASYNC)

    assert bench.done(task).accepted == [0, 2]
    assert results(bench, bench.send(worker, ["leak"], handler=ASYNC)) == ["import hook nothing 20"]
    assert bench.stop(worker).text == "exit code 0"
    assert "a background task has raised SystemExit" in capfd.readouterr().err
