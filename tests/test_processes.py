"""What runs a command in the tests reads all of it, waits as long as it says, and leaves nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests import processes
from tests.processes import MARK, Process, launched, run
from tests.waiting import ended

# Leaves a child behind that is in a session of its own, and says its number.
ORPHAN = """
import subprocess, sys
child = subprocess.Popen(["sleep", "60"], start_new_session=True, **eval(sys.argv[1]))
print(child.pid, flush=True)
"""
CLOSED = "dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.DEVNULL)"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_it_is_told_and_read_line_by_line() -> None:
    with Process(["cat"], stdin=subprocess.PIPE) as cat:
        cat.feed("one\ntw")
        assert cat.line() == "one"
        assert cat.lines == ["one"]
        cat.feed("o\n", end=True)
        assert cat.line() == "two"
        assert cat.wait() == 0
        assert cat.out == cat.err == "one\ntwo\n"


def test_all_is_read_of_a_command_that_nobody_waits_for() -> None:
    size = 1_000_000  # more than a pipe takes
    code = f"print('x' * {size}, flush=True); open('/dev/stderr', 'w').write('end')"
    with Process(python(code)) as process:
        process.wait_for("end")
        assert process.wait() == 0
        assert process.out == "x" * size + "\nend"


def test_what_is_written_by_now_is_there_whatever_the_thread_has_read(tmp_path: Path) -> None:
    code = "import sys\nfor n in map(int, sys.stdin):\n  print(n, flush=True)\n  open(str(n), 'w')"
    with Process(python(code), stdin=subprocess.PIPE, folder=tmp_path) as process:
        for number in range(50):
            process.feed(f"{number}\n")
            process.until((tmp_path / str(number)).exists, "it has written")
            assert process.lines[-1:] == [str(number)]


def test_standard_error_is_apart_where_that_is_asked_for() -> None:
    with Process(["sh", "-c", "echo out; echo err >&2; exit 3"], apart=True) as process:
        assert process.wait() == 3
        assert (process.out, process.err) == ("out\n", "err\n")
        assert str(process).endswith("\nout\n\n--- its standard error\nerr\n")


@pytest.mark.parametrize(("apart", "streams"), [(True, "2"), (False, "0 1 2")])
def test_it_may_write_to_a_terminal(apart: bool, streams: str) -> None:
    code = "import os; os.write(2, ' '.join(str(n) for n in range(3) if os.isatty(n)).encode())"
    with Process(python(code), apart=apart, terminal=True) as process:
        assert process.wait() == 0
        assert process.err == streams


def test_a_terminal_that_hangs_up_is_gone_for_all_of_the_job() -> None:
    code = """
import os, signal, time
def gone(*_):
    try:
        os.write(2, b"anybody?")
    except OSError:
        os.write(1, b"nobody\\n")
signal.signal(signal.SIGHUP, gone)
os.write(2, b"ready")
while True:
    time.sleep(60)
"""
    with Process(python(code), apart=True, terminal=True) as process:
        process.wait_for("ready")
        process.hang_up()
        assert process.line() == "nobody"
        assert process.err == "ready"


def test_a_job_is_interrupted_as_a_whole() -> None:
    # A shell that waits for its child; both hear of it.
    with Process(["sh", "-c", "trap 'echo shell' INT; sleep 60; echo over"]) as process:
        process.until(lambda: len(process.tree()) == 2, "its child")
        process.interrupt()
        assert process.wait() == 0
        assert process.lines == ["shell", "over"]


@pytest.mark.parametrize("ignored", ["SIGHUP", "SIGPIPE"])
def test_no_signal_is_ignored_because_ours_are(ignored: str) -> None:
    number = getattr(signal, ignored)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Process(["sh", "-c", f"kill -{number.value} $$; echo ignored"]) as process:
            assert (process.wait(), process.out) == (-number, "")
    finally:
        signal.signal(number, before)


# -- deadlines


@pytest.mark.parametrize(
    ("wait", "what"),
    [
        (lambda p: p.line(0.1), "another line"),
        (lambda p: p.wait_for("never", 0.1), "'never'"),
        (lambda p: p.until(lambda: False, "this or that", 0.1), "this or that"),
        (lambda p: p.wait(0.1), "its end"),
        (lambda p: p.feed("x" * 1_000_000, timeout=0.1), "it reads"),
    ],
    ids=["line", "wait_for", "until", "wait", "feed"],
)
def test_each_wait_has_an_end_and_says_what_was_written(wait: object, what: str) -> None:
    command = ["sh", "-c", "echo said | tr -d '\\n'; sleep 60"]
    with Process(command, stdin=subprocess.PIPE) as process:
        process.wait_for("said")
        with pytest.raises(AssertionError) as failed:
            wait(process)  # type: ignore[operator]

    assert str(failed.value).startswith(f"after 0.1 s not yet: {what}\n--- sh -c ")
    assert str(failed.value).endswith("\nsaid")


@pytest.mark.parametrize(
    ("wait", "what"),
    [
        (lambda p: p.line(), "another line"),
        (lambda p: p.wait_for("never"), "'never'"),
        (lambda p: p.until(lambda: False, "this or that"), "this or that"),
    ],
    ids=["line", "wait_for", "until"],
)
def test_nothing_is_waited_for_after_the_end(wait: object, what: str) -> None:
    with (
        Process(["sh", "-c", "printf said; exit 3"]) as process,
        pytest.raises(AssertionError) as failed,
    ):
        wait(process)  # type: ignore[operator]

    assert str(failed.value).startswith(f"ended by 3 before {what}\n--- sh -c ")
    assert str(failed.value).endswith("\nsaid")


def test_what_it_did_before_its_end_counts(tmp_path: Path) -> None:
    with Process(["sh", "-c", "echo said; touch done"], folder=tmp_path) as process:
        assert process.wait() == 0
        process.until((tmp_path / "done").exists, "it is done")
        assert process.wait_for("said") == "said\n"
        assert process.line() == "said"


def test_its_end_is_not_hidden_by_a_child_that_has_its_output_open() -> None:
    for terminal in (False, True):
        with Process(python(ORPHAN, "{}"), terminal=terminal) as process:
            assert process.wait() == 0
            assert psutil.pid_exists(int(process.line()))


# -- nobody is left


def test_all_that_it_started_ends_with_it_whatever_the_test_did() -> None:
    with pytest.raises(ZeroDivisionError), Process(python(ORPHAN, CLOSED)) as process:
        orphan = psutil.Process(int(process.line()))
        assert process.wait() == 0
        assert process.tree() == [orphan]
        raise ZeroDivisionError

    assert ended([orphan], 0.0)
    assert process.tree() == []
    assert process.out == f"{orphan.pid}\n"
    assert f"reader of {process.pid}" not in [thread.name for thread in threading.enumerate()]
    process.close()


def test_a_stopped_one_ends_too() -> None:
    with Process(["cat"], stdin=subprocess.PIPE) as cat:
        os.kill(cat.pid, signal.SIGSTOP)

    assert cat.process.returncode == -signal.SIGKILL


def test_it_ends_with_the_process_that_started_it() -> None:
    code = "import sys; from tests.processes import Process; p = Process(['sleep', '60'])"
    code += "\nprint(p.pid, flush=True); sys.stdin.read()"
    with Process(python(code), folder=processes.ROOT, stdin=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.line()))
        parent.kill()
        assert ended([child], 5.0)


def test_the_launcher_does_not_start_what_nobody_would_end() -> None:
    command = launched("true")
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "the parent has gone\n")


# -- a command that runs to its end


def test_a_command_runs_to_its_end(tmp_path: Path) -> None:
    told = run(
        ["sh", "-c", "cat; pwd >&2; echo $MORE; exit 5"],
        stdin="in\n",
        folder=tmp_path,
        environment={**os.environ, "MORE": "more"},
    )

    assert (told.code, told.out, told.err) == (5, "in\nmore\n", f"{tmp_path}\n")


def test_what_it_does_not_read_is_no_failure() -> None:
    assert run(["true"], stdin="x" * 1_000_000).code == 0


def test_a_command_that_takes_too_long_is_ended_and_said() -> None:
    before = time.monotonic()
    with pytest.raises(AssertionError, match=r"after \S+ s not yet: its end\n--- sh -c"):
        run(["sh", "-c", "echo said; sleep 60"], timeout=0.1)
    assert time.monotonic() - before < 30.0


def test_a_command_that_leaves_somebody_behind_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="still there:"):
        run(python(ORPHAN, CLOSED))


def test_settings_of_ours_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KQWORKER_GROUP", "mine")

    told = processes.without_settings(KQWORKER_BROKERS="theirs")

    assert "KQWORKER_GROUP" not in told
    assert (told["KQWORKER_BROKERS"], told["PATH"]) == ("theirs", os.environ["PATH"])
    assert MARK not in told
