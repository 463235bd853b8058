"""A queue's handler in a worker: what it is given, and what is done around it."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import pickle
import sys
import traceback
from typing import Any

import cloudpickle
import pytest

from kqworker import App, Context, DecodeError, Message
from kqworker.app.around import serve
from kqworker.errors import ConfigError
from kqworker.kq import KqConf, Metrics, with_handle
from kqworker.kq.queue.consuming import KqHandler, QueueApp, _print_at_once, function_of
from kqworker.kq.queue.translate import translate
from kqworker.kq.trace import trace_headers
from kqworker.runtime.printing import Lost
from kqworker.types import Segment
from tests.app.segments import segment

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED = [[("traceparent", TRACE.encode())]]


def app(handler: object, **options: Any) -> QueueApp:
    conf = KqConf(name="shop", brokers=("b:1",), group="g", topic="orders")
    return QueueApp(translate(conf), function_of(handler), **options)


def handler_of(handler: object, **options: Any) -> KqHandler:
    (found,) = app(handler, **options).handlers
    assert isinstance(found, KqHandler)
    return found


def call(handler: KqHandler, messages: Segment, i: int = 0) -> Any:
    return serve(handler, messages, lambda i: Context(handler, messages, i, None), asyncio.run)(i)


def given(handler: object, messages: Segment | None = None, **options: Any) -> Any:
    messages = messages or segment(b"value", keys=[b"key"])
    return call(handler_of(handler, **options), messages)


class Consumer:
    def consume(self, context: Context, key: str, value: str) -> tuple[int, str, str]:
        return context.offset, key, value


class Two:
    def consume(self, key, value):  # type: ignore[no-untyped-def]
        return key, value


async def coroutine(key: str, value: str) -> tuple[str, str]:
    await asyncio.sleep(0)
    return key, value


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (lambda k, v: (k, v), ("key", "value")),
        (lambda ctx, k, v: (ctx.offset, k, v), (10, "key", "value")),
        (Consumer(), (10, "key", "value")),
        (Two(), ("key", "value")),
        (with_handle(lambda k, v: (k, v)), ("key", "value")),
        (with_handle(Two().consume), ("key", "value")),
        (coroutine, ("key", "value")),
        (App("a").handler(topic="t")(coroutine), ("key", "value")),
    ],
)
def test_a_handler_of_any_form_is_given_key_and_value(handler: object, result: object) -> None:
    assert given(handler) == result


def passes_on(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def adds_a_session(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(key, value):  # type: ignore[no-untyped-def]
        return function(key, value, "session")

    return wrapper


def with_session(key, value, session):  # type: ignore[no-untyped-def]
    return key, value, session


def test_a_decorated_handler_is_called_by_what_its_wrapper_takes() -> None:
    assert given(passes_on(lambda k, v: (k, v))) == ("key", "value")
    assert given(passes_on(lambda ctx, k, v: (ctx.offset, k, v))) == (10, "key", "value")
    assert given(adds_a_session(with_session)) == ("key", "value", "session")
    assert given(passes_on(adds_a_session(with_session))) == ("key", "value", "session")


@pytest.mark.parametrize("handler", [with_session, lambda k, v, session: None])
def test_an_argument_that_a_decorator_adds_unseen_is_refused(handler: object) -> None:
    with pytest.raises(ConfigError, match=r"a decorator around it takes \*args and \*\*kwargs, so"):
        handler_of(passes_on(handler))


def test_a_handler_may_ask_for_the_message_with_its_headers() -> None:
    def handler(message: Message[str]) -> object:
        return message.value, message.headers

    assert given(handler, segment(b"v", headers=TRACED)) == ("v", TRACED[0])


def test_the_context_has_the_headers() -> None:
    assert given(lambda ctx, k, v: ctx.headers, segment(b"v", headers=TRACED)) == TRACED[0]


def test_a_message_without_a_key_has_the_empty_one() -> None:
    assert given(lambda k, v: (k, v), segment(b"v")) == ("", "v")


def test_annotations_count_as_in_every_handler() -> None:
    def handler(key: bytes, value: dict) -> object:  # type: ignore[type-arg]
        return key, value

    assert given(handler, segment(b'{"a": 1}', keys=[b"\xff"])) == (b"\xff", {"a": 1})


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (3, "3 is no handler: give a function"),
        (with_handle(3), r"with_handle\(3\): it is not a function"),  # type: ignore[arg-type]
        (with_handle(3), r"it is not a function$"),  # type: ignore[arg-type]
        (
            with_handle(Consumer()),  # type: ignore[arg-type]
            r"not a function: give the object itself: must_new_queue\(conf, Consumer\(…\)\)$",
        ),
        (
            with_handle(Consumer),
            r"^with_handle\(Consumer\): Consumer is a class: give a function, or an object of",
        ),
        (Consumer, "^Consumer is a class: give an object of it$"),
        (App, "^App is a class: give an object of it$"),
        (lambda: None, "it takes no parameters for the message"),
        (lambda a, b, c, d: None, "it takes 4 parameters for the message"),
    ],
)
def test_what_cannot_handle_is_refused(handler: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        app(handler)


def context_as_object(a: object, k, v):  # type: ignore[no-untyped-def]
    return a.offset, k, v  # type: ignore[attr-defined]


def context_as_any(a: Any, k: str, v: str) -> object:
    return a.offset, k, v


def context_in_between(k: str, c: Context, v: str) -> object:
    return c.offset, k, v


def context_by_place(*, a, key, value):  # type: ignore[no-untyped-def]
    return a.offset, key, value


@pytest.mark.parametrize(
    "handler", [context_as_object, context_as_any, context_in_between, context_by_place]
)
def test_the_first_of_three_is_the_context_unless_another_one_is(handler: object) -> None:
    assert given(handler) == (10, "key", "value")


def number_first(v: int, w, x):  # type: ignore[no-untyped-def]
    raise AssertionError


def message_first(m: Message, key: str, value: str) -> object:
    raise AssertionError


def key_first(key, value, extra):  # type: ignore[no-untyped-def]
    raise AssertionError


@pytest.mark.parametrize(
    ("handler", "name"), [(number_first, "v"), (message_first, "m"), (key_first, "key")]
)
def test_what_is_something_else_is_not_given_the_context(handler: object, name: str) -> None:
    said = f"'{name}' would be given the context, as the first of three: annotate the one that is"
    with pytest.raises(ConfigError, match=said):
        app(handler)


def context_and_value(ctx, value):  # type: ignore[no-untyped-def]
    raise AssertionError


def test_a_context_is_no_key() -> None:
    with pytest.raises(ConfigError, match="'ctx' would be given the key or the value as text"):
        app(context_and_value)


def unclear(k: int, v: str) -> None: ...
def two_messages(key: str, value: Message) -> None: ...
def star(*values: str) -> None: ...
def out_of_reach(key: str = "", n: int = 0, c: Context = ..., /) -> None: ...  # type: ignore[assignment]


@pytest.mark.parametrize(
    "handler",
    [number_first, unclear, two_messages, star, out_of_reach, min, lambda: None],
)
def test_a_refused_handler_is_told_the_forms_of_a_queue(handler: object) -> None:
    with pytest.raises(ConfigError) as caught:
        app(handler)

    assert str(caught.value).endswith(
        ": a handler takes (key, value) or (context, key, value), named so unless both are text, "
        "or (message: Message)"
    )


def test_a_lambda_is_called_as_the_queue() -> None:
    assert handler_of(lambda k, v: None).name == "shop"


# -- the trace


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_handler_pushes_is_in_the_trace_of_its_message(asynchronous: bool) -> None:
    async def later(key: str, value: str) -> object:
        return trace_headers()

    found = given(
        later if asynchronous else lambda k, v: trace_headers(), segment(b"v", headers=TRACED)
    )

    assert found == (("traceparent", TRACE.encode()),)
    assert trace_headers() == ()


def test_a_message_without_headers_beside_one_with_some_has_no_trace() -> None:
    handler = handler_of(lambda k, v: trace_headers())

    assert call(handler, segment(b"a", b"b", headers=[*TRACED, None]), 1) == ()


# -- metrics


class Counts:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)


def fail(key: str, value: str) -> None:
    raise KeyError(value)


async def fail_later(key: str, value: str) -> None:
    raise KeyError(value)


@pytest.mark.parametrize("handler", [fail, fail_later])
def test_each_attempt_is_counted_failed_or_not(handler: object) -> None:
    counts = Counts()

    given(lambda k, v: None, metrics=counts)
    given(coroutine, metrics=counts)
    with pytest.raises(KeyError):
        given(handler, metrics=counts)

    assert len(counts.seconds) == 3 and all(seconds >= 0 for seconds in counts.seconds)


class Broken:
    def add(self, seconds: float) -> None:
        raise SystemExit("no metrics")


class Unawaited:
    async def add(self, seconds: float) -> None: ...


@pytest.mark.parametrize("handler", [lambda k, v: v, coroutine])
@pytest.mark.parametrize(
    ("metrics", "said"), [(Broken(), "no metrics"), (Unawaited(), "metrics returned a coroutine")]
)
def test_metrics_that_fail_change_nothing(
    handler: object, metrics: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    given(handler, metrics=metrics)

    assert said in caplog.text


# -- the error handler


@pytest.mark.parametrize("handler", [fail, fail_later])
def test_an_error_handler_hears_of_a_failure_and_the_failure_stays(handler: object) -> None:
    heard: list[tuple[Context, Message[bytes | None], BaseException]] = []

    with pytest.raises(KeyError, match="value") as caught:
        given(
            handler,
            segment(b"value", keys=[b"key"], timestamp=1500, headers=TRACED),
            error_handler=lambda *told: heard.append(told),
        )

    ((context, message, error),) = heard
    assert error is caught.value
    assert context.offset == 10
    assert message == Message(b"value", b"key", "orders", 2, 10, 1.5, TRACED[0])


@pytest.mark.parametrize("handler", [fail, fail_later])
def test_what_an_error_handler_hears_of_begins_in_the_handler(handler: object) -> None:
    heard: list[str] = []

    def tell(context: Context, message: object, error: BaseException) -> None:
        heard.extend(frame.name for frame in traceback.extract_tb(error.__traceback__))

    with pytest.raises(KeyError):
        given(handler, error_handler=tell)

    assert heard == [handler.__name__]  # type: ignore[attr-defined]


def test_an_error_handler_hears_of_what_cannot_be_decoded() -> None:
    heard: list[BaseException] = []

    with pytest.raises(DecodeError):
        given(
            lambda k, v: None,
            segment(b"\xff"),
            error_handler=lambda context, message, error: heard.append(error),
        )

    assert isinstance(heard[0], DecodeError)


def test_an_error_handler_needs_to_know_when_a_message_was_written() -> None:
    def handle(key: str, value: str) -> None: ...

    assert handler_of(handle, error_handler=lambda *told: None).needs_timestamps
    assert not handler_of(handle).needs_timestamps


def test_an_error_handler_is_in_the_trace_of_the_message() -> None:
    heard: list[object] = []

    with pytest.raises(KeyError):
        given(
            fail,
            segment(b"v", headers=TRACED),
            error_handler=lambda context, message, error: heard.append(trace_headers()),
        )

    assert heard == [(("traceparent", TRACE.encode()),)]


def test_beside_an_async_handler_an_error_handler_may_be_async() -> None:
    heard: list[BaseException] = []

    async def tell(context: Context, message: object, error: BaseException) -> None:
        await asyncio.sleep(0)
        heard.append(error)

    with pytest.raises(KeyError):
        given(fail_later, error_handler=tell)
    assert len(heard) == 1
    with pytest.raises(ConfigError, match="its error handler is async, and the handler is not"):
        given(fail, error_handler=tell)


def returned(key: str, value: str) -> object:
    return KeyError(value)


async def returned_later(key: str, value: str) -> object:
    return KeyError(value)


def returned_after_all(key: str, value: str) -> object:
    try:
        fail(key, value)
    except KeyError as error:
        return error


@pytest.mark.parametrize("handler", [returned, returned_later, returned_after_all])
def test_an_exception_that_is_returned_is_one_that_was_raised(handler: object) -> None:
    heard: list[BaseException] = []

    with pytest.raises(KeyError) as caught:
        given(handler, error_handler=lambda context, message, error: heard.append(error))

    assert heard == [caught.value]


@pytest.mark.parametrize("handler", [returned, returned_later, returned_after_all])
def test_a_worker_takes_an_exception_that_is_returned_for_a_failure(handler: object) -> None:
    made = handler_of(handler)

    with pytest.raises(KeyError, match="value"):
        made.encode_result(call(made, segment(b"value")))


def unrun(key: str, value: str) -> object:
    return (letter for letter in value)


async def unrun_later(key: str, value: str) -> object:
    return (letter for letter in value)


@pytest.mark.parametrize("handler", [unrun, unrun_later, lambda k, v: coroutine(k, v)])
@pytest.mark.parametrize("telling", [True, False])
def test_work_that_is_returned_and_has_not_run_is_a_failure_and_the_error_handler_hears_of_it(
    handler: object, telling: bool
) -> None:
    heard: list[BaseException] = []
    tell = (lambda context, message, error: heard.append(error)) if telling else None
    made = handler_of(handler, error_handler=tell)

    with pytest.raises(TypeError, match="the handler returned a") as caught:
        made.encode_result(call(made, segment(b"value")))

    assert heard == ([caught.value] if telling else [])


@pytest.mark.parametrize("handler", [fail, fail_later])
@pytest.mark.parametrize("tell", [unrun, lambda *told: coroutine("k", "v")])
def test_an_error_handler_whose_work_has_not_run_is_told(
    handler: Any, tell: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError, match="value"):
        given(handler, error_handler=lambda context, message, error: tell("k", "v"))

    if handler is fail_later and tell is not unrun:
        assert caplog.text == ""  # it was awaited
    else:
        assert "the error handler returned a" in caplog.text


@pytest.mark.parametrize("result", [3, "x", b"x", False, KeyError, object()])
def test_what_else_a_handler_returns_is_ignored(result: object) -> None:
    heard: list[object] = []
    made = handler_of(lambda k, v: result, error_handler=lambda *told: heard.append(told))

    assert made.encode_result(call(made, segment(b"v"))) is None
    assert heard == []


def raising(*told: object) -> None:
    raise SystemExit("worse")


async def raising_later(*told: object) -> None:
    raise SystemExit("worse")


@pytest.mark.parametrize(
    ("handler", "error_handler"),
    [(fail, raising), (fail_later, raising), (fail_later, raising_later)],
)
def test_an_error_handler_that_raises_hides_nothing(
    handler: object, error_handler: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError, match="value"):
        given(handler, error_handler=error_handler)

    (record,) = caplog.records
    where = "{topic}[{partition}]@{offset}".format(**vars(record))
    assert record.getMessage() == f"the error handler failed on {where}"
    # Of both errors only what the user has written.
    assert "in raising" in caplog.text and "in fail" in caplog.text
    assert "kqworker/kq/queue/consuming.py" not in caplog.text and "binding.py" not in caplog.text
    assert (vars(record)["partition"], vars(record)["offset"]) == (2, 10)


def pushing(context: Context, message: object, error: object) -> None:
    context.push("t", b"")


async def pushing_later(context: Context, message: object, error: object) -> None:
    context.push("t", b"")


@pytest.mark.parametrize(
    ("handler", "error_handler"),
    [(fail, pushing), (fail_later, pushing), (fail_later, pushing_later)],
)
def test_an_error_handler_cannot_push_by_the_context(
    handler: object, error_handler: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        given(handler, error_handler=error_handler)

    assert "an error handler cannot push" in caplog.text


@pytest.mark.parametrize("handler", [fail, fail_later])
def test_what_could_not_be_printed_is_no_failure_to_tell_of(
    handler: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kqworker.kq.queue.consuming.lost_by", lambda error: Lost(1, "full"))
    told: list[object] = []

    with pytest.raises(KeyError):
        given(handler, error_handler=lambda *arguments: told.append(arguments))

    assert told == []


# -- the way to the workers


def test_a_handler_of_a_closure_travels_with_all_that_it_refers_to() -> None:
    suffix = "!"
    sent = cloudpickle.dumps(app(lambda k, v: v + suffix, metrics=Metrics("m")))

    (handler,) = pickle.loads(sent).handlers

    assert call(handler, segment(b"v")) == "v!"


def test_a_handler_that_is_named_is_imported_with_what_cannot_be_pickled() -> None:
    from tests.kq.consumers import locked

    made = app(locked, reference="tests.kq.consumers:locked")

    (handler,) = pickle.loads(cloudpickle.dumps(made)).handlers

    assert made.module == "tests.kq.consumers"
    assert handler.function.__self__ is locked
    assert call(handler, segment(b"v", keys=[b"k"])) == ("k", "v")


class Writes(io.RawIOBase):
    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.seen.append(bytes(data))
        return len(data)


@pytest.mark.parametrize("unbuffered", [False, True])
def test_workers_print_each_line_at_once_and_whole(
    monkeypatch: pytest.MonkeyPatch, unbuffered: bool
) -> None:
    raw = Writes()
    # As Python sets it up for a pipe, without and with PYTHONUNBUFFERED.
    below: Any = raw if unbuffered else io.BufferedWriter(raw)
    out = io.TextIOWrapper(below, encoding="utf-8", write_through=unbuffered)
    monkeypatch.setattr(sys, "stdout", out)

    _print_at_once()
    print("=> 1")
    print("=> 2")

    assert raw.seen == [b"=> 1\n", b"=> 2\n"]
