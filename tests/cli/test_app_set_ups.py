"""What an app sets up for a whole process: a log, green threads, what there is one of."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
from pathlib import Path

import psutil
import pytest

from kqworker.kafka.devbroker import DevBroker, create_topics
from tests import processes
from tests.cli.conftest import Run
from tests.kafka.node import free_ports

APP = """
import os
from kqworker import App
app = App("shop")

@app.handler(topic="test")
def on_test(text: str) -> None: ...
"""


@pytest.fixture
def shop(here: Path) -> Path:
    (here / "app.py").write_text(APP)
    return here


# -- an app that sets up a log of its own

SET_UP = """
import logging.config
def set_up() -> None:
    logging.config.dictConfig({
        "version": 1,
        "formatters": {"theirs": {"format": "theirs: %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "theirs"}},
        "root": {"handlers": ["console"]},
    })
"""
FAILING = """
from kqworker import App, Retry
app = App("shop")

@app.on_worker_start
def start() -> None:
    ON_START

@app.handler(topic="test", retry=Retry(attempts=2, first=0.01))
def on_test(text: str) -> None:
    IN_HANDLER
    raise ValueError("no")
"""


@pytest.mark.parametrize("when", ["ON_IMPORT", "ON_START", "IN_HANDLER"])
def test_a_failed_message_is_told_once_whatever_the_app_does_to_the_log(
    here: Path, broker: DevBroker, kqworker: Run, when: str
) -> None:
    app = f"{SET_UP}\nON_IMPORT\n{FAILING}".replace(when, "set_up()")
    (here / "app.py").write_text(re.sub("ON_IMPORT|ON_START|IN_HANDLER", "pass", app))
    kqworker("push", "test", "a")

    ended = kqworker("run", "app:app", "-w", "1", "--until-caught-up")

    assert ended.code == 6, ended.err
    lines = [line for line in ended.err.splitlines() if "message failed" in line]
    assert len(lines) == 2, ended.err  # of two attempts
    assert all(re.search(r"test\[\d\]@0: ValueError: no", line) for line in lines)
    assert ended.err.count("0 handled · 1 failed") == 1
    theirs = [line.startswith("theirs: message failed") for line in lines]
    assert all(theirs) if when == "ON_IMPORT" else not any(theirs)


QUEUE = """
import sys
from kqworker import kq
conf = kq.KqConf(
    name="shop", brokers=(sys.argv[1],), group="shop", topic="test", offset="first",
    kqworker={"until_caught_up": True},
)
def consume(key: str, value: str) -> None:
    raise ValueError("no")
queue = kq.must_new_queue(conf, consume)
set_up()
queue.start()
"""


def test_so_is_one_of_a_queue(here: Path, broker: DevBroker, kqworker: Run) -> None:
    (here / "main.py").write_text(SET_UP + QUEUE)
    kqworker("push", "test", "a")

    command = [sys.executable, "main.py", broker.address]
    ended = processes.run(command)

    assert ended.code == 6, ended.err
    assert len(re.findall(r"theirs: message failed.*test\[\d\]@0: ValueError", ended.err)) == 1
    assert ended.err.count("message failed") == 1


# -- green threads

GREEN = """\
def start_new_thread(*_): raise AssertionError("no thread of yours")
def patch_all():
    import _thread
    _thread.start_new_thread = start_new_thread
"""


@pytest.fixture
def green(here: Path) -> None:
    """A stand-in for gevent, which tests can do without."""
    (here / "gevent").mkdir()
    (here / "gevent" / "__init__.py").touch()
    (here / "gevent" / "monkey.py").write_text(GREEN)


PATCHING = "from gevent import monkey\nmonkey.patch_all()\n"
REMEDY = "monkey.patch_all() in a function under @app.on_worker_start, where it works\n"


@pytest.mark.parametrize("command", ["run", "check", "handlers", "kq"])
def test_an_app_that_gevent_has_patched_is_refused_in_one_line(
    shop: Path, green: None, kqworker: Run, command: str
) -> None:
    (shop / "app.py").write_text(PATCHING + APP)
    (shop / "kq.yaml").write_text("Name: a\nBrokers: [127.0.0.1:9]\nGroup: a\nTopic: t\n")
    arguments = ["-f", "kq.yaml", "app:on_test"] if command == "kq" else ["app:app"]

    ended = kqworker(command, *arguments)

    assert ended.code == 2
    assert ended.err == (
        "error: gevent has patched Python (_thread.start_new_thread) when 'app' was imported, and "
        f"kqworker's supervisor would hang: call {REMEDY}"
    )


def test_so_is_a_program_that_gevent_has_patched(here: Path, green: None) -> None:
    (here / "main.py").write_text(PATCHING + QUEUE.replace("set_up()\n", ""))
    ended = processes.run([sys.executable, "main.py", "127.0.0.1:9"])

    assert ended.code == 2
    assert ended.err.endswith(REMEDY) and "in this program" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_start_hook_that_patches_the_supervisor_is_refused(
    shop: Path, green: None, broker: DevBroker, kqworker: Run
) -> None:
    create_topics(broker.address, ["test"])
    (shop / "app.py").write_text(
        f"{APP}\n@app.on_start\ndef patch() -> None:\n"
        "    from gevent import monkey\n    monkey.patch_all()\n"
    )

    ended = kqworker("run", "app:app", "-w", "1")

    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        "error: gevent has patched Python (_thread.start_new_thread) by @app.on_start (app.py:9), "
        f"and kqworker's supervisor would hang: call {REMEDY}".rstrip()
    )


def test_a_worker_may_be_patched_as_it_starts(
    shop: Path, green: None, broker: DevBroker, kqworker: Run
) -> None:
    (shop / "app.py").write_text(
        f"{APP}\n@app.on_worker_start\ndef patch() -> None:\n"
        "    from gevent import monkey\n    monkey.patch_all()\n"
    )
    kqworker("push", "test", stdin="a\nb\n")

    ended = kqworker("run", "app:app", "-w", "1", "--until-caught-up")

    assert ended.code == 0, ended.err
    assert "2 handled · 0 failed" in ended.err


def test_it_may_be_patched_by_the_real_one(shop: Path, broker: DevBroker, kqworker: Run) -> None:
    (shop / "app.py").write_text(
        APP.replace("None: ...", "None:\n    import time\n    time.sleep(0.01)")
        + "\n@app.on_worker_start\ndef patch() -> None:\n    from gevent import monkey\n"
        "    monkey.patch_all()\n"
    )
    kqworker("push", "test", stdin="a\nb\nc\n")

    ended = kqworker("run", "app:app", "-w", "2", "--until-caught-up", PYTHONWARNINGS="default")

    assert ended.code == 0, ended.err
    assert "3 handled · 0 failed" in ended.err
    (shop / "app.py").write_text(PATCHING + APP)
    ended = kqworker("run", "app:app", PYTHONWARNINGS="default")
    assert ended.code == 2 and ended.err.endswith(REMEDY), ended.err


# -- what there can be but one of

METRICS = """
import os, socket
from kqworker import App
app = App("shop")

def serve() -> None:
    global server
    server = socket.create_server(("127.0.0.1", PORT))
    with open("served", "a") as file:
        file.write(f"{os.getpid()}\\n")
WHERE

@app.handler(topic="test")
def on_test(text: str) -> None:
    print(os.getpid())
"""


@pytest.fixture
def port() -> int:
    """A port that nobody has, and that nobody is given who asks for any."""
    return free_ports(1)[0]


def metrics(here: Path, port: int, where: str) -> None:
    (here / "app.py").write_text(METRICS.replace("PORT", str(port)).replace("WHERE", where))


def test_a_start_hook_runs_once_in_the_supervisor(
    here: Path, broker: DevBroker, kqworker: Run, port: int
) -> None:
    metrics(here, port, "app.on_start(serve)")
    kqworker("push", "test", stdin="a\nb\nc\n")

    ended = kqworker("run", "app:app", "-w", "2", "--until-caught-up")

    assert ended.code == 0, ended.err
    (pid,) = (here / "served").read_text().split()
    assert f"· pid {pid} ·" in ended.err
    assert pid not in ended.out.split()


def test_a_port_that_another_has_is_told_with_the_hook(
    here: Path, broker: DevBroker, kqworker: Run, port: int
) -> None:
    metrics(here, port, "app.on_start(serve)")
    create_topics(broker.address, ["test"])
    with socket.create_server(("127.0.0.1", port)):
        ended = kqworker("run", "app:app", "-w", "1")

    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: app.py:6: @app.on_start: [Errno 98] Address already in use")
    assert last.endswith("another program has the port, or another run of this one")


@pytest.mark.parametrize("taken", [False, True])
def test_a_port_that_each_process_opens_is_told_with_the_place_for_it(
    here: Path, broker: DevBroker, kqworker: Run, port: int, taken: bool
) -> None:
    metrics(here, port, "app.on_worker_start(serve)" if taken else "serve()")
    create_topics(broker.address, ["test"])

    with socket.create_server(("127.0.0.1", port)) if taken else contextlib.nullcontext():
        ended = kqworker("run", "app:app", "-w", "2")

    assert ended.code == 2
    assert ended.err.count("error:") == 1
    assert "Address already in use" in ended.err
    assert "open it in a function under @app.on_start, which runs once" in ended.err


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("KeyError('no such model')", "KeyError: 'no such model'"),
        ("SystemExit(0)", "SystemExit: 0"),  # which is no end that went well
    ],
)
def test_a_start_hook_that_fails_ends_the_run_with_2(
    here: Path, broker: DevBroker, kqworker: Run, raised: str, said: str
) -> None:
    metrics(here, 0, f"@app.on_start\ndef fail() -> None:\n    raise {raised}")
    create_topics(broker.address, ["test"])

    ended = kqworker("run", "app:app", "-w", "1")

    assert ended.code == 2
    told = ended.err[ended.err.index("error:") :].splitlines()
    assert told[0] == "error: app.py:11: @app.on_start failed:"
    assert told[-1].strip() == said
    assert "preflight.py" not in ended.err


# -- what an import starts, and what it ends

STARTING = """
import atexit, subprocess
child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, STREAMS)
atexit.register(child.wait)
atexit.register(child.kill)
with open("started", "a") as file:
    file.write(f"{child.pid}\\n")
"""


@pytest.mark.parametrize("told", [False, True])
def test_what_an_import_starts_ends_with_the_run(
    shop: Path, broker: DevBroker, kqworker: Run, told: bool
) -> None:
    streams = "stdout=subprocess.PIPE" if told else "stdout=subprocess.DEVNULL"
    (shop / "app.py").write_text(STARTING.replace("STREAMS", streams) + APP)
    kqworker("push", "test", stdin="a\nb\n")

    ended = kqworker("run", "app:app", "-w", "2", "--until-caught-up")

    assert ended.code == 0, ended.err
    assert ("has left what forked workers would hang on or share" in ended.err) is told
    started = [int(pid) for pid in (shop / "started").read_text().split()]
    assert len(started) >= 2  # the supervisor's, and the forkserver's or the workers'
    left = [process for process in psutil.process_iter() if process.pid in started]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def test_an_app_may_close_the_standard_streams(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    (shop / "app.py").write_text(f"import sys\nsys.stdout.close()\n{APP}")
    kqworker("push", "test", stdin="a\nb\n")

    ended = kqworker("run", "app:app", "-w", "1", "--until-caught-up")

    assert ended.code == 0, ended.err
    assert ended.err.splitlines()[-1].find("2 handled · 0 failed") > 0
