"""Returned work that nobody has run, which is no result: a generator, a coroutine, a future.

A call that returns one has done nothing yet, and nobody will ever run the rest. If its message
counted as handled, it would be lost. The same holds for an error that was returned and not
raised. Decides what is such work, and what to write instead.
Tested by tests/app/test_unrun.py.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, ValuesView
from itertools import chain, islice

# The types of nearly all results; tested first, so that they cost nothing.
_RESULTS = frozenset({bool, int, float, str, bytes, dict, list, tuple})
_FUNCTIONS = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    functools.partial,
)

_CONTAINERS = (list, tuple, set, frozenset, dict, deque, ValuesView)
_PLAIN = _RESULTS.difference(_CONTAINERS)
# Like futures, but without their method; found by name, because this must not import them.
_LIKE_FUTURES = frozenset(
    {
        "multiprocessing.pool.ApplyResult",
        "multiprocessing.pool.IMapIterator",
        "greenlet.greenlet",  # gevent's and eventlet's, too
        "dask.delayed.Delayed",
    }
)
# How many parts of an unused result are looked at: most results have one kind of part.
_PARTS = 1000


def refuse_untaken(result: object, who: str = "the handler") -> None:
    """Raise if a result that is not used says that its message is not handled.

    Args:
        result: What a function of the user's returned, and nothing uses.
        who: The function, for the error's text.

    Raises:
        TypeError: It is an error, or it is or holds work that nobody has run.
    """
    if type(result) in _PLAIN:
        return
    parts, seen = [result], 0
    first: TypeError | None = None
    while parts and seen < _PARTS:
        part = parts.pop()
        seen += 1
        if isinstance(part, _CONTAINERS):
            inner: Iterable[object] = part
            if isinstance(part, dict):
                inner = chain(part.values(), part)
            parts.extend(islice(inner, _PARTS))
        else:
            try:
                _refuse_returned(part, who)
                refuse_unrun(part, who)
            except TypeError as error:
                first = first or error  # the others are to be closed or cancelled, too
    if first is not None:
        raise first


def _refuse_returned(result: object, who: str) -> None:
    if isinstance(result, BaseException):
        raise TypeError(
            f"{who} returned {_with_article(_name(result))} and did not raise it, so nobody would "
            "know of it: raise it"
        )


def refuse_unrun(result: object, who: str = "the handler") -> None:
    """Raise if a result is work that nobody has run, and end that work where possible.

    Args:
        result: What a function of the user's returned.
        who: The function, for the error's text.

    Raises:
        TypeError: It is such work; the text says what to write instead.
    """
    if type(result) in _RESULTS:
        return
    match result:
        case types.CoroutineType():
            result.close()  # otherwise it would warn that nobody awaited it
            raise TypeError(f"{who} returned a coroutine: write async def, and await it there")
        case Generator():  # one of Cython's, too
            result.close()
            what, remedy = "generator", "return one value, or push several by Context.push"
        case AsyncGenerator():
            what, remedy = "async generator", "return one value, or push several by Context.push"
        case _ if callable(getattr(type(result), "add_done_callback", None)):
            # Otherwise it would go on beside the next attempt.
            with contextlib.suppress(Exception):
                result.cancel()  # type: ignore[attr-defined]
            what, remedy = _name(result), "wait for it in the handler: its result(), or await"
        case _ if inspect.isawaitable(result):
            what, remedy = _name(result), "write async def, and await it there"
        case AsyncIterator():
            what, remedy = _name(result), "go through it in the handler, by async for"
        case Iterator() if type(result).__module__ in ("builtins", "itertools"):
            what, remedy = _name(result), "go through it in the handler, or return a list of it"
        case _ if isinstance(result, _FUNCTIONS):
            what, remedy = _name(result), "call it in the handler; a decorator may lack its ()"
        case contextlib.AbstractContextManager() if type(result).__module__ == "contextlib":
            what, remedy = "context manager", "use it in the handler, by with"
        case contextlib.AbstractAsyncContextManager() if type(result).__module__ == "contextlib":
            what, remedy = "context manager", "use it in the handler, by async with"
        case _ if any(_full_name(kind) in _LIKE_FUTURES for kind in type(result).__mro__):
            what, remedy = _name(result), "wait for it in the handler, and return its result"
        case _:
            return
    raise TypeError(f"{who} returned {_with_article(what)}, whose work nobody has run: {remedy}")


def _with_article(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _name(result: object) -> str:
    return _full_name(type(result)).removeprefix("builtins.")


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
