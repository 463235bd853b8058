"""What a call returns that has run nothing: no result, and no message handled."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import functools
import inspect
import itertools
import multiprocessing.pool
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, NamedTuple

import pytest

from kqworker import App, ConfigError, Reject, RetryLater
from kqworker.app.payload import refuse_unrun
from tests.app.segments import given, made, no_context, segment

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def generator(value: str) -> Iterator[str]:
    ran.append(value)
    yield value


async def async_generator(value: str) -> AsyncIterator[str]:
    ran.append(value)
    yield value


async def coroutine(value: str) -> None:
    ran.append(value)


class Awaitable:
    def __await__(self) -> Generator[None]:
        ran.append("awaited")
        yield


@contextlib.contextmanager
def manager(value: str) -> Iterator[None]:
    ran.append(value)
    yield


@contextlib.asynccontextmanager
async def async_manager(value: str) -> AsyncIterator[None]:
    ran.append(value)
    yield


class Elsewhere:
    """A generator that is none of Python's own, such as Cython's."""

    def __iter__(self) -> Elsewhere:
        return self

    def __next__(self) -> str:
        ran.append("next")
        return ""

    def send(self, value: object) -> str:
        return next(self)

    def throw(self, *error: object) -> None: ...

    def close(self) -> None: ...


class Cursor:
    """What asks nobody before it is gone through."""

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> str:
        ran.append("next")
        return ""


def decorator_without_its_parentheses(attempts: object) -> Callable[..., object]:
    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        return function

    return decorate


def future(value: str) -> object:
    return concurrent.futures.Future()


UNRUN: list[tuple[Callable[[str], object], str]] = [
    (generator, "a generator, whose work nobody has run: return one value, or push several"),
    (async_generator, "an async generator, whose work nobody has run: return one value, or"),
    (lambda value: Elsewhere(), "a generator, whose work nobody has run: return one value, or"),
    (lambda value: Cursor(), "a Cursor, whose work nobody has run: go through it in the handler"),
    (coroutine, "a coroutine: write async def, and await it there"),
    (lambda value: Awaitable(), "a Awaitable, whose work nobody has run: write async def, and"),
    (future, "a concurrent.futures._base.Future, whose work nobody has run: wait for it in"),
    (lambda value: map(ran.append, [value]), "a map, whose work nobody has run: go through it"),
    (lambda value: itertools.starmap(ran.append, [[value]]), "an itertools.starmap, whose"),
    (lambda value: functools.partial(ran.append, value), "a functools.partial, whose work"),
    (decorator_without_its_parentheses, "a function, whose work nobody has run: call it in"),
    (manager, "a context manager, whose work nobody has run: use it in the handler, by with"),
    (async_manager, "a context manager, whose work nobody has run: use it in the handler, by"),
]


def wrapped(function: Callable[[str], object]) -> Callable[[str], object]:
    @functools.wraps(function)
    def wrapper(value: str) -> object:
        return function(value)

    return wrapper


@pytest.mark.parametrize(("function", "text"), UNRUN)
@pytest.mark.parametrize("output", [None, "out"])
def test_work_that_nobody_has_run_is_a_failure_and_no_result(
    function: Callable[[str], object], text: str, output: str | None
) -> None:
    handler = made(lambda value: function(value), name="handler", output=output)

    with pytest.raises(TypeError) as caught:
        handler.encode_result(handler("a"))

    assert f"the handler returned {text}" in str(caught.value).replace("tests.app.test_unrun.", "")
    assert ran == []


@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_wrapper_around_a_generator_is_taken_and_fails_with_each_message(
    function: Callable[[str], object],
) -> None:
    handler = made(wrapped(function))

    with pytest.raises(TypeError, match="generator, whose work nobody has run"):
        handler.encode_result(handler.bind(segment(b"a"), no_context)(0))


@pytest.mark.parametrize("result", [generator, async_generator, coroutine, future])
def test_what_an_async_handler_returns_must_have_run_too(
    result: Callable[[str], object],
) -> None:
    async def handle(value: str) -> object:
        return result(value)

    handler = made(handle)
    finished: Any = handler.bind(segment(b"a"), no_context)(0)

    with pytest.raises(TypeError, match="the handler returned a"):
        handler.encode_result(asyncio.run(finished))
    assert ran == []


def test_a_task_that_is_returned_is_cancelled_with_its_attempt() -> None:
    async def attempt() -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine("late"))
        with pytest.raises(TypeError, match="wait for it in the handler"):
            made(coroutine).encode_result(task)
        await asyncio.wait([task])
        return task

    assert asyncio.run(attempt()).cancelled()
    assert ran == []


@pytest.mark.parametrize(
    "result",
    [
        lambda: [coroutine("a")],
        lambda: ({"saved": [1, {"later": (future("a"),)}]}, 2),
        lambda: {functools.partial(ran.append, "a")},
        lambda: [1] * 500 + [generator("a")],
    ],
)
def test_work_within_a_result_that_nobody_takes_is_a_failure(
    result: Callable[[], object],
) -> None:
    with pytest.raises(TypeError, match="the handler returned a"):
        made(coroutine).encode_result(result())

    assert ran == []


class Saved(NamedTuple):
    key: str
    later: object


@pytest.mark.parametrize(
    "result",
    [
        lambda: Saved("a", coroutine("a")),
        lambda: collections.OrderedDict(a=coroutine("a")),
        lambda: collections.deque([coroutine("a")]),
        lambda: {"a": coroutine("a")}.values(),
        lambda: {coroutine("a"): "a"},
    ],
)
def test_so_it_is_within_whatever_holds_it(result: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="the handler returned a coroutine"):
        made(coroutine).encode_result(result())


@pytest.mark.parametrize("submit", ["apply_async", "map_async", "imap", "imap_unordered"])
def test_what_a_pool_has_been_given_must_be_waited_for(submit: str) -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        work = ([],) if submit == "apply_async" else ([[]],)
        result = getattr(pool, submit)(len, *work)

        with pytest.raises(TypeError, match=r"returned a multiprocessing.*: wait for it in"):
            made(coroutine).encode_result(result)
        with pytest.raises(TypeError, match=r"returned a multiprocessing.*: wait for it in"):
            made(coroutine, output="out").encode_result(result)


@pytest.mark.parametrize("module", ["greenlet", "dask.delayed"])
def test_so_must_what_other_libraries_run_later(module: str) -> None:
    base = type("greenlet" if module == "greenlet" else "Delayed", (), {"__module__": module})
    result = type("Later", (base,), {})()

    with pytest.raises(TypeError, match="Later, whose work nobody has run: wait for it in"):
        made(coroutine).encode_result(result)


def test_each_future_of_a_list_is_cancelled_with_its_attempt() -> None:
    futures = [concurrent.futures.Future[None](), concurrent.futures.Future[None]()]

    with pytest.raises(TypeError, match="the handler returned a"):
        made(coroutine).encode_result(futures)

    assert [future.cancelled() for future in futures] == [True, True]


@pytest.mark.parametrize("error", [ValueError("no"), Reject("no"), RetryLater(1), SystemExit()])
def test_an_error_that_is_returned_and_not_raised_is_a_failure(error: BaseException) -> None:
    name = type(error).__name__

    with pytest.raises(TypeError, match=rf"returned a [a-z.]*{name} and did not raise it"):
        made(coroutine).encode_result(error)
    with pytest.raises(TypeError, match=name):
        made(coroutine, output="out").encode_result(error)


def test_so_is_one_among_the_results_of_many_calls() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def handle() -> object:
        return await asyncio.gather(fail(), asyncio.sleep(0), return_exceptions=True)

    with pytest.raises(TypeError, match="returned a ValueError and did not raise it"):
        made(coroutine).encode_result(asyncio.run(handle()))
    with pytest.raises(TypeError, match="returned a ValueError and did not raise it"):
        made(coroutine).encode_result((None, ValueError("as Go does")))


def test_a_result_that_nobody_takes_may_be_whatever_has_run() -> None:
    ended: dict[str, object] = {"a": [1, "b", None], "c": (object(), int, {b"d"})}
    ended["all"] = ended  # whoever looks at it must come to an end

    assert made(coroutine).encode_result(ended) is None


@pytest.mark.parametrize("result", [0, False, "", b"x", [1], {"a": 1}, (), {1}, 1.5, object(), int])
def test_any_other_result_is_one(result: object) -> None:
    refuse_unrun(result)


class Objects:
    def method(self, value: str) -> Iterator[str]:
        yield value

    async def async_method(self, value: str) -> AsyncIterator[str]:
        yield value

    def __call__(self, value: str) -> Iterator[str]:
        yield value


@pytest.mark.parametrize(
    "function",
    [
        generator,
        async_generator,
        Objects().method,
        Objects().async_method,
        Objects(),
        functools.partial(Objects()),
        functools.partial(functools.partial(Objects().method)),
        functools.lru_cache(generator),
    ],
)
def test_a_yield_that_can_be_seen_is_refused_at_decoration(function: Any) -> None:
    with pytest.raises(ConfigError, match="it has a yield, so a call would run nothing"):
        made(function, name="it")


def test_an_async_wrapper_around_a_plain_function_is_awaited() -> None:
    def plain(value: str) -> str:
        return value.upper()

    @functools.wraps(plain)
    async def wrapper(value: str) -> str:
        return plain(value)

    handler = made(wrapper)

    assert handler.is_async
    assert asyncio.run(given(wrapper, b"a")) == "A"


@pytest.mark.parametrize("kind", ["on_worker_start", "on_worker_stop"])
def test_a_hook_whose_work_has_not_run_fails(kind: str) -> None:
    app = App("hooks")
    getattr(app, kind)(lambda: generator("a"))
    (hook,) = app.start_hooks + app.stop_hooks

    with pytest.raises(TypeError, match=f"@{kind} returned a generator, whose work nobody has"):
        hook()
    getattr(app, kind)(lambda: [future("a")])
    hook = (app.start_hooks + app.stop_hooks)[1]
    with pytest.raises(TypeError, match=f"@{kind} returned a concurrent.futures"):
        hook()
    with pytest.raises(ConfigError, match="it has a yield"):
        getattr(app, kind)(functools.partial(generator, "a"))


def test_a_hook_may_return_its_coroutine() -> None:
    app = App("hooks")
    app.on_worker_start(lambda: coroutine("plain"))
    app.on_worker_start(functools.partial(coroutine, "partial"))

    for hook in app.start_hooks:
        result: Any = hook()
        assert inspect.iscoroutine(result)
        asyncio.run(result)

    assert ran == ["plain", "partial"]
