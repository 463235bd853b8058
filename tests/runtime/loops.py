"""An app with a background task, and handlers that leave behind what they can.

The task writes a byte into the file that KQWORKER_TEST_TICKS names whenever it has its turn.
"""

from __future__ import annotations

import asyncio
import decimal
import os
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

from kqworker import App

app = App("loops")
imported = ContextVar("imported", default="unset")
imported.set("import")
hooked = ContextVar("hooked", default="unset")
left = ContextVar("left", default="nothing")
decimal.getcontext().prec = 20
ticks = 0
tasks: list[asyncio.Task[None]] = []


async def tick() -> None:
    global ticks
    path = os.environ.get("KQWORKER_TEST_TICKS")
    while True:
        await asyncio.sleep(0.005)
        ticks += 1
        if path is not None:
            with Path(path).open("a") as file:
                file.write("t")


async def leave() -> None:
    await asyncio.sleep(0)
    sys.exit("of nobody")


@app.on_worker_start
async def begin() -> None:
    hooked.set("hook")
    tasks.append(asyncio.create_task(tick()))


@app.on_worker_stop
def end() -> None:
    path = os.environ.get("KQWORKER_TEST_TICKS")
    if path is not None:
        Path(f"{path}.stop").write_text(f"{hooked.get()} {left.get()}")


def leak(_: str) -> str:
    seen = f"{imported.get()} {hooked.get()} {left.get()} {decimal.getcontext().prec}"
    for variable in (imported, hooked, left):
        variable.set("leaked")
    decimal.getcontext().prec = 3
    return seen


def sleep(seconds: str) -> str:
    before = ticks
    time.sleep(float(seconds))
    assert ticks == before
    return str(ticks)


VERBS: dict[str, Callable[[str], object]] = {
    "leak": leak,
    "sleep": sleep,
    "leave": lambda _: tasks.append(asyncio.ensure_future(leave())),
}


@app.handler(topic="sync", output="out")
def do(value: str) -> object:
    verb, _, argument = value.partition(" ")
    return VERBS[verb](argument)


@app.handler(topic="async", output="out")
async def do_async(value: str) -> object:
    result = do(value)
    await asyncio.sleep(0)
    return result
