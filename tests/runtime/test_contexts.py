"""What of the hooks' context a message sees, and what it costs those who use no decimals."""

from __future__ import annotations

import decimal
from contextvars import Context, ContextVar, copy_context

from kqworker.runtime.contexts import Fresh, for_messages

variable = ContextVar("variable", default="unset")


def precision() -> int:
    return decimal.getcontext().prec


def changed() -> int:
    before = precision()
    decimal.getcontext().prec = 3
    return before


def each(base: Context, fresh: Fresh) -> list[int]:
    return [base.run(fresh).run(changed) for _ in range(3)]


def test_a_message_sees_the_variables_of_the_hooks_and_changes_only_its_own() -> None:
    hooks = Context()
    hooks.run(variable.set, "hook")
    base, fresh = for_messages(hooks)

    first = base.run(fresh)
    first.run(variable.set, "message")

    assert base.run(fresh).run(variable.get) == hooks.run(variable.get) == "hook"


def test_a_decimal_context_that_was_only_used_is_new_for_each_message() -> None:
    hooks = Context()
    hooks.run(lambda: decimal.Decimal(1) / 3)
    base, fresh = for_messages(hooks)

    assert fresh is copy_context
    assert each(base, fresh) == [decimal.DefaultContext.prec] * 3


def test_a_decimal_context_that_the_hooks_have_set_is_copied_for_each_message() -> None:
    hooks = Context()
    hooks.run(decimal.setcontext, decimal.Context(prec=50))
    base, fresh = for_messages(hooks)

    assert each(base, fresh) == [50] * 3
    assert hooks.run(precision) == 50
