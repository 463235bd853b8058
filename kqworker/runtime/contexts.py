"""The contexts (PEP 567) in which a worker runs: one for its hooks, a fresh one for each message.

A message sees the variables that the app's import and its start hooks have set, and nothing
that another message has set. Decimal's context is one of these variables, and can be changed
in place: so each message has one of its own.
Tested by tests/runtime/test_contexts.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

Fresh = Callable[[], Context]


def for_messages(hooks: Context) -> tuple[Context, Fresh]:
    """Return the context to run messages from, and what makes the one of each message in it.

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
        # Whoever computes with decimals gets a new one by itself.
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
