"""What is pushed beside or after a message: into no other one, and where the run reads."""

from __future__ import annotations

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import consume, produce

APP = """\
import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from kqworker import App, Context, Message

app = App("late")
pool = ThreadPoolExecutor(1)
let_go = threading.Event()
late = []

def push_once_let_go(push, value):
    let_go.wait(20)
    try:
        push({out!r}, value)
    except RuntimeError as error:
        print("refused:", error, flush=True)

@app.handler(topic={sync!r}, ordering="partition")
def on_sync(message: Message[str], context: Context) -> None:
    way = message.value
    app.push({out!r}, f"in time, {{way}}")
    if way == "context":
        late.append(pool.submit(push_once_let_go, context.push, "late"))
    elif way == "copy":
        run = contextvars.copy_context().run
        late.append(pool.submit(run, push_once_let_go, app.push, "late"))
    elif way == "thread":
        late.append(pool.submit(push_once_let_go, app.push, "late"))
    elif way == "end":
        let_go.set()
        for future in late:
            future.result()

tasks = []
gone = None

async def push_late():
    await gone.wait()
    push_once_let_go(app.push, "late")

@app.handler(topic={asynchronous!r}, ordering="partition")
async def on_async(message: Message[str]) -> None:
    global gone
    way = message.value
    app.push({out!r}, f"in time, {{way}}")
    if way == "task":
        gone = gone or asyncio.Event()
        tasks.append(asyncio.create_task(push_late()))
    elif way == "end":
        let_go.set()
        gone.set()
        await asyncio.gather(*tasks)
"""


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_push_belongs_to_its_message_or_raises(
    kafka: Cluster, topic: NewTopic, kqworker: Command, asynchronous: bool
) -> None:
    sync, tasks, out = topic(), topic(), topic()
    text = APP.format(sync=sync, asynchronous=tasks, out=out)
    (kqworker.folder / "app.py").write_text(text)
    ways = [b"task", b"task", b"end"] if asynchronous else [b"context", b"copy", b"thread", b"end"]
    name = tasks if asynchronous else sync
    produce(kafka, name, ways)

    ran = kqworker("run", "app:app", "-w", "1", "--until-caught-up", "-b", kafka.bootstrap)

    assert ran.code == 0, ran
    values = [(message.value() or b"").decode() for message in consume(kafka, out)]
    assert values == [f"in time, {way.decode()}" for way in ways]
    refused = [line for line in ran.out.splitlines() if line.startswith("refused: ")]
    ended = "has ended, so nothing would ensure the delivery of what is pushed for it now"
    if asynchronous:
        assert [ended in line for line in refused] == [True, True]
        assert [f"{name}[0]@{offset}" in line for offset, line in enumerate(refused)] == [True] * 2
        return
    assert [ended in line for line in refused] == [True, True, False]
    assert f"{name}[0]@0" in refused[0] and f"{name}[0]@1" in refused[1]
    assert "belongs to the message in whose context it is made" in refused[2]


BESIDE = """\
import multiprocessing
from kqworker import App

app = App("beside")

@app.on_start
def start() -> None:
    app.push({out!r}, "start").wait(20)

@app.handler(topic={read!r})
def on_message(text: str) -> None:
    child = multiprocessing.get_context("fork").Process(target=app.push, args=({out!r}, "child"))
    child.start()
    child.join()
    app.push({out!r}, "handler")
"""


def test_what_is_pushed_beside_messages_goes_where_the_run_does(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    read, out = topic(), topic()
    (kqworker.folder / "app.py").write_text(BESIDE.format(read=read, out=out))
    # Where a push outside of runs would go.
    (kqworker.folder / "kqworker.yaml").write_text("brokers: 127.0.0.1:9\n")
    produce(kafka, read, [b"a"])

    ran = kqworker("run", "app:app", "-w", "1", "--until-caught-up", "-b", kafka.bootstrap)

    assert ran.code == 0, ran
    assert [message.value() for message in consume(kafka, out)] == [b"start", b"child", b"handler"]
