"""What the core costs for a message that comes alone: fetched, sent, finished.

    python -m benchmarks.lone [TREE]

TREE is a checkout to compare with, by its own Python. Best of many rounds, in µs, without Kafka
and without processes: on a run each part takes longer, as the processor's caches are cold.
docs/decisions/0018-disposition.md has figures.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.limits import Limits
from kqworker.core.policy import HandlerPolicy
from kqworker.core.supervisor import Supervisor
from kqworker.types import Records, TopicPartition

PARTITIONS = 12
COUNT = 2_000
ROUNDS = 15


class Alone:
    """A supervisor with two workers, which gets one message at a time."""

    def __init__(self) -> None:
        limits = Limits(workers=2, suspects=True)
        self._core = Supervisor([HandlerPolicy("on_test", "test")], limits, random.Random(1))
        self._now = 0.0
        self._next = [0] * PARTITIONS
        for command in self._core.start(self._now):
            if isinstance(command, c.StartWorker):
                self._feed(e.WorkerReady(command.worker, 1))
        starts = {TopicPartition("test", n): e.Start(0) for n in range(PARTITIONS)}
        self._answer(self._feed(e.Assigned(0, starts)))

    def _feed(self, event: e.Event) -> list[c.Command]:
        return self._core.handle(event, self._now)

    def _answer(self, commands: list[c.Command]) -> None:
        for command in commands:
            if isinstance(command, c.Commit):
                self._feed(e.Committed(command.marks))

    def one(self, number: int) -> tuple[float, float]:
        """Take a message through; return the seconds when it was fetched, and when finished."""
        self._now += 0.005
        partition = number % PARTITIONS
        offset = self._next[partition]
        self._next[partition] += 1
        offsets = range(offset, offset + 1)
        records = Records(TopicPartition("test", partition), offsets, [b"x"], None, [0], None, 1)
        fetched = e.Fetched([records], 0)
        began = time.perf_counter()
        commands = self._feed(fetched)
        self._core.deadline()
        came = time.perf_counter()
        (send,) = [command for command in commands if isinstance(command, c.Send)]
        finished = e.Finished(send.worker, send.task.id, (), True, (), 0.0001)
        sent = time.perf_counter()
        self._answer(self._feed(finished))
        self._core.deadline()
        return came - began, time.perf_counter() - sent


def main() -> None:
    """Print both figures, here and of another checkout."""
    rounds = []
    for _ in range(ROUNDS):
        alone = Alone()
        each = sorted(map(alone.one, range(COUNT)))
        rounds.append([1e6 * sorted(part)[COUNT // 2] for part in zip(*each, strict=True)])
    fetched, finished = map(min, zip(*rounds, strict=True))
    print(f"{Path.cwd().name}: fetched {fetched:.1f} µs, finished {finished:.1f} µs", flush=True)
    for tree in sys.argv[1:]:
        python = Path(tree, ".venv/bin/python")
        subprocess.run([python, Path(__file__).resolve()], cwd=tree, env={"PYTHONPATH": tree})


if __name__ == "__main__":
    main()
