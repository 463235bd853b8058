"""`kqworker run` as a real process: started, followed, signalled, and always reaped.

Decides how a run is started and what counts as its processes: everything that has the
mark which the supervisor was given in its environment, whoever its parent has become.
Nothing of it outlives the process that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.journal import APP, Reader
from tests.processes import LAUNCHER, MARK, ROOT
from tests.waiting import PATIENCE, ended, until

PROGRAM = Path(sys.executable).with_name("kqworker")

# Runs the figures of the long run, which take hours.
LONG = os.environ.get("KQWORKER_LONG") == "1"
# For a module's heavy tests: these machines may be busy, and the long run is long.
HEAVY = pytest.mark.timeout(0 if LONG else 300)


class Supervisor:
    """One run of `kqworker run`.

    Args:
        cluster: Where the messages are.
        options: Of the command, after those for brokers and group.
        group: The consumer group.
        folder: For its output.
        journal: Where its workers write; as handlers.py has it.
        policy: What `@app.handler` takes, with `retry` as a mapping; needs `topic`.
        app: `module:attribute`, of an app that reads its settings as handlers.py does.
        environment: More variables.

    Attributes:
        pid: The supervisor's, and its process group's.
        began: When it was started, in seconds of `time.monotonic()`.
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
        self._mark = uuid.uuid4().hex
        self._output = folder / f"output-{self._mark[:8]}.txt"
        command = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(PROGRAM)]
        command += ["run", app, "--app-dir", str(ROOT), "--group", group]
        command += ["--brokers", cluster.bootstrap]
        for name, value in cluster.client.items():
            if name != "bootstrap.servers":
                command += ["-X", f"{name}={value}"]
        # Settings of whoever runs the tests are not ours.
        own = {name: text for name, text in os.environ.items() if not name.startswith("KQWORKER_")}
        told = json.dumps({**policy, "journal": str(journal)})
        own |= {APP: told, MARK: self._mark, **(environment or {})}
        self.began = time.monotonic()
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *options],
                # No kqworker.yaml is found here.
                cwd=folder,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A process group as a terminal's job has it, but not this terminal's.
                start_new_session=True,
            )
        self.pid = self.process.pid

    # -- what it says and does

    @property
    def output(self) -> str:
        """What it and its workers have written so far."""
        return self._output.read_text(errors="replace")

    def events(self, name: str) -> list[str]:
        """The lines of one event, as far as they are written to their ends."""
        lines = self.output.rpartition("\n")[0].splitlines()
        return [line for line in lines if f" event={name} " in f"{line} "]

    def field(self, event: str, name: str) -> str:
        """A field of the last line of an event."""
        (*_, line) = self.events(event)
        found = re.search(rf"\b{name}=(\S+)", line)
        assert found is not None, f"no {name} in {line}"
        return found[1]

    def until(self, true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Return when it is true; fail when the run ends before, or it takes too long."""
        until(true, what, timeout, self)

    def ready(self, timeout: float = PATIENCE) -> Supervisor:
        """Return when its workers are up and it has joined the group."""
        self.until(lambda: self.events("ready"), "ready", timeout)
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
        with _may_be_gone():
            self.peak_memory = max(self.peak_memory, psutil.Process(self.pid).memory_info().rss)
        return self.peak_memory

    # -- its processes

    def tree(self) -> list[psutil.Process]:
        """Every process with its mark, orphans included."""
        found = []
        for process in psutil.process_iter():
            with _may_be_gone():
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found

    def forkserver(self) -> psutil.Process:
        """The process that workers are forked from."""
        (found,) = [
            child
            for child in psutil.Process(self.pid).children()
            if any("multiprocessing.forkserver" in word for word in child.cmdline())
        ]
        return found

    def workers(self) -> list[psutil.Process]:
        """The workers that run now; empty while there is no forkserver."""
        try:
            return self.forkserver().children()
        except (ValueError, psutil.NoSuchProcess):
            return []

    # -- the end

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the process group, as a terminal sends it."""
        os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM to the supervisor alone, as an orchestrator sends it."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL to the supervisor alone; return when it has gone."""
        self.process.kill()
        self.process.wait()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return its exit code, once it has ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"after {timeout:g} s it still runs\n{self}") from None

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, and its exit code."""
        self.terminate()
        return self.wait(timeout)

    def leaves_nobody(self, within: float = 1.0) -> None:
        """Fail if any of its processes is there so many seconds after its end."""
        ended(self.tree(), within)
        left = self.tree()
        assert not left, f"still there: {left}\n{self}"

    def close(self) -> None:
        """End everything that is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        while left := self.tree():
            for process in left:
                with _may_be_gone():
                    process.kill()
            ended(left, 1.0)

    def __str__(self) -> str:
        return f"--- {' '.join(map(str, self.process.args[5:]))}\n{self.output[-6000:]}"


@contextmanager
def _may_be_gone() -> Iterator[None]:
    """A process may end while it is looked at."""
    try:
        yield
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass


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
        for supervisor in self._started:
            supervisor.close()
