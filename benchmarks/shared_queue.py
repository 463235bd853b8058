"""What a SIGKILL of one idle worker does to the others: a shared queue against a pipe each.

    python -m benchmarks.shared_queue

docs/decisions/0001-socket-pairs.md has the figures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

WORKERS = 3
WAIT = 2.0

context = multiprocessing.get_context("spawn")


def from_queue(tasks: Any, answers: Any) -> None:
    """Answer for what comes from a queue that all workers read."""
    answers.send(os.getpid())
    while True:
        answers.send(tasks.get())


def from_pipe(tasks: Connection, answers: Connection) -> None:
    """Answer for what comes from a pipe of one's own."""
    answers.send(os.getpid())
    while True:
        answers.send(tasks.recv())


def shared_queue() -> bool:
    """Return whether the survivors still work when all read one queue."""
    queue = context.Queue()
    return _kill_one(from_queue, [queue] * WORKERS, [queue.put] * WORKERS)


def own_pipes() -> bool:
    """Return whether the survivors still work when each has a pipe."""
    pipes = [context.Pipe() for _ in range(WORKERS)]
    return _kill_one(from_pipe, [far for _, far in pipes], [near.send for near, _ in pipes])


def _kill_one(
    target: Callable[..., None], ends: list[Any], puts: list[Callable[[object], None]]
) -> bool:
    answers = [context.Pipe(duplex=False) for _ in range(WORKERS)]
    processes = [
        context.Process(target=target, args=(end, writer), daemon=True)
        for end, (_, writer) in zip(ends, answers, strict=True)
    ]
    try:
        for process in processes:
            process.start()
        for reader, _ in answers:
            reader.recv()
        time.sleep(0.2)  # all of them wait for a task now
        os.kill(processes[0].pid or 0, signal.SIGKILL)
        processes[0].join()
        for put in puts[1:]:
            put("task")
        deadline = time.monotonic() + WAIT
        return any(reader.poll(max(0.0, deadline - time.monotonic())) for reader, _ in answers[1:])
    finally:
        for process in processes:
            process.kill()
            process.join()


def main() -> None:
    """Count the trials in which the survivors went on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20)
    trials = parser.parse_args().trials
    for name, trial in (("one queue for all", shared_queue), ("a pipe each", own_pipes)):
        worked = sum(trial() for _ in range(trials))
        print(f"{name:20} survivors went on in {worked} of {trials} trials")


if __name__ == "__main__":
    main()
