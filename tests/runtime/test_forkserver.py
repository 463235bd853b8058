"""The forkserver: what it imports beforehand, and its death; on real processes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from kqworker.core.events import BootFailed, Cause, WorkerDied, WorkerReady
from kqworker.runtime import preload
from kqworker.runtime.spec import WorkerSpec
from tests.runtime.bench import VERBS, Bench, fate, wait_for_end, wait_for_file
from tests.runtime.servers import fresh_server, parent_of, server_pid

APP = """
import os, pathlib, sys
from kqworker import App
app = App("preloaded")
HERE = pathlib.Path({here!r})
with (HERE / "imports").open("a") as file:
    file.write(f"{{os.getpid()}}\\n")
print("imported", end="")
{more}

@app.handler(topic="t", output="out")
def on_t(value: str) -> str:
    return str([name for name in os.environ if name == "KQWORKER_FORKSERVER"])
"""


@pytest.fixture(autouse=True)
def own_server() -> Iterator[None]:
    with fresh_server():
        yield


def spec(
    here: Path, name: str, more: str = "", preload: bool | Literal["auto"] = "auto"
) -> WorkerSpec:
    (here / f"{name}.py").write_text(APP.format(here=str(here), more=more))
    return WorkerSpec(f"{name}:app", app_dir=str(here), preload=preload)


def imports(here: Path) -> list[int]:
    return [int(line) for line in (here / "imports").read_text().split()]


def test_the_app_is_imported_once_for_all_workers(tmp_path: Path) -> None:
    with Bench(spec=spec(tmp_path, "once")) as bench:
        pids = [bench.pid(bench.start()) for _ in range(3)]

        assert imports(tmp_path) == [server_pid()]
        assert {parent_of(pid) for pid in pids} == {server_pid()}
        for worker in (1, 2, 3):
            bench.stop(worker)


def test_without_preload_each_worker_imports_the_app_as_it_is_then(tmp_path: Path) -> None:
    with Bench(spec=spec(tmp_path, "each", preload=False)) as bench:
        pids = [bench.pid(bench.start()) for _ in range(2)]

        assert imports(tmp_path) == pids


def test_a_worker_does_not_inherit_what_the_import_has_printed_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "")  # it is in a buffer when the import is done
    lost = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    flush = "@app.on_worker_start\ndef flush() -> None:\n    sys.stdout.flush()"
    with Bench(spec=spec(tmp_path, "vain", f"{lost}\nprint('again')\n{flush}")) as bench:
        bench.start()

        assert imports(tmp_path) == [server_pid()]


def test_the_order_to_a_forkserver_stays_with_it(tmp_path: Path) -> None:
    with Bench(spec=spec(tmp_path, "ordered")) as bench:
        worker = bench.start()
        outputs = bench.done(bench.send(worker, ["x"])).outcomes[0].outputs

    assert outputs[0].value == b"[]"
    assert preload.VARIABLE not in os.environ


def test_what_is_printed_on_import_is_printed_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Bench(spec=spec(tmp_path, "talking")) as bench:
        for worker in [bench.start(), bench.start()]:
            bench.stop(worker)

    assert capfd.readouterr().out == "imported"


def test_a_slow_import_blocks_nobody(tmp_path: Path) -> None:
    more = "import time\nwhile not (HERE / 'go').exists(): time.sleep(0.005)"
    with Bench(spec=spec(tmp_path, "slow", more)) as bench:
        before = time.monotonic()
        workers = [bench.start_only(), bench.start_only()]
        assert time.monotonic() - before < 5.0
        wait_for_file(tmp_path / "imports")
        before = time.monotonic()
        assert bench.workers.events() == []
        assert time.monotonic() - before < 5.0

        (tmp_path / "go").touch()

        for worker in workers:
            bench.next(WorkerReady, worker)


def test_closing_during_a_slow_import_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    more = "import time\nwhile not (HERE / 'go').exists(): time.sleep(0.005)"
    bench = Bench(spec=spec(tmp_path, "stuck", more))
    bench.start_only()
    wait_for_file(tmp_path / "imports")

    before = time.monotonic()
    bench.workers.close(0.1)
    assert time.monotonic() - before < 2.0

    (tmp_path / "go").touch()


def test_workers_can_be_called_off_during_a_slow_import(tmp_path: Path) -> None:
    more = "import time\nwhile not (HERE / 'go').exists(): time.sleep(0.005)"
    with Bench(spec=spec(tmp_path, "called_off", more)) as bench:
        killed, stopped = bench.start_only(), bench.start_only()
        wait_for_file(tmp_path / "imports")
        bench.kill(killed)

        assert bench.died(killed).cause is Cause.KILLED
        assert bench.stop(stopped).cause is Cause.STOPPED
        assert not (tmp_path / "go").exists()


def test_an_app_that_fails_to_import_is_told_by_the_worker(tmp_path: Path) -> None:
    with Bench(spec=spec(tmp_path, "broken", "import no_such_module")) as bench:
        worker = bench.start_only()
        failure = bench.boot_failed(worker).failure

        assert failure.type == "ConfigError"
        assert "'no_such_module'" in failure.text
        assert "preload" not in failure.text
        assert not bench.all(WorkerDied)


@pytest.mark.parametrize("preload", ["auto", True])
def test_an_app_that_opens_a_kafka_handle_on_import_is_refused(
    tmp_path: Path, preload: bool | Literal["auto"]
) -> None:
    more = "from confluent_kafka import Producer\nproducer = Producer({})"
    with Bench(spec=spec(tmp_path, "handle", more, preload)) as bench:
        failure = bench.boot_failed(bench.start_only()).failure

    assert failure.type == "ConfigError"
    assert failure.text.startswith("importing 'handle' opened a Kafka client (rdk:")
    assert "@app.on_worker_start" in failure.text


def test_an_app_that_kills_the_forkserver_ends_the_start(tmp_path: Path) -> None:
    with Bench(spec=spec(tmp_path, "deadly", "os._exit(5)")) as bench:
        died = bench.died(bench.start_only())

    assert (died.cause, died.task) == (Cause.CRASHED, None)
    assert died.text == "the forkserver died while it imported the app"
    assert len(imports(tmp_path)) > 1  # it was tried again


def test_the_death_of_the_forkserver_is_charged_to_nobody(tmp_path: Path) -> None:
    with Bench() as bench:
        workers = [bench.start(), bench.start()]
        tasks = [bench.send(w, ["ok", "hang", "ok"]) for w in workers]
        for worker, task in zip(workers, tasks, strict=True):
            bench.until_on(worker, task, 1)
        before = server_pid()
        assert before is not None

        os.kill(before, signal.SIGKILL)

        for worker, task in zip(workers, tasks, strict=True):
            died = bench.died(worker)
            assert (died.cause, died.text) == (Cause.STOPPED, "the forkserver died")
            found = fate(task, [e for e in bench.said if getattr(e, "worker", 0) == worker])
            assert (found.accepted, found.charged, found.unstarted) == ([0], None, [1, 2])
            wait_for_end(bench.pid(worker), 0.0)
        again = bench.start()
        assert server_pid() != before
        assert bench.done(bench.send(again, ["ok"])).accepted == [0]


def test_workers_asked_for_while_the_forkserver_dies_still_come(tmp_path: Path) -> None:
    with Bench() as bench:
        bench.start()
        for _ in range(5):
            pid = server_pid()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            bench.start()
        assert not bench.all(BootFailed)
        assert {died.cause for died in bench.all(WorkerDied)} == {Cause.STOPPED}


def test_a_broadcast_stop_does_not_reach_the_forkserver() -> None:
    with Bench() as bench:
        worker = bench.start()
        pid = server_pid()
        assert pid is not None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)

        assert bench.done(bench.send(worker, ["ok"])).accepted == [0]
        bench.start()
        assert server_pid() == pid


CTRL_C = "import signal; signal.raise_signal(signal.SIGINT)"


def test_ctrl_c_at_the_first_line_of_the_forkserver_is_not_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # What Python runs before all else, in the forkserver alone.
    only = f"import os\nif {preload.VARIABLE!r} in os.environ: {CTRL_C}\n"
    (tmp_path / "sitecustomize.py").write_text(only)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Bench(spec=spec(tmp_path, "early")) as bench:
        worker = bench.start()
        assert imports(tmp_path) == [server_pid()] == [parent_of(bench.pid(worker))]
    assert "KeyboardInterrupt" not in capfd.readouterr().err


def test_ctrl_c_does_not_cut_off_the_import_in_the_forkserver(tmp_path: Path) -> None:
    mask = "mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n(HERE / str(mask)).touch()"
    with Bench(spec=spec(tmp_path, "cut", f"{CTRL_C}\n{mask}")) as bench:
        bench.start()

        # Imported whole, by the forkserver alone: workers share it.
        assert imports(tmp_path) == [server_pid()]
    # What it starts is not deaf to signals.
    assert (tmp_path / "set()").exists()


@pytest.mark.parametrize("preload", [True, False])
def test_a_program_that_an_import_starts_can_be_ended(tmp_path: Path, preload: bool) -> None:
    import_ = """
import signal, subprocess
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    program = subprocess.Popen(["sleep", "60"])
    program.send_signal(number)
    (HERE / f"ended {program.wait(20)}").touch()
"""
    with Bench(spec=spec(tmp_path, f"ends_{preload}", import_, preload)) as bench:
        bench.start()

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    assert sorted(path.name for path in tmp_path.glob("ended *")) == sorted(
        f"ended {-number}" for number in numbers
    )


def test_a_forkserver_that_somebody_else_has_started_serves_as_well() -> None:
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload([])
    forkserver.ensure_running()
    with Bench(spec=VERBS) as bench:
        worker = bench.start()
        assert bench.done(bench.send(worker, ["ok"])).accepted == [0]
        assert parent_of(bench.pid(worker)) == server_pid()


# -- what an import leaves that a fork does not go with

THREAD = """
import threading
threading.Thread(target=threading.Event().wait, name="pump", daemon=True).start()
"""
LISTENER = """
import logging.handlers, queue
lines = queue.Queue()
listener = logging.handlers.QueueListener(lines, logging.NullHandler())
listener.start()
"""
CONNECTION = """
import socket
connection = socket.create_connection(("127.0.0.1", PORT))
"""


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("more", "what"),
    [(THREAD, "thread 'pump' of threading"), (LISTENER, " of logging.handlers")],
)
def test_an_import_that_leaves_a_thread_is_told_and_left_to_each_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, more: str, what: str
) -> None:
    with Bench(spec=spec(tmp_path, "threaded", more)) as bench:
        pids = [bench.pid(bench.start()) for _ in range(2)]

        first, *others = imports(tmp_path)
        assert others == pids
        assert {parent_of(pid) for pid in pids} == {server_pid()}
        assert server_pid() != first
        for worker in (1, 2):
            bench.stop(worker)
    (told,) = warnings(caplog)
    assert told.startswith("importing 'threaded' has left") and what in told
    assert "each worker imports the app itself" in told


def test_where_preloading_is_asked_for_it_is_told_and_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Bench(spec=spec(tmp_path, "wanted", THREAD, preload=True)) as bench:
        bench.start()

        assert imports(tmp_path) == [server_pid()]
    (told,) = warnings(caplog)
    assert "thread 'pump' of threading" in told and "since preload is true" in told


def test_a_connection_that_an_import_opens_is_each_workers_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        more = CONNECTION.replace("PORT", str(port))
        with Bench(spec=spec(tmp_path, "connected", more)) as bench:
            bench.start()
            bench.start()
            peers = set()
            for _ in range(3):  # of the forkserver, and of two workers
                connection, peer = server.accept()
                connection.close()
                peers.add(peer)

    assert len(peers) == 3
    assert f"a connection to 127.0.0.1:{port}" in warnings(caplog)[0]


def test_an_import_that_leaves_nothing_is_shared_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Bench(spec=spec(tmp_path, "plain")) as bench:
        bench.start()

        assert imports(tmp_path) == [server_pid()]
    assert warnings(caplog) == []


def test_workers_do_not_hang_on_a_pool_of_openmp(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, openmp: str
) -> None:
    more = f"{openmp}region()\n@app.on_worker_start\ndef again(): region()\n"
    with Bench(spec=spec(tmp_path, "openmp", more)) as bench:
        worker = bench.start()
        assert bench.done(bench.send(worker, ["x"])).outcomes[0].outputs

    assert "a pool of OpenMP (libgomp" in warnings(caplog)[0]


@pytest.mark.parametrize("preload", ["auto", False])
def test_each_worker_has_random_numbers_of_its_own(
    tmp_path: Path, preload: bool | Literal["auto"]
) -> None:
    more = "import random\nrandom.seed(1)\n"
    app = APP.replace("return str([", "import random; return str(random.random()) or str([")
    (tmp_path / "seeded.py").write_text(app.format(here=str(tmp_path), more=more))
    seeded = WorkerSpec("seeded:app", app_dir=str(tmp_path), preload=preload)
    with Bench(spec=seeded) as bench:
        values = {
            bench.done(bench.send(worker, ["x"])).outcomes[0].outputs[0].value
            for worker in [bench.start() for _ in range(3)]
        }

    assert len(values) == 3


def test_what_an_import_has_left_is_told_to_nobody_without_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as when the supervisor has ended while the app was being imported
    try:
        preload.tell(writer)
    finally:
        os.close(writer)
