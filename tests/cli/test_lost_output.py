"""A run whose standard output or error is read no more, or is on a full disk."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from kqworker.kafka.devbroker import DevBroker
from tests import processes
from tests.cli.conftest import KQWORKER, Run
from tests.processes import Process

RUN = [*KQWORKER, "run", "app:app"]
PRINTING = """\
from kqworker import App, Retry
app = App("shop")

@app.handler(topic="test", retry=Retry(attempts=1), dead_letter="dead")
def on_test(text: str) -> None:
    # More than a pipe takes: not all is printed before the reader goes.
    print(text.ljust(1000) + "\\n", end="", flush=True)  # whole, beside another worker's
    with open("handled", "a") as file:
        file.write(text + "\\n")

@app.on_worker_stop
def stop() -> None:
    print("the end", flush=True)
"""


@contextmanager
def reading(*command: str) -> Iterator[tuple[Process, IO[bytes]]]:
    """Run a command, and give it with the one end of its output: only the test reads it."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as out:
        try:
            process = Process(command, apart=True, stdout=write)
        finally:
            os.close(write)
        with process:
            yield process, out


def first_line(process: Process, out: IO[bytes]) -> str:
    """Return the first line of a command's output, which is for the test to read."""
    process.until(lambda: select.select([out], [], [], 0)[0], "a line")
    return out.readline().decode().strip()


def test_a_run_whose_output_is_read_no_more_drains_and_leaves_the_rest_to_the_next(
    here: Path, broker: DevBroker, kqworker: Run
) -> None:
    (here / "app.py").write_text(PRINTING)
    texts = [str(number) for number in range(500)]
    kqworker("push", "test", stdin="\n".join(texts))

    with reading(*RUN, "-w", "2") as (run, out):
        # As `| head -1`.
        assert first_line(run, out) in texts
        out.close()
        run.wait_for("0 failed")
        assert run.wait(20) == 0

    assert run.err.count("nobody reads standard output any more: draining") == 1
    assert "WARNING" not in run.err and "ERROR" not in run.err and "Traceback" not in run.err
    first = (here / "handled").read_text().split()
    assert len(first) < len(texts)

    ended = kqworker("run", "app:app", "-w", "2", "--until-caught-up")

    assert ended.code == 0, ended.err  # 6, had a message failed
    assert f"{500 - len(first)} handled · 0 failed" in ended.err
    both = (here / "handled").read_text().split()
    assert sorted(both) == sorted(texts)


def test_a_caught_up_run_whose_output_is_read_no_more_has_not_finished(
    here: Path, broker: DevBroker, kqworker: Run
) -> None:
    # Nothing is printed before its reader has gone.
    app = PRINTING.replace("    print(text", "    open('go').close()\n    print(text")
    os.mkfifo(here / "go")
    (here / "app.py").write_text(app)
    kqworker("push", "test", stdin="\n".join("abc"))

    with reading(*RUN, "-w", "1", "--until-caught-up") as (run, out):
        out.close()
        with (here / "go").open("w"):
            pass
        run.wait_for("3 messages were not started")
        assert run.wait(20) == 4


QUEUE = """\
import sys
from pathlib import Path
from kqworker import kq

conf = kq.KqConf(
    name="shop", brokers=(sys.argv[1],), group="shop", topic="test", offset="first", processors=2,
    kqworker={"dead_letter": "dead", "until_caught_up": len(sys.argv) > 2},
)

def consume(key: str, value: str) -> None:
    print(value.ljust(1000))
    with open("handled", "a") as file:
        file.write(value + "\\n")

def told(*_: object) -> None:
    Path("told").touch()

kq.must_new_queue(conf, consume, kq.with_error_handler(told)).start()
"""


def test_a_queue_whose_output_is_read_no_more_gives_up_no_message(
    here: Path, broker: DevBroker, kqworker: Run
) -> None:
    (here / "main.py").write_text(QUEUE)
    texts = [str(number) for number in range(500)]
    kqworker("push", "test", stdin="\n".join(texts))
    command = [sys.executable, "main.py", broker.address]

    with reading(*command) as (queue, out):
        assert first_line(queue, out) in texts
        out.close()
        assert queue.wait(20) == 0, queue

    assert queue.err.count("nobody reads standard output any more: draining") == 1
    ended = processes.run([*command, "caught up"])
    assert ended.code == 0, ended.err
    assert sorted((here / "handled").read_text().split()) == sorted(texts)
    assert not (here / "told").exists()


def on_full_disk(command: list[str], stream: str) -> tuple[int, str]:
    """Run a command with one of its streams on a full disk; return its code and the other."""
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, **{stream: full, other: subprocess.PIPE}, timeout=60)
    return done.returncode, str(done.stderr or done.stdout or b"", "utf-8")


@pytest.fixture(params=["", "1"])
def unbuffered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps in a buffer what a full disk has not taken, or keeps nothing."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_run_whose_output_is_on_a_full_disk_drains_and_fails_no_message(
    here: Path, broker: DevBroker, kqworker: Run, unbuffered: None, stream: str
) -> None:
    app = PRINTING.replace("flush=True", f"flush=True, file=sys.{stream}")
    (here / "app.py").write_text(f"import sys\n{app}")
    texts = [str(number) for number in range(400)]
    kqworker("push", "test", stdin="\n".join(texts))

    code, said = on_full_disk([*RUN, "-w", "2"], stream)

    assert code == 0, said
    if stream == "stdout":
        why = "standard output cannot be written: No space left on device"
        assert said.count(f"{why}: draining") == 1
        assert "0 failed" in said and "message failed" not in said
    first = (here / "handled").read_text().split() if (here / "handled").exists() else []
    assert len(first) < len(texts)
    ended = kqworker("run", "app:app", "-w", "2", "--until-caught-up")
    assert ended.code == 0, ended.err
    assert sorted((here / "handled").read_text().split()) == sorted(texts)
    assert "attempt=" not in ended.err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_so_does_a_queue_on_a_full_disk(
    here: Path, broker: DevBroker, kqworker: Run, unbuffered: None, stream: str
) -> None:
    printing = f"print(value.ljust(1000), file=sys.{stream})"
    (here / "main.py").write_text(QUEUE.replace("print(value.ljust(1000))", printing))
    texts = [str(number) for number in range(400)]
    kqworker("push", "test", stdin="\n".join(texts))
    command = [sys.executable, "main.py", broker.address]

    code, said = on_full_disk(command, stream)

    assert code == 0, said
    if stream == "stdout":
        why = "standard output cannot be written: No space left on device"
        assert said.count(f"{why}: draining") == 1
        assert "0 failed" in said and "message failed" not in said
    ended = processes.run([*command, "caught up"])
    assert ended.code == 0, ended.err
    assert sorted((here / "handled").read_text().split()) == sorted(texts)
    assert not (here / "told").exists()


PRINTING_AT_IMPORT = """\
from kqworker import App
app = App("shop")
print("imported")

@app.handler(topic="test")
def on_test(text: str) -> None: ...
"""


@pytest.mark.parametrize("read_no_more", [False, True])
def test_what_an_import_has_printed_in_vain_keeps_no_worker_from_starting(
    here: Path,
    broker: DevBroker,
    kqworker: Run,
    monkeypatch: pytest.MonkeyPatch,
    read_no_more: bool,
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "")  # it is in a buffer when workers start
    (here / "app.py").write_text(PRINTING_AT_IMPORT)
    kqworker("push", "test", stdin="\n".join("abc"))
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")

    with pipe, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*RUN, "-w", "2", "--until-caught-up"],
            stdout=pipe if read_no_more else full,
            stderr=subprocess.PIPE,
            timeout=60,
            text=True,
        )

    assert done.returncode == 0, done.stderr
    assert "3 handled · 0 failed" in done.stderr and "worker died" not in done.stderr
    told = "error: standard output cannot be written: No space left on device\n"
    assert done.stderr.endswith(told) is not read_no_more


def test_a_program_that_cannot_say_what_is_wrong_ends_with_the_code_for_it(
    here: Path, unbuffered: None
) -> None:
    program = (
        "from kqworker import kq; conf = kq.KqConf(name='shop', brokers=('none:1',), group='shop', "
        "topic='test', ca_file='none.pem'); kq.must_new_queue(conf, print)"
    )
    assert on_full_disk([sys.executable, "-c", program], "stderr") == (2, "")


WRITING = [["--help"], ["run", "--help"], ["config", "app:app"], ["handlers", "app:app"]]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [*WRITING, ["check", "app:app"], ["init", "new"]])
def test_a_command_that_cannot_write_its_result_says_so_in_one_line(
    app: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)

    assert on_full_disk([*KQWORKER, *args], "stdout") == (
        4,
        "error: standard output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("args", WRITING)
def test_a_command_of_which_nobody_reads_the_result_ends_quietly(
    app: Path, args: list[str]
) -> None:
    with reading(*KQWORKER, *args) as (command, out):
        out.close()
        assert command.wait() == 4
        assert command.err == ""


def test_a_push_that_cannot_say_so_has_pushed(here: Path, broker: DevBroker) -> None:
    code, said = on_full_disk([*KQWORKER, "push", "test", "text"], "stdout")

    # Whoever pushed again after a code that is not 0 would push it twice.
    assert code == 0, said
    assert "pushed 1 message to test" in said and "Traceback" not in said
