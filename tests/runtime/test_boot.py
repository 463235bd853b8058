"""How a worker comes up, and what it says when it cannot; on real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import cloudpickle
import psutil
import pytest

from kqworker.core.events import BootFailed, Cause, WorkerDied
from kqworker.runtime.spec import WorkerSpec
from tests.runtime.bench import VERBS, Bench

APP = """
import os, sys, threading, time
from kqworker import App
app = App("boot")
{more}
@app.handler(topic="t")
def on_t(value: bytes) -> None: ...
"""


def spec(here: Path, name: str, more: str = "", attribute: str = "app") -> WorkerSpec:
    (here / f"{name}.py").write_text(APP.format(more=more))
    return WorkerSpec(f"{name}:{attribute}", app_dir=str(here), preload=False)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_worker_says_who_it_is_when_it_has_booted(method: str) -> None:
    with Bench(method=method) as bench:
        pid = bench.pid(bench.start())
        assert psutil.Process(pid).is_running()


NAMES = """
import multiprocessing, pathlib
@app.on_worker_start
def begin():
    def told():
        return pathlib.Path("/proc/self/comm").read_text().strip()
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.write(writer, told().encode())
        os._exit(0)
    os.waitpid(child, 0)
    name = multiprocessing.current_process().name
    raise OSError(f"{name} {told()} {os.read(reader, 100).decode()}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc/self/comm")
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_process_has_its_name_from_its_seat_and_what_it_forks_has_not(
    tmp_path: Path, method: str
) -> None:
    with Bench(spec=spec(tmp_path, "named", NAMES), method=method) as bench:
        for seat in (0, 3):
            told = bench.boot_failed(bench.start_only(seat)).failure.text
            name, shown, forked = told.split()
            assert name == shown == f"kqworker-{seat}"
            assert not forked.startswith("kqworker")


@pytest.mark.parametrize(
    ("name", "more", "attribute", "kind", "text"),
    [
        ("misnamed", "", "ap", "ConfigError", "no attribute 'ap' (did you mean 'app'?)"),
        ("raising", "1 / 0", "app", "ConfigError", "ZeroDivisionError: "),
        ("leaving", "sys.exit(4)", "app", "ConfigError", "ended Python"),
        ("interrupted", "raise KeyboardInterrupt", "app", "KeyboardInterrupt", ""),
        (
            "hooked",
            "@app.on_worker_start\ndef begin(): raise OSError('no model')",
            "app",
            "OSError",
            "no model",
        ),
        (
            "lingering",
            "threading.Thread(target=time.sleep, args=(600,)).start()\n1 / 0",
            "app",
            "ConfigError",
            "ZeroDivisionError",
        ),
    ],
)
def test_what_keeps_a_worker_from_booting_is_told_once(
    tmp_path: Path, name: str, more: str, attribute: str, kind: str, text: str
) -> None:
    with Bench(spec=spec(tmp_path, name, more, attribute)) as bench:
        worker = bench.start_only()
        failure = bench.boot_failed(worker).failure

        assert failure.type == kind
        assert text in failure.text
        assert len(bench.all(BootFailed)) == 1
        assert not bench.all(WorkerDied)


def test_a_worker_that_ends_on_import_without_a_word_has_died(tmp_path: Path) -> None:
    with Bench(spec=spec(tmp_path, "wordless", "os._exit(7)")) as bench:
        died = bench.died(bench.start_only())

    assert (died.cause, died.task) == (Cause.CRASHED, None)
    assert died.text == "exit code 7, before it was ready"


def test_the_error_of_a_start_hook_comes_with_its_traceback(tmp_path: Path) -> None:
    more = "@app.on_worker_start\ndef begin(): raise OSError('no model')"
    with Bench(spec=spec(tmp_path, "traced", more)) as bench:
        failure = bench.boot_failed(bench.start_only()).failure

    lines = failure.traceback.splitlines()
    assert "traced.py" in lines[1] and lines[-1] == "OSError: no model"


def test_a_factory_makes_the_app_in_the_worker(tmp_path: Path) -> None:
    made = spec(tmp_path, "made", "def make(): return app", "make")
    with Bench(spec=WorkerSpec(made.reference, app_dir=made.app_dir, factory=True)) as bench:
        assert bench.pid(bench.start())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (WorkerSpec(), "the run names no app"),
        (WorkerSpec(pickled=cloudpickle.dumps(3)), "what was pickled is a int, not an App"),
    ],
)
def test_a_spec_without_an_app_is_refused(wrong: WorkerSpec, text: str) -> None:
    with Bench(spec=wrong) as bench:
        assert bench.boot_failed(bench.start_only()).failure.text == text


def test_only_ways_of_starting_that_kafka_survives_are_served() -> None:
    with pytest.raises(ValueError, match="'fork'"):
        Bench(spec=VERBS, method="fork")


def test_a_worker_for_which_there_are_no_descriptors_has_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(number: int, seat: int) -> None:
        raise OSError(24, "Too many open files")

    with Bench() as bench:
        monkeypatch.setattr("kqworker.runtime.process.Child", none_left)
        died = bench.died(bench.start_only())

    assert died.text == "it cannot be started: [Errno 24] Too many open files"
