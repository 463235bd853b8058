"""What is no result, but work that nobody has run: a generator, a coroutine, a future.

A call that returns one has done nothing yet, and nobody will ever ask for the rest; to take
its message for handled would lose it. Decides what is such work, and what to write instead.
Tested by tests/app/test_unrun.py.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Iterator

# What nearly all results are; asked first, so that they cost nothing.
_RESULTS = frozenset({bool, int, float, str, bytes, dict, list, tuple})
_FUNCTIONS = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    functools.partial,
)


def refuse_unrun(result: object, who: str = "the handler") -> None:
    """Raise where a result is work that nobody has run, and see that nobody will.

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
            result.close()  # or it would warn that nobody awaited it
            raise TypeError(f"{who} returned a coroutine: write async def, and await it there")
        case types.GeneratorType():
            result.close()
            what, remedy = "generator", "return one value, or push several by Context.push"
        case types.AsyncGeneratorType():
            what, remedy = "async generator", "return one value, or push several by Context.push"
        case _ if callable(getattr(type(result), "add_done_callback", None)):
            # It would go on beside the next attempt.
            with contextlib.suppress(Exception):
                result.cancel()  # type: ignore[attr-defined]
            what, remedy = _name(result), "wait for it in the handler: its result(), or await"
        case _ if inspect.isawaitable(result):
            what, remedy = _name(result), "write async def, and await it there"
        case Iterator() if type(result).__module__ in ("builtins", "itertools"):
            what, remedy = _name(result), "go through it in the handler, or return a list of it"
        case _ if isinstance(result, _FUNCTIONS):
            what, remedy = _name(result), "call it in the handler; a decorator may lack its ()"
        case contextlib.AbstractContextManager() if type(result).__module__ == "contextlib":
            what, remedy = "context manager", "use it in the handler, by with"
        case contextlib.AbstractAsyncContextManager() if type(result).__module__ == "contextlib":
            what, remedy = "context manager", "use it in the handler, by async with"
        case _:
            return
    article = "an" if what[0] in "aeiou" else "a"
    raise TypeError(f"{who} returned {article} {what}, whose work nobody has run: {remedy}")


def _name(result: object) -> str:
    kind = type(result)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"
