"""How handlers look to a type checker; run through mypy by test_types.py, never imported.

`assert_type` states what must be inferred. Each `type: ignore` states what must be an
error, and of which kind: mypy reports one that hides nothing.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

from kqworker import App, Context, Delivery, Message, Reject, Retry, RetryLater
from kqworker.app.handler import Handler

app = App("orders", brokers=["a:9092"], group="g", offset="earliest", members=2)


@dataclass
class Order:
    id: int


@app.handler(topic="orders", ordering="key", retry=Retry(attempts=5), time_limit=30)
def on_order(order: Order, context: Context | None = None, *, dry: bool = False) -> int:
    if dry:
        raise Reject("dry")
    if context is not None and context.attempt > 3:
        raise RetryLater(30)
    return order.id


@app.handler(topic="^raw")
async def on_raw(message: Message[bytes]) -> str:
    assert_type(message.value, bytes)
    assert_type(message.key, bytes | None)
    return message.value.decode()


# A handler is still its function.
assert_type(on_order(Order(1)), int)
assert_type(on_order(Order(1), dry=True), int)
call: Coroutine[Any, Any, str] = on_raw(Message(b"a"))
on_order("1")  # type: ignore[arg-type]
on_order()  # type: ignore[call-arg]
on_order(Order(1), wet=True)  # type: ignore[call-arg]
on_raw(Message(b"a"))  # type: ignore[unused-coroutine]
wrong_call = on_raw(Message("a"))  # type: ignore[arg-type]
accepts_handlers: list[Handler[..., Any]] = [on_order, on_raw]

# Pushes return deliveries.
assert_type(on_order.push(Order(1), key="1", headers={"a": b"1"}), Delivery)
assert_type(app.push("orders", {"id": 1}, headers=[("a", None)], partition=3), Delivery)
assert_type(app.push("orders", None).wait(1.5).offset, int | None)
app.push("orders", 1, delay=60)  # type: ignore[call-arg]
app.push("orders", 1, key=7)  # type: ignore[arg-type]

# What is misspelt is found before the start.
App("orders", offset="first")  # type: ignore[arg-type]
App("orders", workers=4)  # type: ignore[call-arg]
app.handler(topic="a", ordering="keys")  # type: ignore[arg-type]
app.handler(topic="a", retry=5)  # type: ignore[arg-type]
app.handler(topic="a", retries=5)  # type: ignore[call-arg]


@app.on_worker_start
def start() -> None: ...


@app.on_worker_stop
async def stop() -> None: ...


@app.on_worker_start  # type: ignore[type-var]
def start_with(model: str) -> None: ...


# Hooks stay what they were.
assert_type(start(), None)
stopping: Coroutine[Any, Any, None] = stop()
