"""The original and ours as real processes, followed by their journals.

Decides how each is started and what its configuration file says; the same file serves both.
How they are followed, signalled and reaped, tests/processes.py says.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import processes
from tests.interop import groups
from tests.interop.handlers import JOURNAL, VERBS
from tests.kafka.cluster import Cluster
from tests.kafka.supervisors import PROGRAM
from tests.processes import ROOT, Process, without_settings
from tests.waiting import PATIENCE


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


class Program(Process):
    """One process that handles messages and keeps a journal.

    Args:
        command: What to run.
        folder: For its journal, and its current directory.
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
        self._read: dict[Path, int] = {}
        self._events: list[Event] = []
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        own = without_settings(**{"NO_COLOR": "1", **(environment or {})})
        super().__init__(command, folder=folder, environment=own)

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

    def handled(self, count: int, timeout: float = PATIENCE) -> Program:
        """Return when so many handlers have returned."""
        self.until(lambda: self.count("handled") >= count, f"{count} handled", timeout)
        return self

    def kill(self) -> None:
        """SIGKILL to the process alone; return when it has gone, and all of its own."""
        super().kill()
        self.leave_nobody()


def _event(line: bytes) -> Event:
    told = json.loads(line)
    return Event(
        told["Event"],
        told["At"],
        base64.b64decode(told.get("Key", "")),
        base64.b64decode(told.get("Value", "")),
        told,
    )


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
        done = processes.run(
            [str(self._original), *arguments],
            stdin="".join(json.dumps(line) + "\n" for line in lines),
        )
        assert done.code == 0, done.out[-3000:] + done.err[-3000:]
        # Its log is on the same output, and is no JSON.
        return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]

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
        with ExitStack() as ends:
            for program in self._started:
                ends.callback(program.close)


def encoded(how: str, key: bytes, value: bytes, **more: object) -> dict[str, object]:
    """A record as the original's commands take it."""
    return {
        "How": how,
        "Key": base64.b64encode(key).decode(),
        "Value": base64.b64encode(value).decode(),
        **more,
    }
