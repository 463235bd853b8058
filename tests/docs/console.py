"""Runs the commands of a page, and holds what the page shows against what they say.

A comment before a block of the page says what to do with it:

    <!-- write FILE -->  the block is the file's content
    <!-- run -->         each `$ command` runs to its end; what stands below it is what it says;
                         `<!-- run 6 -->` expects that exit code
    <!-- start -->       the command goes on running, in a terminal of its own
    <!-- shows -->       what the running command has said by then
    <!-- stop -->        Ctrl-C at the running command, which then ends well and has said this

Every line of a block must be said; colours, spaces and numbers may differ, but for counts of
messages, and a line "…" stands for any. Commands run on a terminal, with what is installed
beside this Python.
Tested by tests/docs/test_console.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Process

SECONDS = 90.0
ANY = "…"
# But for what is counted: a page that shows another count is wrong.
NUMBER = re.compile(r"(?<!attempt=)\d[\d.,]*+(?! (?:handled|failed|retried|messages? to|passed)\b)")


@dataclass(frozen=True)
class Step:
    """A block of a page, and what to do with it."""

    verb: str
    argument: str
    block: str


def steps_of(page: str) -> Iterator[Step]:
    """Yield the marked blocks of a page."""
    pattern = r"^<!-- (write|run|start|shows|stop)(?: (\S+))? -->\n```\w*\n(.*?)^```$"
    for verb, argument, block in re.findall(pattern, page, re.MULTILINE | re.DOTALL):
        yield Step(verb, argument, block)


def marks_of(page: str) -> int:
    """Return how many comments there are that should mark a block."""
    return len(re.findall(r"^<!-- \w+", page, re.MULTILINE))


def lines_of(said: str) -> list[str]:
    """Return lines as they are compared."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).replace("\r", "\n")
    lines = (" ".join(NUMBER.sub("0", line).split()) for line in plain.splitlines())
    return [line for line in lines if line]


def missing(shown: str, said: str) -> list[str]:
    """Return the lines that a page shows and nobody said."""
    found = set(lines_of(said))
    return [line for line in lines_of(shown) if line != ANY and line not in found]


class Terminal(Process):
    """A command on a terminal of its own, and all that it has written."""

    def __init__(self, command: str, directory: Path, environment: Mapping[str, str]) -> None:
        super().__init__(
            ["sh", "-c", command], folder=directory, environment=environment, terminal=True
        )
        self.shown = command


class Session:
    """A reader who does what a page says.

    Args:
        directory: Where he begins; a runtime directory is made in it.
        brokers: What stands for `localhost:9092`; None for the built-in broker, if one runs.
    """

    def __init__(self, directory: Path, brokers: str | None = None) -> None:
        self._directory = directory
        self._brokers = brokers
        self._running: Terminal | None = None
        self.transcript: list[str] = []
        runtime = directory / ".runtime"
        runtime.mkdir(mode=0o700)
        self._built_in = runtime / "kqworker" / "broker.json"
        beside = str(Path(sys.executable).parent)
        self.environment = {
            "PATH": f"{beside}:{os.environ['PATH']}",
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(runtime),
            "TERM": "xterm",
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.close()

    def follow(self, page: str) -> None:
        """Do everything that a page says."""
        steps = list(steps_of(page))
        assert steps and len(steps) == marks_of(page), "a comment without its block"
        for step in steps:
            getattr(self, f"_{step.verb}")(step)
        assert self._running is None, f"the page leaves {self._running.shown!r} running"

    def _write(self, step: Step) -> None:
        (self._directory / step.argument).write_text(step.block)

    def _run(self, step: Step) -> None:
        for command, shown in _commands(self._here(step.block)):
            words = shlex.split(command)
            if words[0] == "cd":
                self._directory /= words[1]
                continue
            with Terminal(command, self._directory, self.environment) as terminal:
                code = terminal.wait(SECONDS)
                self._hold(terminal, shown)
                assert code == int(step.argument or 0), terminal

    def _start(self, step: Step) -> None:
        assert self._running is None
        ((command, shown),) = _commands(self._here(step.block))
        # Without a shell in between, which Ctrl-C would end too, with a code of its own.
        self._running = Terminal(f"exec {command}", self._directory, self.environment)
        self._await(shown)

    def _shows(self, step: Step) -> None:
        self._await(self._here(step.block))

    def _stop(self, step: Step) -> None:
        terminal = self._running
        assert terminal is not None
        terminal.interrupt()
        code = terminal.wait(SECONDS)
        self._hold(terminal, self._here(step.block).replace("^C", ""))
        assert code == 0, terminal
        terminal.close()
        self._running = None

    def _here(self, text: str) -> str:
        brokers = self._brokers
        if brokers is None and self._built_in.exists():
            brokers = json.loads(self._built_in.read_text())["address"]
        return text.replace("localhost:9092", brokers or "localhost:9092")

    def _await(self, shown: str) -> None:
        terminal = self._running
        assert terminal is not None
        terminal.says(lambda: not missing(shown, terminal.out), f"it says {shown!r}", SECONDS)
        self._hold(terminal, shown)

    def _hold(self, terminal: Terminal, shown: str) -> None:
        self.transcript.append(f"$ {terminal.shown}\n{terminal.out}")
        left = missing(shown, terminal.out)
        assert not left, f"{terminal.shown!r} did not say {left}, but:\n{terminal.out}"


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each `$ command` of a block with the lines below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        while lines[0].endswith("\\"):
            lines[:2] = [lines[0][:-1] + lines[1].lstrip()]
        yield lines[0].partition("  #")[0], "\n".join(lines[1:])
