"""An app whose handlers want their payloads decoded: one topic, one type each.

What came of each message is written to the journal as handlers.py does it, and as one
line a message of what the handler was given.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kqworker import App, Context, Message, Retry
from tests.kafka.journal import APP, Journal

_told: dict[str, Any] = json.loads(os.environ[APP])
_folder = Path(_told["journal"])
_prefix: str = _told["topic"]
_dead: str = _told["dead_letter"]
journal = Journal(_folder)
app = App("payloads")


@dataclass
class Order:
    """What one topic's messages are to be."""

    id: int


def given(context: Context, *values: object) -> None:
    """Write down what the handler got."""
    with journal.attempt(context), (_folder / f"{os.getpid()}.given").open("a") as file:
        line = [context.topic.removeprefix(_prefix), context.offset]
        file.write(json.dumps([*line, *map(repr, values)]) + "\n")


@app.handler(topic=f"{_prefix}raw", dead_letter=_dead, retry=Retry(attempts=3))
def raw(message: Message[bytes], context: Context) -> None:
    """Bytes as they are."""
    given(context, message.key, message.value)


@app.handler(topic=f"{_prefix}maybe", dead_letter=_dead, retry=Retry(attempts=3))
def maybe(value: bytes | None, context: Context) -> None:
    """Takes tombstones, too."""
    given(context, value)


@app.handler(topic=f"{_prefix}text", dead_letter=_dead, retry=Retry(attempts=3))
def text(key: str, value: str, context: Context) -> None:
    """Both as text."""
    given(context, key, value)


@app.handler(topic=f"{_prefix}json", dead_letter=_dead, retry=Retry(attempts=3))
def order(order: Order, context: Context) -> None:
    """From JSON."""
    given(context, order.id)
