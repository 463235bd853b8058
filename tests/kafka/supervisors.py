"""`kqworker run` as a real process: how a run is started, and what its workers have done.

How it is followed, signalled and reaped, tests/processes.py says. Its processes are all that have
its mark, whoever their parent has become.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.journal import APP, Reader
from tests.processes import ROOT, Process, may_be_gone, without_settings
from tests.waiting import PATIENCE

PROGRAM = Path(sys.executable).with_name("kqworker")
# Runs the figures of the long run, which take hours.
LONG = os.environ.get("KQWORKER_LONG") == "1"
# For a module's heavy tests: these machines may be busy, and the long run is long.
HEAVY = pytest.mark.timeout(0 if LONG else 300)


def forkservers(process: Process) -> list[psutil.Process]:
    """Return the processes that its workers are forked from; empty while there is none."""
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []
    found = []
    for child in children:
        with may_be_gone():
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                found.append(child)
    return found


class Supervisor(Process):
    """One run of `kqworker run`.

    Args:
        cluster: Where the messages are.
        options: Of the command, after those for brokers and group.
        group: The consumer group.
        folder: Its current directory, in which there is no kqworker.yaml.
        journal: Where its workers write; as handlers.py has it.
        policy: What `@app.handler` takes, with `retry` as a mapping; needs `topic`.
        app: `module:attribute`, of an app that reads its settings as handlers.py does.
        environment: More variables.

    Attributes:
        reader: Follows the journal.
        peak_memory: Bytes that it has had resident at most, as far as anybody looked.
    """

    def __init__(
        self,
        cluster: Cluster,
        *options: str,
        group: str,
        folder: Path,
        journal: Path,
        policy: Mapping[str, Any],
        app: str = "tests.kafka.handlers:app",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        journal.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = journal
        self.reader = Reader(journal)
        self.peak_memory = 0
        command = [str(PROGRAM), "run", app, "--app-dir", str(ROOT), "--group", group]
        command += ["--brokers", cluster.bootstrap]
        for name, value in cluster.client.items():
            if name != "bootstrap.servers":
                command += ["-X", f"{name}={value}"]
        told = {APP: json.dumps({**policy, "journal": str(journal)}), **(environment or {})}
        super().__init__([*command, *options], folder=folder, environment=without_settings(**told))

    def events(self, name: str) -> list[str]:
        """The lines of one event, as far as they are written to their ends."""
        return [line for line in self.lines if f" event={name} " in f"{line} "]

    def field(self, event: str, name: str) -> str:
        """A field of the last line of an event."""
        (*_, line) = self.events(event)
        found = re.search(rf"\b{name}=(\S+)", line)
        assert found is not None, f"no {name} in {line}"
        return found[1]

    def ready(self, timeout: float = PATIENCE) -> Supervisor:
        """Return when its workers are up and it has joined the group."""
        self.says(lambda: self.events("ready"), "ready", timeout)
        return self

    def handled(self, count: int, timeout: float = PATIENCE) -> Supervisor:
        """Return when so many handlers have come to an end, as its journal has it."""
        self.until(lambda: self.reader.follow().ended >= count, f"{count} handled", timeout=timeout)
        return self

    def begun(self, count: int, timeout: float = PATIENCE) -> Supervisor:
        """Return when so many handlers have begun, as its journal has it."""
        self.until(lambda: self.reader.follow().begun >= count, f"{count} begun", timeout=timeout)
        return self

    def look_at_memory(self) -> int:
        """Return the bytes that the supervisor has resident now, or had at most."""
        with may_be_gone():
            self.peak_memory = max(self.peak_memory, psutil.Process(self.pid).memory_info().rss)
        return self.peak_memory

    def forkserver(self) -> psutil.Process:
        """The process that workers are forked from."""
        (found,) = forkservers(self)
        return found

    def workers(self) -> list[psutil.Process]:
        """The workers that run now; empty while there is no forkserver."""
        try:
            return self.forkserver().children()
        except (ValueError, psutil.NoSuchProcess):
            return []


class Supervise:
    """Starts the supervisors of one test, and sees to their end; the fixture `supervise`.

    Args:
        folder: For output and journals, the test's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Supervisor] = []
        self.group = f"g-{uuid.uuid4().hex[:12]}"

    @property
    def journal(self) -> Path:
        """The folder with the journals of all."""
        return self._folder / "journal"

    def __call__(
        self,
        cluster: Cluster,
        topic: str,
        *options: str,
        group: str | None = None,
        app: str = "tests.kafka.handlers:app",
        environment: Mapping[str, str] | None = None,
        **policy: Any,
    ) -> Supervisor:
        """Start one: two workers, the test's group, and a journal of its own."""
        number = len(self._started)
        supervisor = Supervisor(
            cluster,
            *("--workers", "2", *options),
            group=group or self.group,
            folder=self._folder,
            journal=self.journal / str(number),
            policy={"topic": topic, **policy},
            app=app,
            environment=environment,
        )
        self._started.append(supervisor)
        return supervisor

    def close(self) -> None:
        """End what is left of all."""
        with ExitStack() as ends:
            for supervisor in self._started:
                ends.callback(supervisor.close)
