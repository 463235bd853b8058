"""Small costs that decisions rest on: imports, decoding, and telling where a worker is.

    python -m benchmarks.costs

docs/decisions/0003-dependencies.md and 0005-slot.md have the figures. Each is the best of many:
whatever else the machine does only makes it slower.
"""

from __future__ import annotations

import subprocess
import sys
import timeit

IMPORT = "import time; began = time.process_time(); import {}; print(time.process_time() - began)"
MODULES = ("click", "rich.progress", "msgspec", "confluent_kafka", "kqworker.runtime.worker")

PAYLOAD = '{"id": 1, "amount": 9.5, "name": "abc"}'
ORDER = f"""
import dataclasses, json, msgspec
@dataclasses.dataclass
class Order:
    id: int
    amount: float
    name: str
payload = {PAYLOAD!r}.encode()
decode = msgspec.json.Decoder(Order).decode
"""
SLOT = """
import os, socket
from time import monotonic
from kqworker.runtime.slot import Slot, WorkerSlot
slot = WorkerSlot(os.dup(Slot().fd))
words, seconds = slot.words, slot.seconds
worker, supervisor = socket.socketpair()
frame = b"x" * 30
"""


def cpu_of_import(module: str) -> float:
    """Return the CPU seconds that an import takes in a new process."""
    command = [sys.executable, "-c", IMPORT.format(module)]
    return min(float(subprocess.check_output(command)) for _ in range(7))


def cost(statement: str, setup: str) -> float:
    """Return the seconds of one execution."""
    number = 20_000
    return min(timeit.repeat(statement, setup, repeat=9, number=number)) / number


def main() -> None:
    """Print everything."""
    for module in MODULES:
        print(f"import {module:26}{cpu_of_import(module) * 1000:8.0f} ms of CPU")
    for name, statement in (
        ("json and a dataclass, unchecked", "Order(**json.loads(payload))"),
        ("msgspec to a dataclass, checked", "decode(payload)"),
    ):
        print(f"{name:33}{cost(statement, ORDER) * 1e6:8.2f} µs")
    for name, statement in (
        ("a worker moves on in its slot", "seconds[1] = monotonic(); words[0] = 5; words[2] >= 7"),
        ("an answer through a socket", "worker.send(frame); supervisor.recv(100)"),
    ):
        print(f"{name:33}{cost(statement, SLOT) * 1e6:8.2f} µs")


if __name__ == "__main__":
    main()
