"""Middleware: who is called around whom, with what, and what may not be mixed."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import cloudpickle
import pytest

from kqworker import App, ConfigError, Context, DecodeError
from kqworker.app.around import serve
from tests.app.segments import segment

Calls = list[object]


def result_of(app: App, value: bytes = b"v", handler: int = 0) -> Any:
    """Return what a worker takes for the result of a message."""
    served = app.handlers[handler]
    messages = segment(b"before", value)
    return serve(served, messages, lambda i: Context(served, messages, i, None), asyncio.run)(1)


def noting(calls: Calls, name: str) -> Callable[[Context, Callable[[], Any]], object]:
    def middleware(context: Context, call: Callable[[], Any]) -> object:
        calls.append((name, "begins", context.offset))
        result = call()
        calls.append((name, "ends", result))
        return result

    return middleware


def noting_async(calls: Calls, name: str) -> Callable[[Context, Callable[[], Any]], object]:
    async def middleware(context: Context, call: Callable[[], Awaitable[Any]]) -> object:
        await asyncio.sleep(0)
        calls.append((name, "begins", context.offset))
        result = await call()
        calls.append((name, "ends", result))
        return result

    return middleware


def test_the_first_declared_is_the_outermost_wherever_the_handler_stands() -> None:
    app, calls = App("around"), Calls()
    app.middleware(noting(calls, "outer"))
    app.handler(topic="a", name="a")(lambda value: calls.append("handled") or "done")
    app.middleware(noting(calls, "inner"))
    app.handler(topic="b", name="b")(lambda value: calls.append("handled") or "done")

    for handler in (0, 1):
        calls.clear()
        assert result_of(app, handler=handler) == "done"
        assert calls == [
            ("outer", "begins", 11),
            ("inner", "begins", 11),
            "handled",
            ("inner", "ends", "done"),
            ("outer", "ends", "done"),
        ]


def test_around_an_async_handler_what_is_not_async_sees_its_result() -> None:
    app, calls = App("around"), Calls()
    app.middleware(noting(calls, "outer"))
    app.middleware(noting_async(calls, "inner"))

    @app.handler(topic="a")
    async def handle(value: str) -> str:
        await asyncio.sleep(0)
        return value.upper()

    assert result_of(app) == "V"
    assert calls == [
        ("outer", "begins", 11),
        ("inner", "begins", 11),
        ("inner", "ends", "V"),
        ("outer", "ends", "V"),
    ]
    assert asyncio.run(handle("plain")) == "PLAIN"
    assert len(calls) == 4  # a plain call has nothing around it


def test_a_plain_wrapper_around_an_async_middleware_is_async() -> None:
    app, calls = App("around"), Calls()
    inside = noting_async(calls, "wrapped")

    @functools.wraps(inside)
    def wrapper(*arguments: Any) -> object:
        return inside(*arguments)

    app.middleware(wrapper)

    @app.handler(topic="a")
    async def handle(value: str) -> str:
        return value

    assert result_of(app) == "v"
    assert calls == [("wrapped", "begins", 11), ("wrapped", "ends", "v")]


def test_what_it_raises_and_returns_counts_and_the_handler_need_not_be_called() -> None:
    app = App("around")

    @app.middleware
    def refuse(context: Context, call: Callable[[], object]) -> object:
        return "skipped" if context.headers else call()

    @app.middleware
    def translate(context: Context, call: Callable[[], object]) -> object:
        try:
            return call()
        except DecodeError as error:
            raise LookupError("not a number") from error

    @app.handler(topic="a")
    def handle(value: int) -> int:
        return value + 1

    assert result_of(app, b"1") == 2
    with pytest.raises(LookupError, match="not a number"):
        result_of(app, b"x")
    (served,) = app.handlers
    with_headers = segment(b"x", headers=[[("h", b"1")]])
    call = serve(
        served, with_headers, lambda i: Context(served, with_headers, i, None), asyncio.run
    )
    assert call(0) == "skipped"


def test_a_handler_sees_what_is_set_around_it() -> None:
    session: ContextVar[str] = ContextVar("session", default="none")
    app, seen = App("around"), []

    @asynccontextmanager
    async def opened() -> Any:
        token = session.set("open")
        yield
        session.reset(token)

    @app.middleware
    async def in_session(context: Context, call: Callable[[], Awaitable[object]]) -> object:
        async with opened():
            return await call()

    @app.handler(topic="a")
    async def handle(value: str) -> None:
        seen.append(session.get())

    result_of(app)
    assert seen == ["open"]
    assert session.get() == "none"


def test_an_app_with_middleware_travels() -> None:
    app = App("around")
    app.middleware(lambda context, call: f"<{call()}>")
    app.handler(topic="a", name="a")(lambda value: "x")
    copy: App = cloudpickle.loads(cloudpickle.dumps(app))

    assert result_of(copy) == "<x>"


def one(context: Context) -> None: ...


def yielding(context: Context, call: Callable[[], object]) -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (3, "it must be a function (context, call): 3 is not a callable object"),
        (one, "it must be a function (context, call): too many positional arguments"),
        (yielding, "it has a yield, so a call would run nothing: call `call()` in its place"),
    ],
)
def test_what_cannot_be_middleware_is_refused(function: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"@middleware: {text}")):
        App("around").middleware(function)


@pytest.mark.parametrize("middleware_first", [True, False])
def test_async_middleware_and_a_handler_that_is_not_are_refused(middleware_first: bool) -> None:
    app = App("around")

    def handle(value: str) -> None: ...

    steps: list[Callable[[], object]] = [
        lambda: app.middleware(noting_async([], "a")),
        lambda: app.handler(topic="a")(handle),
    ]
    first, second = steps if middleware_first else reversed(steps)
    first()
    here = re.escape("test_around.py")
    with pytest.raises(
        ConfigError,
        match=rf"{here}:\d+: handler .*handle: it is not async, and the middleware at "
        rf".*{here}:\d+ is: make both async, or neither",
    ):
        second()


def test_what_is_not_async_cannot_be_inside_of_what_is() -> None:
    app = App("around")
    app.middleware(noting_async([], "a"))

    with pytest.raises(ConfigError, match=r"it is not async, and the one at .* is: declare it be"):
        app.middleware(noting([], "b"))


def test_a_handler_without_any_is_called_as_it_is_bound() -> None:
    app = App("around")
    app.handler(topic="a", name="a")(lambda value: "x")
    (served,) = app.handlers
    messages = segment(b"v")
    bound = served.bind(messages, lambda i: Context(served, messages, i, None))
    call = serve(served, messages, lambda i: Context(served, messages, i, None), asyncio.run)

    assert call.__code__ is bound.__code__
