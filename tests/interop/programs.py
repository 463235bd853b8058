"""The original and ours as real processes: started, followed by their journals, always reaped.

Decides how each is started and what its configuration file says; the same file serves both.
Nothing of them outlives the process that runs the tests. The processes of ours are those
with its mark, as in tests/kafka/supervisors.py.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.interop import groups
from tests.interop.handlers import JOURNAL, VERBS
from tests.kafka.cluster import Cluster
from tests.kafka.supervisors import LAUNCHER, MARK, PROGRAM, ROOT
from tests.waiting import PATIENCE, until


@dataclass(frozen=True, slots=True)
class Event:
    """What a handler did, or that the original's Start returned.

    Attributes:
        kind: begun, handled, failed or returned.
        at: When, in seconds since the epoch.
        told: All of the line.
    """

    kind: str
    at: float
    key: bytes
    value: bytes
    told: Mapping[str, Any]

    @property
    def number(self) -> int:
        """The first word of the value."""
        return int(self.value.split(b" ", 1)[0])


def configuration(path: Path, cluster: Cluster, topic: str, group: str, **fields: object) -> Path:
    """Write the file that both load; fields replace what stands here."""
    values: dict[str, object] = {
        "Name": "interop",
        "Log": {"Mode": "console", "Encoding": "plain", "Level": "info", "Stat": False},
        "Brokers": cluster.bootstrap.split(","),
        "Group": group,
        "Topic": topic,
        "Offset": "first",
        **fields,
    }
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


class Program:
    """One process that handles messages and keeps a journal.

    Args:
        command: What to run.
        folder: For its output, its journal, and as its current directory.
        name: Of its files.
        environment: More variables.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._folder = folder
        self._mark = uuid.uuid4().hex
        self._read: dict[Path, int] = {}
        self._events: list[Event] = []
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._output = folder / f"{name}.txt"
        own = {name: text for name, text in os.environ.items() if not name.startswith("KQWORKER_")}
        own |= {MARK: self._mark, "NO_COLOR": "1", **(environment or {})}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command],
                cwd=folder,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    # -- what it says and does

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._output.read_text(errors="replace")

    def events(self, kind: str | None = None) -> list[Event]:
        """All events so far, of one kind or of all, in the order of each file."""
        self._follow()
        return [event for event in self._events if kind is None or event.kind == kind]

    def count(self, kind: str) -> int:
        """How many events of a kind there are so far."""
        self._follow()
        return self._counts[kind]

    def _follow(self) -> None:
        # A feed looks from a thread of its own.
        with self._lock:
            for path in sorted(self._folder.glob(f"{self.name}*.jsonl")):
                done = self._read.get(path, 0)
                with path.open("rb") as file:
                    file.seek(done)
                    whole = file.read().rpartition(b"\n")[0]
                if whole:
                    self._read[path] = done + len(whole) + 1
                    new = [_event(line) for line in whole.split(b"\n")]
                    self._events += new
                    self._counts.update(event.kind for event in new)

    def numbers(self, kind: str = "handled") -> list[int]:
        """The numbers of the messages with such an event."""
        return [event.number for event in self.events(kind)]

    def until(self, true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Return when it is true; fail when the process ends before, or it takes too long."""
        until(true, what, timeout, self)

    def handled(self, count: int, timeout: float = PATIENCE) -> Program:
        """Return when so many handlers have returned."""
        self.until(lambda: self.count("handled") >= count, f"{count} handled", timeout)
        return self

    # -- the end

    def kill(self) -> None:
        """SIGKILL to the process alone; return when it has gone, and all of its own."""
        self.process.kill()
        self.process.wait()
        self._leave_nobody()

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return its exit code, once it has ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"after {timeout:g} s it still runs\n{self}") from None

    def close(self) -> None:
        """End everything that is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._leave_nobody()

    def _leave_nobody(self) -> None:
        while left := self._tree():
            for process in left:
                _quietly(process.kill)
            psutil.wait_procs(left, 1.0)

    def _tree(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            _quietly(
                lambda process=process: (
                    found.append(process) if process.environ().get(MARK) == self._mark else None
                )
            )
        return found

    def __str__(self) -> str:
        return f"--- {self.name}\n{self.output[-6000:]}"


def _event(line: bytes) -> Event:
    told = json.loads(line)
    return Event(
        told["Event"],
        told["At"],
        base64.b64decode(told.get("Key", "")),
        base64.b64decode(told.get("Value", "")),
        told,
    )


def _quietly(call: Callable[[], object]) -> None:
    """A process may end while it is looked at."""
    try:
        call()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass


class Programs:
    """Starts the programs of one test, and sees to their end; the fixture `programs`.

    Args:
        folder: The test's own.
        original: The program of tests/interop/go.
    """

    def __init__(self, folder: Path, original: Path) -> None:
        self.folder = folder
        self._original = original
        self._started: list[Program] = []
        self.group = f"g-{uuid.uuid4().hex[:12]}"

    # -- the original

    def go(
        self, cluster: Cluster, topic: str, *, verbs: bool = True, group: str = "", **fields: object
    ) -> Program:
        """The original's Queue."""
        name = f"go-{len(self._started)}"
        file = self._configuration(name, cluster, topic, group, fields)
        journal = self.folder / f"{name}.jsonl"
        journal.touch()
        command = [str(self._original), "consume", "-f", str(file), "-journal", str(journal)]
        return self._start(name, [*command, *(["-verbs"] if verbs else [])])

    def ask(self, *arguments: str, lines: Iterable[Mapping[str, object]] = ()) -> list[Any]:
        """What a command of the original answers, as one object a line."""
        done = subprocess.run(
            [str(self._original), *arguments],
            input="".join(json.dumps(line) + "\n" for line in lines),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        # Its log is on the same output, and is no JSON.
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def push(
        self, cluster: Cluster, topic: str, lines: Iterable[Mapping[str, object]], *options: str
    ) -> list[Any]:
        """What each call of the original's Pusher returned, Close last."""
        where = ("-brokers", cluster.bootstrap, "-topic", topic)
        return self.ask("push", *where, *options, lines=lines)

    def evict(self, cluster: Cluster, group: str) -> None:
        """Take killed members out of a group at once, instead of after their session timeout."""
        self.ask("evict", cluster.bootstrap, group, *groups.members(cluster, group))

    # -- ours

    def queue(
        self,
        cluster: Cluster,
        topic: str,
        *,
        verbs: bool = True,
        group: str = "",
        handler: str = "handle",
        environment: Mapping[str, str] | None = None,
        **fields: object,
    ) -> Program:
        """Our Queue, by the command line, with a handler of handlers.py."""
        name = f"py-{len(self._started)}"
        file = self._configuration(name, cluster, topic, group, fields)
        own = {JOURNAL: str(self.folder / name), **({VERBS: "1"} if verbs else {})}
        command = [str(PROGRAM), "kq", "-f", str(file), "--app-dir", str(ROOT)]
        command.append(f"tests.interop.handlers:{handler}")
        return self._start(name, command, own | dict(environment or {}))

    # -- inside

    def _configuration(
        self, name: str, cluster: Cluster, topic: str, group: str, fields: Mapping[str, object]
    ) -> Path:
        path = self.folder / f"{name}.yaml"
        return configuration(path, cluster, topic, group or self.group, **fields)

    def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Program:
        program = Program(command, folder=self.folder, name=name, environment=environment)
        self._started.append(program)
        return program

    def close(self) -> None:
        """End what is left of all."""
        for program in self._started:
            program.close()


def encoded(how: str, key: bytes, value: bytes, **more: object) -> dict[str, object]:
    """A record as the original's commands take it."""
    return {
        "How": how,
        "Key": base64.b64encode(key).decode(),
        "Value": base64.b64encode(value).decode(),
        **more,
    }
