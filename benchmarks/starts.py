"""How long a worker takes to be ready: by forkserver, with and without preloading, and by spawn.

    python -m benchmarks.starts

docs/decisions/0002-forkserver.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from kqworker import App
from kqworker.core.commands import StartWorker
from kqworker.core.events import WorkerReady
from kqworker.runtime.process import ProcessWorkers
from kqworker.runtime.spec import WorkerSpec

app = App("starts")
# What an app loads at its import: a table of some tens of megabytes.
TABLE = {number: str(number) for number in range(300_000)}


@app.handler(topic="starts")
def handle(value: bytes) -> None:
    """Do nothing."""


def measure(method: str, preload: bool, count: int) -> tuple[float, float, float]:
    """Start workers one after the other.

    Returns:
        Seconds to the first one, the median of the others, and the median memory that is a
        worker's own, in MiB.
    """
    reference = "benchmarks.starts:app"
    spec = WorkerSpec(reference, app_dir=str(Path(__file__).parents[1]), preload=preload)
    workers = ProcessWorkers(spec, method)
    seconds, memory = [], []
    try:
        for number in range(1, count + 2):
            began = time.monotonic()
            workers.execute(StartWorker(number, number - 1))
            ready = None
            while ready is None:
                select.select([workers], [], [], 1.0)
                found = [e for e in workers.events() if isinstance(e, WorkerReady)]
                ready = found[0] if found else None
            seconds.append(time.monotonic() - began)
            memory.append(psutil.Process(ready.pid).memory_full_info().uss / 2**20)
    finally:
        workers.close(5.0)
    return seconds[0], statistics.median(seconds[1:]), statistics.median(memory)


def main() -> None:
    """Print a line for each way; each in a process of its own, with a forkserver of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way[0], given.way[1] == "preloaded", given.workers)))
        return
    print(f"{'':24}{'first, ms':>10}{'others, ms':>12}{'own memory, MiB':>17}")
    for way in (("forkserver", "preloaded"), ("forkserver", ""), ("spawn", "")):
        command = [sys.executable, "-m", "benchmarks.starts", f"--workers={given.workers}", "--way"]
        said = subprocess.run([*command, *way], stdout=subprocess.PIPE, check=True).stdout
        first, others, memory = json.loads(said)
        name = " ".join(way)
        print(f"{name:24}{first * 1000:10.0f}{others * 1000:12.1f}{memory:17.1f}")


if __name__ == "__main__":
    main()
