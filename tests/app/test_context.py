"""What a handler learns of its message, and what becomes of its pushes in a worker."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kqworker import App, Context
from kqworker.app.context import take_outputs, without_pushes
from tests.app.segments import begin_message, in_a_message, made, segment
from tests.waiting import until


@pytest.fixture
def in_a_worker() -> Iterator[None]:
    with in_a_message():
        yield


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


def in_thread(call: Callable[[], object]) -> BaseException | None:
    """Call a function in a thread; return what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.usefixtures("in_a_worker")
def test_a_thread_pushes_by_the_context_of_its_message_or_in_a_copy_of_its_own() -> None:
    app = App("test")
    context = Context(app.handler(topic="orders")(handle), segment(b"a"), 0, None)
    copied = contextvars.copy_context()

    assert in_thread(lambda: context.push("a", "1")) is None
    assert in_thread(lambda: copied.run(app.push, "b", "2")) is None
    assert [output.topic for output in take_outputs()] == ["a", "b"]


@pytest.mark.usefixtures("in_a_worker")
def test_a_push_that_belongs_to_no_message_raises_and_says_how_to_make_it() -> None:
    # What a thread inherits is Python's to decide; here it is nothing, as before 3.14.
    error = contextvars.Context().run(in_thread, lambda: App("test").push("a", "1"))

    assert isinstance(error, RuntimeError)
    assert "belongs to the message in whose context it is made" in str(error)
    assert "push by the handler's Context" in str(error)
    assert take_outputs() == ()


@pytest.mark.usefixtures("in_a_worker")
@pytest.mark.parametrize("way", ["context", "copy"])
def test_a_push_of_a_message_that_has_ended_raises_and_names_it(way: str) -> None:
    app = App("test")
    context = Context(app.handler(topic="orders")(handle), segment(b"a"), 0, None)
    copied = contextvars.copy_context()
    take_outputs()
    # The same message may come again, and is another one then.
    begin_message()

    with pytest.raises(RuntimeError, match=r"^orders\[2\]@10 has ended, so nothing would ensure"):
        if way == "context":
            context.push("a", "late")
        else:
            copied.run(app.push, "a", "late")

    app.push("a", "in time")
    assert [output.value for output in take_outputs()] == [b"in time"]


@pytest.mark.usefixtures("in_a_worker")
def test_what_is_pushed_while_its_message_ends_goes_with_it_or_raises() -> None:
    app = App("test")
    pushed: list[str] = []

    def push() -> None:
        while True:
            try:
                app.push("a", "1")
            except RuntimeError:
                return
            pushed.append("1")

    copied = contextvars.copy_context()
    threads = [threading.Thread(target=copied.copy().run, args=(push,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(pushed) > 100, "threads that push")
    taken = take_outputs()
    for thread in threads:
        thread.join()

    assert len(taken) == len(pushed)
    assert take_outputs() == ()


@pytest.mark.usefixtures("in_a_worker")
def test_pushes_are_refused_in_one_context_and_not_in_others() -> None:
    app = App("test")
    copied = contextvars.copy_context()

    with without_pushes("a hook"):
        copied.run(app.push, "a", "1")
        with pytest.raises(RuntimeError, match="a hook cannot push"):
            app.push("a", "2")

    assert [output.value for output in take_outputs()] == [b"1"]


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
