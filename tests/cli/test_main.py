"""Exit codes and error texts of the command itself, and what it does not load."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kqworker.cli import Program, program
from kqworker.errors import BrokerError, BugError, ConfigError, HandlerError, WorkerLost
from kqworker.exits import Exit, exit_of
from tests.cli.conftest import Run

HEAVY = {"confluent_kafka", "rich", "yaml", "msgspec", "psutil", "cloudpickle", "multiprocessing"}


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, which has the command's arguments."""
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from kqworker.cli import main\n"
        "try:\n    main()\n"
        f"except SystemExit:\n    sys.exit(repr({HEAVY!r} & set(sys.modules)))"
    )
    done = python(code, "run", "--help")

    assert done.stderr == "set()\n"
    assert "--workers" in done.stdout


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_change_no_exit_code_and_are_nobody_elses(closed: str) -> None:
    code = (
        "import os, sys\n"
        "from kqworker.cli import main\n"
        "sys.argv[1:] = ['rnu']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    os._exit(end.code if os.pipe()[0] > 2 else 100)"
    )
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-P", "-c", code]

    assert subprocess.run(command, timeout=60).returncode == 2


@pytest.mark.parametrize(
    "late",
    [
        "atexit.register(signal.raise_signal, signal.SIGINT)",
        # When Python has given its handlers up.
        "type('Late', (), {'__del__': lambda _, end=signal.raise_signal: end(2)})",
    ],
)
def test_ctrl_c_while_python_ends_changes_no_exit_code(late: str) -> None:
    code = (
        "import atexit, signal, sys\n"
        "from kqworker.cli import main\n"
        f"late = {late}\n"
        "late = late() if isinstance(late, type) else None\n"
        "sys.argv[1:] = ['rnu']\n"
        "main()\n"
    )
    done = python(code)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("given_up", [True, False])
def test_a_thread_that_was_given_up_does_not_come_back_into_a_python_that_is_gone(
    given_up: bool,
) -> None:
    # Python waits for one that is no daemon, before it ends anything.
    code = (
        "import atexit, sys, threading\n"
        "from kqworker import cli\n"
        "class Late:\n"
        "    def __del__(self, write=print): write('python has ended')\n"
        "late = Late()\n"
        "go_on = threading.Event()\n"
        f"threading.Thread(target=go_on.wait, args=(20,), daemon={given_up}).start()\n"
        f"if not {given_up}: go_on.set()\n"
        "def end():\n"
        "    atexit.register(print, 'last words')\n"
        "    sys.exit(6)\n"
        "cli.program.main = end\n"
        "cli.main()\n"
    )
    done = python(code)

    said = "last words\n" if given_up else "last words\npython has ended\n"
    assert (done.returncode, done.stdout) == (6, said), done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_what_is_still_delivered_as_python_ends_is_told_when_it_is_cut_off(number: str) -> None:
    code = (
        "import signal, sys\n"
        "from kqworker import cli\n"
        "from kqworker.app import process_exit\n"
        "class Owing:\n"
        "    def begin_end(self, timeout): pass\n"
        "    def end(self, timeout):\n"
        f"        if timeout: signal.raise_signal(signal.{number})\n"
        "        print('not delivered' if not timeout else 'it goes on', flush=True)\n"
        "cli.program.main = lambda: sys.exit(process_exit.at_exit(Owing()) or 6)\n"
        "cli.main()\n"
    )
    done = python(code)

    assert (done.returncode, done.stdout) == (6, "not delivered\n"), done.stderr


def test_the_version_is_said(kqworker: Run) -> None:
    ended = kqworker("--version")

    assert (ended.code, ended.out) == (0, "kqworker 0.1.0\n")


def ended(command: Program, args: list[str]) -> int:
    """Run a command here, and return its exit code."""
    with pytest.raises(SystemExit) as left:
        command.main(args, "kqworker")
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(
    ("args", "named", "command"),
    [
        ([], "", "kqworker"),
        (["rnu"], "'rnu'", "kqworker"),
        (["run"], "'APP'", "kqworker run"),
        (["run", "--wrokers", "3", "app:app"], "--wrokers", "kqworker run"),
        (["run", "app:app", "more"], "(more)", "kqworker run"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str], named: str, command: str
) -> None:
    assert ended(program, args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    # Why, in click's words, which are begun as ours are, and how to see what is right.
    why, remedy = said.err.splitlines()
    assert re.match(r"error: [a-z]", why) and not why.endswith(".") and named in why
    assert remedy == f"       try: {command} --help"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), Exit.USAGE),
        (BrokerError("x"), Exit.BROKER),
        (WorkerLost("x"), Exit.CRASH_LOOP),
        (BugError("x"), Exit.CRASH),
        (HandlerError("x"), Exit.CRASH),
        (click.ClickException("x"), Exit.USAGE),
        (click.Abort(), Exit.ABANDONED),
        (KeyboardInterrupt(), Exit.ABANDONED),
    ],
)
def test_every_error_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: Exit
) -> None:
    @click.group(cls=Program)
    def group() -> None:
        pass

    @group.command()
    def fails() -> None:
        raise error

    assert ended(group, ["fails"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        assert said.err.strip() == ""
    elif isinstance(error, BugError):
        # Whoever reports it needs to say where it was.
        assert said.err.startswith("Traceback (most recent call last):\n")
        assert said.err.endswith("BugError: x\nerror: x\n")
    else:
        assert said.err == "error: x\n"


def test_a_command_returns_its_exit_code() -> None:
    @click.group(cls=Program)
    def group() -> None:
        pass

    @group.command()
    def done() -> Exit:
        return Exit.MESSAGES_FAILED

    assert CliRunner().invoke(group, ["done"]).exit_code == 6


def test_errors_keep_their_code_through_pickling() -> None:
    error = pickle.loads(pickle.dumps(BrokerError("x", retriable=True)))

    assert exit_of(error) is Exit.BROKER


def test_the_codes_are_those_of_the_documentation() -> None:
    assert {exit.name: int(exit) for exit in Exit} == {
        "CLEAN": 0,
        "CRASH": 1,
        "USAGE": 2,
        "BROKER": 3,
        "ABANDONED": 4,
        "CRASH_LOOP": 5,
        "MESSAGES_FAILED": 6,
    }


@pytest.mark.parametrize("command", sorted(program.commands))
def test_every_command_has_help_that_fits(command: str) -> None:
    result = CliRunner().invoke(program, [command, "--help"])
    listed = CliRunner().invoke(program, ["--help"]).stdout

    assert result.exit_code == 0
    assert "..." not in listed.replace("[ARGS]...", "")
