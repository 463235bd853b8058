"""The app under test whose handler has a Pusher of kqworker.kq, made when it is imported.

Told by the environment, as handlers.py is; `brokers` and `out` say where to push. A message
that begins with `stop` raises after its push, on its first attempt.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kqworker import App, Context, Message, Retry
from kqworker.kq import AsyncPusher, Pusher, with_flush_interval
from tests.kafka.journal import APP, Journal

_told: dict[str, Any] = json.loads(os.environ[APP])
journal = Journal(Path(_told.pop("journal")))
_where = (_told.pop("brokers"), _told.pop("out"))
_asynchronous = _told.pop("asynchronous", False)
app = App("under-test")
# So long that nothing would be delivered in time if the handler did not wait for it.
pusher = Pusher(*_where, with_flush_interval(600))
async_pusher = AsyncPusher(*_where, with_flush_interval(600))


def forward(message: Message[bytes], context: Context) -> None:
    """Push the value."""
    with journal.attempt(context):
        assert pusher.push(message.value).done
        if message.value.startswith(b"stop") and context.attempt == 1:
            raise RuntimeError("as it says")


async def forward_async(message: Message[bytes], context: Context) -> None:
    """Push the value from a coroutine."""
    with journal.attempt(context):
        assert (await async_pusher.push(message.value)).done


app.handler(retry=Retry(attempts=3, first=0.05), **_told)(
    forward_async if _asynchronous else forward
)
