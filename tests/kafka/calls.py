"""An app of handlers that are called otherwise than they look: one topic each.

Each writes what it was given, as one line, into a file beside the journal's. What the app
listens to comes by the environment, as payloads.py has it.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kqworker import App, Context, Retry
from tests.kafka.journal import APP

_told: dict[str, Any] = json.loads(os.environ[APP])
_folder = Path(_told["journal"])
app = App("calls")
_on = {"dead_letter": _told["dead_letter"], "retry": Retry(attempts=2, first=0.05)}


def topic(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the handler of one of the test's topics."""
    return app.handler(topic=_told["topic"] + name, **_on)


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
