"""What handing over costs by the number of messages in a frame: no Kafka, no-op handlers.

    python -m benchmarks.frames
    python -m benchmarks.frames --size 100000

docs/decisions/0008-frames-by-time.md and 0021-checksums.md have the figures.
"""

from __future__ import annotations

import argparse
import select
import time
from pathlib import Path

from kqworker import App
from kqworker.core.batch_size import FRAME_BYTES
from kqworker.core.commands import Send, StartWorker
from kqworker.core.events import Finished, WorkerReady
from kqworker.runtime.process import ProcessWorkers
from kqworker.runtime.spec import WorkerSpec
from kqworker.types import Ordering, Records, Segment, Task, TopicPartition

WORKERS = 2
app = App("frames")


@app.handler(topic="frames")
def handle(value: bytes) -> None:
    """Do nothing."""


def segment(count: int, size: int) -> Segment:
    """Return `count` messages of `size` bytes."""
    where = TopicPartition("frames", 0)
    values = [b"x" * size] * count
    return Segment(Records(where, range(count), values, None, [0] * count, None, count * size))


def measure(workers: ProcessWorkers, first: int, frame: int, size: int, seconds: float) -> float:
    """Return messages a second, with two frames at each worker."""
    messages = segment(frame, size)
    task = first

    def send(worker: int) -> None:
        nonlocal task
        task += 1
        workers.execute(Send(worker, Task(task, 0, Ordering.UNORDERED, (messages,))))

    for worker in range(1, WORKERS + 1):
        send(worker)
        send(worker)
    done = 0
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        select.select([workers], [], [], 1.0)
        for event in workers.events():
            if isinstance(event, Finished) and event.complete:
                done += 1
                send(event.worker)
    rate = done * frame / (now - began)
    left = 2 * WORKERS
    while left:
        select.select([workers], [], [], 1.0)
        left -= sum(isinstance(e, Finished) and e.complete for e in workers.events())
    return rate


def main() -> None:
    """Print a line for each size of frame."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100, help="bytes of a message")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line")
    given = parser.parse_args()
    spec = WorkerSpec("benchmarks.frames:app", app_dir=str(Path(__file__).parents[1]))
    workers = ProcessWorkers(spec)
    try:
        for number in range(1, WORKERS + 1):
            workers.execute(StartWorker(number, number - 1))
        ready = 0
        while ready < WORKERS:
            select.select([workers], [], [], 1.0)
            ready += sum(isinstance(e, WorkerReady) for e in workers.events())
        for i, frame in enumerate((1, 4, 16, 100, 500, 2000)):
            if frame > 1 and frame * given.size > FRAME_BYTES:
                break  # the core makes none that large
            rate = measure(workers, i * 10_000_000, frame, given.size, given.seconds)
            print(f"{frame:5} in a frame: {rate:10,.0f} messages/s")
    finally:
        workers.close(5.0)


if __name__ == "__main__":
    main()
