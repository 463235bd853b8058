"""Middleware around handlers, sync and async, on Apache Kafka."""

from __future__ import annotations

import json

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import consume, produce

# Counted outermost, in a session, and refused by what is innermost.
APP = """\
from contextvars import ContextVar
from kqworker import App, Retry

app = App({topic!r})
session = ContextVar("session", default=None)

@app.middleware
def counted(context, call):
    result = call()
    context.push({counts!r}, [context.offset, context.attempt, result["value"]])
    return result

@app.middleware
{define} in_session(context, call):
    assert session.get() is None
    session.set(context.offset)
    return {await_}call()

@app.middleware
{define} refusing(context, call):
    result = {await_}call()
    if result["value"] == 1:
        raise LookupError("no one")
    return result

retry = Retry(attempts=2, first=0.05)

@app.handler(topic={topic!r}, output={output!r}, dead_letter={dead!r}, retry=retry)
{define} handle(value: int) -> dict:
    return {{"value": value, "session": session.get()}}
"""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_around_a_handler_counts_for_its_message(
    kafka: Cluster, topic: NewTopic, kqworker: Command, asynchronous: bool
) -> None:
    name, output, counts, dead = topic(), topic(), topic(), topic()
    (kqworker.folder / "app.py").write_text(
        APP.format(
            topic=name,
            output=output,
            counts=counts,
            dead=dead,
            define="async def" if asynchronous else "def",
            await_="await " if asynchronous else "",
        )
    )
    produce(kafka, name, [b"0", b"1", b"2", b"x"])

    ended = kqworker("run", "app:app", "-w", "2", "--until-caught-up", "-b", kafka.bootstrap)

    assert ended.code == 6, ended
    results = sorted(
        (json.loads(record.value() or b"") for record in consume(kafka, output)),
        key=lambda result: result["value"],
    )
    assert [result["value"] for result in results] == [0, 2]
    assert all(result["session"] is not None for result in results)
    counted = sorted(json.loads(record.value() or b"")[1:] for record in consume(kafka, counts))
    assert counted == [[1, 0], [1, 2]]
    said = {}
    for letter in consume(kafka, dead):
        headers = {key: (value or b"").decode() for key, value in letter.headers() or []}
        said[letter.value()] = (headers["kqworker-error-text"], headers["kqworker-attempts"])
    assert said[b"1"] == ("no one", "2")
    assert said[b"x"][1] == "1"  # cannot be decoded: no further attempt
