"""The app under test that sends something on for every message: its value, or a dead letter.

A message that begins with `reject` is rejected; of any other the value goes to the output.
Told by the environment, as handlers.py is. Nothing here knows of Kafka.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kqworker import App, Context, Message, Reject, Retry
from tests.kafka.journal import APP, Journal

_told: dict[str, Any] = json.loads(os.environ[APP])
journal = Journal(Path(_told.pop("journal")))
_retry = Retry(**_told.pop("retry", {}))
app = App("under-test")


@app.handler(retry=_retry, **_told)
def echo(message: Message[bytes], context: Context) -> bytes:
    """Return the value, or reject the message."""
    with journal.attempt(context):
        if message.value.startswith(b"reject"):
            raise Reject("as it says")
    return message.value
