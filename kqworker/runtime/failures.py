"""Exceptions as text: what leaves a worker is never pickled, and never long.

Decides where a traceback begins (at the user's own frame) and what is cut. Survives
everything that a hostile exception does. Tested by tests/runtime/test_failures.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from kqworker.types import Failure

TEXT_SIZE: Final = 4 << 10
TRACEBACK_SIZE: Final = 16 << 10
_CUT: Final = b"\n[...]\n"
# Asyncio's frames stand between our frames and a coroutine.
_NOT_THEIRS: Final = (
    f"{Path(__file__).parent.parent}/",
    f"{Path(traceback.__file__).parent}/asyncio/",
)


def describe(error: BaseException) -> Failure:
    """Return an exception as a failure, its text and traceback capped."""
    try:
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        return Failure(
            cut(name, TEXT_SIZE), cut(_text(error), TEXT_SIZE), cut(_trace(error), TRACEBACK_SIZE)
        )
    except BaseException:  # its class lies, or memory is out: the message has failed all the same
        return Failure("Exception", "an exception that cannot be described")


def cut(text: str, size: int) -> str:
    """Return text of at most `size` bytes in UTF-8, without its middle if it is longer.

    >>> cut("a" * 100, 20)
    'aaaaaa\\n[...]\\naaaaaaa'
    """
    # A lone surrogate has no bytes.
    data = text.encode("utf-8", "replace")
    if len(data) > size:
        # The end of a traceback says the most.
        head = (size - len(_CUT)) // 2
        tail = size - len(_CUT) - head
        data = data[:head] + _CUT + data[-tail:]
    return data.decode("utf-8", "ignore")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as failure:  # the user's own __str__ may raise anything
        return f"(its text cannot be shown: __str__ raised {type(failure).__name__})"


def _trace(error: BaseException) -> str:
    try:
        theirs = users_part(error.__traceback__)
        chain = any(users_part(reason.__traceback__) for reason in reasons(error))
        if theirs is None and not chain:
            return ""  # no part of it is the user's: a payload, and its parser
        lines = traceback.format_exception(type(error), error, theirs, chain=chain)
    except BaseException:  # formatting asks the exception for its text and its notes
        return ""
    return "".join(lines)


def reasons(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that an exception comes from, the nearest first."""
    seen = {id(error)}
    while True:
        shown = None if error.__suppress_context__ else error.__context__
        reason = error.__cause__ or shown
        if reason is None or id(reason) in seen:
            return
        seen.add(id(reason))
        yield reason
        error = reason


def users_part(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the user's first frame on; None if there is none."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
        tb = tb.tb_next
    return tb
