"""The handlers under test on our side: they keep the same journal as the original's.

A line of JSON an event, in a file of each process, one write a line, so that what a killed
process has written stays. With `VERBS` set a value says after its first word what is to be
done, as in go/consume.go: "17 sleep 0.5", "17 fail", "17 die". Read by programs.py.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path

from kqworker import Context, Message
from kqworker.kq import Pusher

JOURNAL = "INTEROP_JOURNAL"
VERBS = "INTEROP_VERBS"
# What `forward` pushes to: brokers, and a topic.
NEXT = "INTEROP_NEXT"


def note(event: str, message: Message[bytes | None]) -> None:
    """Append an event to the journal of this process."""
    told = {
        "Event": event,
        "At": time.time(),
        "Key": base64.b64encode(message.key or b"").decode(),
        "Value": base64.b64encode(message.value or b"").decode(),
        "Headers": [
            {"Key": name, "Value": base64.b64encode(value or b"").decode()}
            for name, value in message.headers
        ],
    }
    folder, name = os.path.split(os.environ[JOURNAL])
    path = Path(folder) / f"{name}-{os.getpid()}.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, json.dumps(told).encode() + b"\n")
    finally:
        os.close(fd)


def handle(message: Message[bytes | None], context: Context) -> None:
    """Do what the value says, and keep the journal."""
    note("begun", message)
    if os.environ.get(VERBS):
        try:
            do((message.value or b"").decode())
        except Exception:  # whatever it is, the framework is to see it, and the journal too
            note("failed", message)
            raise
    note("handled", message)


def forward(message: Message[bytes], context: Context) -> None:
    """Push what came to the next topic, as a handler of go-queue would."""
    brokers, topic = os.environ[NEXT].split(" ")
    with Pusher(brokers, topic) as pusher:
        pusher.push_with_key(message.key or b"", message.value)
    note("handled", message)


def do(value: str) -> None:
    """What a value says after its first word."""
    match value.split():
        case [_, "sleep", seconds]:
            time.sleep(float(seconds))
        case [_, "fail"]:
            raise RuntimeError("as it says")
        case [_, "panic"]:
            os.kill(os.getpid(), signal.SIGKILL)
