"""What a handler learns of its message, and what becomes of its pushes in a worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kqworker import App, Context
from kqworker.context import collecting, take_outputs
from tests.app.segments import made, segment


@pytest.fixture
def in_a_worker() -> Iterator[None]:
    collecting(True)
    yield
    collecting(False)
    take_outputs()


def handle(value: str) -> None: ...


def test_a_context_knows_the_message_and_its_attempt() -> None:
    context = Context(made(handle), segment(b"a", b"b", attempt=3), 1, 12.5)

    assert (context.topic, context.partition, context.offset) == ("orders", 2, 11)
    assert (context.attempt, context.deadline) == (3, 12.5)


def test_a_context_has_the_headers_of_its_message() -> None:
    headers = (("trace", b"1"), ("trace", None))
    both = replace(
        segment(b"a", b"b"), records=replace(segment(b"a", b"b").records, headers=[headers, None])
    )

    assert [Context(made(handle), both, i, None).headers for i in (0, 1)] == [headers, ()]
    assert Context(made(handle), segment(b"a"), 0, None).headers == ()


def test_a_context_has_only_what_is_built() -> None:
    public = {name for name in dir(Context) if not name.startswith("_")}

    assert public == {
        "attempt",
        "deadline",
        "headers",
        "logger",
        "offset",
        "partition",
        "push",
        "topic",
    }


def test_the_logger_adds_the_coordinates_to_the_fields_of_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = Context(made(handle, name="h"), segment(b"a", attempt=2), 0, None)

    with caplog.at_level(logging.INFO, "kqworker.handler"):
        context.logger.info("seen %d", 1, extra={"order": 7})

    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("kqworker.handler", "seen 1")
    fields = {"topic": "orders", "partition": 2, "offset": 10, "attempt": 2, "handler": "h"}
    assert vars(record).items() >= {**fields, "order": 7}.items()


@pytest.mark.usefixtures("in_a_worker")
def test_pushes_of_a_worker_are_collected_in_order_and_taken_once() -> None:
    app = App("test")
    handler = app.handler(topic="orders")(handle)
    context = Context(handler, segment(b"a"), 0, None)

    context.push("a", "1", key="k", headers={"h": b"2"}, partition=4)
    app.push("b", "2")
    handler.push("3")

    outputs = take_outputs()
    assert [(o.topic, o.value) for o in outputs] == [("a", b"1"), ("b", b"2"), ("orders", b"3")]
    assert (outputs[0].key, outputs[0].headers, outputs[0].partition) == (b"k", (("h", b"2"),), 4)
    assert take_outputs() == ()


@pytest.mark.usefixtures("in_a_worker")
def test_a_push_of_a_thread_of_the_handler_is_collected_too() -> None:
    thread = threading.Thread(target=App("test").push, args=("a", "1"))
    thread.start()
    thread.join()

    assert [output.topic for output in take_outputs()] == ["a"]


@pytest.mark.usefixtures("in_a_worker")
def test_a_handler_cannot_wait_for_what_is_delivered_after_it() -> None:
    delivery = App("test").push("a", "1")

    assert not delivery.done
    assert (delivery.partition, delivery.offset) == (None, None)
    with pytest.raises(RuntimeError, match="is delivered after it has returned"):
        delivery.wait(timeout=1)


@pytest.mark.usefixtures("in_a_worker")
def test_a_wrong_push_is_not_collected() -> None:
    with pytest.raises(TypeError):
        App("test").push("a", object())

    assert take_outputs() == ()
