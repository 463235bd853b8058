"""Messages of 1 ms and of 10 ms of CPU, against bare processes that only run the handler."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import ground
from benchmarks.spinning import spin

WORKERS = 2
ROUNDS = 5

BARE = """
import sys, time
from benchmarks.spinning import spin
count, loops = int(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()
first = time.monotonic()
for _ in range(count):
    spin(loops)
print(first, time.monotonic())
"""


def loops_for(seconds: float) -> int:
    """Return how many loops take so long here, when nothing else runs."""
    best = min(_timed(100_000) for _ in range(20))
    return max(1, int(100_000 * seconds / best))


def _timed(loops: int) -> float:
    began = time.monotonic()
    spin(loops)
    return time.monotonic() - began


def bare(count: int, loops: int) -> float:
    """Return the seconds that processes take which share `count` calls."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BARE, str(count // WORKERS), str(loops)],
            cwd=ground.HERE.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(WORKERS)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    times = [process.communicate()[0].split() for process in processes]
    return max(float(t[1]) for t in times) - min(float(t[0]) for t in times)


def ours(brokers: str, topic: str) -> float:
    """Return the seconds that `kqworker run` takes for a topic."""
    options = ("--workers", str(WORKERS), "--until-caught-up")
    with ground.Running(brokers, "busy", topic, *options) as running:
        running.ended()
        return ground.span(running.seen())


def compare(brokers: str, name: str, ms: float, count: int, partitions: int) -> bool:
    """Print the share of the bare processes' speed that is reached."""
    loops = loops_for(ms / 1000)
    topic = ground.fill(brokers, count, partitions, lambda _: str(loops).encode())
    ratios = []
    for _ in range(ROUNDS):
        alone = bare(count, loops)
        ratios.append(alone / ours(brokers, topic))
    return ground.say(name, ratios, 0.95, f"{count} messages, {WORKERS} workers")


def main(brokers: str) -> bool:
    """Run both."""
    one = compare(brokers, "1 ms of CPU, share of bare processes", 1, 10_000, 12)
    ten = compare(brokers, "10 ms of CPU, one partition, share", 10, 1_000, 1)
    return one and ten
