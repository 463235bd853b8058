"""Exceptions as text: what leaves a worker is never pickled, and never long.

Decides where a traceback begins (at the user's own frame) and what is cut. Survives
whatever a hostile exception does. Tested by tests/runtime/test_failures.py.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from kqworker.types import Failure

TEXT_SIZE: Final = 4 << 10
TRACEBACK_SIZE: Final = 16 << 10
_CUT: Final = b"\n[...]\n"
_OURS: Final = str(Path(__file__).parent.parent)


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
        # The end of a traceback says most.
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
        lines = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
    except BaseException:  # formatting asks the exception for its text and its notes
        return ""
    return "".join(lines)


def _users_part(tb: TracebackType | None) -> TracebackType | None:
    """Skip our frames; if there are no others, there is no traceback to show."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OURS):
        tb = tb.tb_next
    return tb
