"""An app of handlers that are called otherwise than they look: one topic each.

Each writes what it was given, as one line, into a file beside the journal's. What the app
listens to comes by the environment, as payloads.py has it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import decimal
import functools
import json
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from kqworker import App, Context, Output, Retry
from tests.kafka.journal import APP

_told: dict[str, Any] = json.loads(os.environ[APP])
_folder = Path(_told["journal"])
app = App("calls")
_on = {"dead_letter": _told["dead_letter"], "retry": Retry(attempts=2, first=0.05)}


_out: str = _told["output"]


def topic(name: str, **options: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the handler of one of the test's topics."""
    return app.handler(topic=_told["topic"] + name, **_on, **options)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Be a decorator as there are many."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function one argument more."""

    @functools.wraps(function)
    def wrapper(value: Any) -> Any:
        return function(value, "session")

    return wrapper


def given(*values: object) -> None:
    """Write down what a handler got."""
    with (_folder / f"{os.getpid()}.given").open("a") as file:
        file.write(json.dumps(values) + "\n")


@topic("generator")
@wrapped
def generator(value: str) -> Iterator[None]:
    """Never runs."""
    given("generator", value)
    yield


@topic("future")
def future(value: str) -> object:
    """Nobody waits for it."""
    return concurrent.futures.Future()


@topic("forgotten")
def forgotten(value: str) -> object:
    """Nobody awaits it."""
    return awaited(value)


@topic("awaited")
@wrapped
async def awaited(value: str) -> None:
    """Behind a plain wrapper."""
    given("awaited", value)


@topic("injected")
@wrapped
@with_session
def injected(value: str, session: str) -> None:
    """Gets more than the message."""
    given("injected", value, session)


@topic("asks")
@wrapped
def asks(value: str, context: Context) -> None:
    """Gets its context."""
    given("asks", value, context.offset)


# Results


@topic("results", output=_out)
def results(value: str) -> object:
    """Return what the message says."""
    return {
        "plain": {"of": "plain"},
        "key": Output("v", key="other", headers={"h": "1"}),
        "keyless": Output(b"v", key=None),
        "nan": {"rate": [1.0, float("nan")]},
    }[value]


# Payloads with constructors


class Model(BaseModel):
    """Decoded by pydantic."""

    id: int = Field(gt=0)


@dataclass
class Checked:
    """Raises what no decoder knows."""

    id: int

    def __post_init__(self) -> None:
        if not self.id:
            raise KeyError("id")


@topic("models", output=_out)
def models(value: dict[str, Model]) -> object:
    """Return what it got."""
    return value["a"]


@topic("checked")
def checked(value: list[Checked]) -> None:
    """Write down what it got."""
    given("checked", value[0].id)


# Messages beside each other

tenant = ContextVar("tenant", default="nobody")
ticking: list[asyncio.Task[None]] = []


async def tick() -> None:
    """Write a byte whenever the loop has its turn."""
    while True:
        await asyncio.sleep(0.01)
        with (_folder / f"{os.getpid()}.ticks").open("a") as file:
            file.write("t")


@app.on_worker_start
async def begin() -> None:
    """Leave a task behind."""
    ticking.append(asyncio.create_task(tick()))


@topic("leaks")
def leaks(value: str) -> None:
    """Change what it finds."""
    given("leaks", tenant.get(), decimal.getcontext().prec)
    tenant.set(value)
    decimal.getcontext().prec = 3


@topic("leaks-async")
async def leaks_async(value: str) -> None:
    """The same."""
    await asyncio.sleep(0)
    leaks(value)
