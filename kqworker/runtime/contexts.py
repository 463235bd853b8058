"""The contexts (PEP 567) in which a worker runs: one for its hooks, a fresh one for each message.

A message sees the variables that the app's import and its start hooks have set, and nothing
that another message has set. Decimal's context is one of these variables, and can be changed
in place: so each message has one of its own.

A context that names its message costs as much as everything else for a message that does
nothing. So a message that has left no trace in its context leaves it to the next one.
Tested by tests/runtime/test_contexts.py and test_invoke.py.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from sys import getrefcount
from typing import Any

from kqworker.app.context import Origin, current

Fresh = Callable[[], Context]

_probe: ContextVar[None] = ContextVar("kqworker_probe")


class Shared:
    """A context that names its message, for one message after the other.

    CPython keeps a context's variables in a table that never changes. A copy of the context
    holds the same table. To set a variable makes a new table, into which everything is copied
    that stands beside the variable at the table's top. So the count of the origin says that no
    other table has this message in it, neither this context's nor that of a copy; and then the
    count of the table says that only this context holds this table.

    Args:
        context: Not entered yet; named here.
    """

    __slots__ = ("context", "origin", "origins", "table", "tables")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.origin = Origin()
        context.run(current.set, self.origin)
        (self.table,) = gc.get_referents(context)
        self.tables, self.origins = getrefcount(self.table), getrefcount(self.origin)

    @property
    def untouched(self) -> bool:
        """Whether the next message may have it; the caller must not hold the origin itself."""
        return getrefcount(self.table) == self.tables and getrefcount(self.origin) == self.origins

    def tells(self) -> bool:
        """Return whether the counts show all that a message may do: another Python's may not."""
        (top,) = gc.get_referents(self.table)
        if not any(found is self.origin for found in gc.get_referents(top)):
            return False  # with many variables a table has parts, which others share
        copied = self.context.copy()
        seen = getrefcount(self.table) - self.tables, getrefcount(self.origin) - self.origins
        copied.run(_probe.set, None)
        then = getrefcount(self.table) - self.tables, getrefcount(self.origin) - self.origins
        return (seen, then) == ((1, 0), (0, 1))


def shared(fresh: Fresh) -> Shared | None:
    """Return a context for one message after the other; None if each needs one of its own.

    Args:
        fresh: Makes a message's context from the current one.
    """
    if fresh is not copy_context:
        return None  # there is more in it than the current one's variables
    try:
        made = Shared(fresh())
        return made if made.tells() else None
    except ValueError:  # a Python with other tables
        return None


def for_messages(hooks: Context) -> tuple[Context, Fresh]:
    """Return the context to run messages from, and what makes each message's context in it.

    Args:
        hooks: The context in which the start hooks have run.
    """
    decimal: Any = sys.modules.get("decimal")  # Any: apps without it need not load it
    base = Context()
    own = None
    for variable, value in hooks.items():
        if (
            decimal is not None
            and isinstance(value, decimal.Context)
            and "decimal" in variable.name
        ):
            own = value
        else:
            base.run(variable.set, value)
    if own is None or _settings(own) == _settings(decimal.DefaultContext):
        # Code that computes with decimals gets a new one by itself.
        return base, copy_context
    template = own.copy()
    template.clear_flags()

    def fresh() -> Context:
        context = copy_context()
        context.run(decimal.setcontext, template.copy())
        return context

    return base, fresh


def _settings(context: Any) -> tuple[object, ...]:  # Any: as above
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    return (*(getattr(context, name) for name in names), *context.traps.items())
