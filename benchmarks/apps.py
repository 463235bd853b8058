"""The handlers under test; what each worker saw is left in a file when it stops."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from benchmarks.spinning import spin
from kqworker import App

TOPIC = os.environ.get("BENCH_TOPIC", "bench")


class Seen:
    """When a worker's first message began and its last one ended."""

    first = last = 0.0
    latencies: list[float] = []  # noqa: RUF012 - one process, one worker, one list


def leave() -> None:
    """Write it down."""
    told = {"first": Seen.first, "last": Seen.last, "latencies": Seen.latencies}
    if Seen.first:
        path = Path(os.environ["BENCH_FOLDER"]) / f"{os.getpid()}.json"
        path.write_text(json.dumps(told))


busy = App("busy")
busy.on_worker_stop(leave)


@busy.handler(topic=TOPIC)
def work(value: bytes) -> None:
    """Spin as many loops as the message says."""
    now = time.monotonic()
    if not Seen.first:
        Seen.first = now
    spin(int(value))
    Seen.last = time.monotonic()


noop = App("noop")


@noop.handler(topic=TOPIC)
def nothing(value: bytes) -> None:
    """Do nothing."""


prompt = App("prompt")
prompt.on_worker_stop(leave)


@prompt.handler(topic=TOPIC)
def arrive(value: bytes) -> None:
    """Note how long the message was on its way."""
    now = time.monotonic()
    Seen.first = Seen.first or now
    Seen.latencies.append(now - float(value))
