"""What of the hooks' context a message sees, and when the next one may have that of the last."""

from __future__ import annotations

import asyncio
import decimal
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.app import context
from kqworker.runtime.contexts import Fresh, Shared, for_messages, shared
from tests.app.segments import made, segment

variable = ContextVar("variable", default="unset")
others = [ContextVar[int](f"other_{i}") for i in range(60)]


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


def lent(variables: int = 0) -> Shared:
    """Return a shared context above so many variables, as a Python counts that all can run."""

    def of_the_hooks() -> Shared | None:
        for other in others[:variables]:
            other.set(0)
        return shared(copy_context)

    found = Context().run(of_the_hooks)
    assert found is not None
    return found


def push_by_context() -> None:
    """Make and use what a handler that asks for its context is given."""
    context.Context(made(lambda value: None, name="h"), segment(b"a"), 0, None).topic  # noqa: B018


async def wait_a_turn() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "message",
    [
        lambda: None,
        lambda: variable.get(),
        lambda: copy_context().run(variable.set, "elsewhere"),
        push_by_context,
        lambda: threading.Thread(target=copy_context().run, args=(variable.get,)).run(),
    ],
    ids=["nothing", "read", "set in a copy that has gone", "context", "thread that has ended"],
)
def test_a_message_that_leaves_no_trace_leaves_its_context_to_the_next(
    message: Callable[[], object],
) -> None:
    own = lent()

    own.context.run(message)

    assert own.untouched


def copy_and_set() -> object:
    copied = copy_context()
    variable.set("message")
    return copied


def set_and_copy() -> object:
    variable.set("message")
    return copy_context()


def set_and_reset() -> None:
    variable.reset(variable.set("message"))


def copy_set_in_it() -> object:
    copied = copy_context()
    copied.run(variable.set, "message")
    return copied


def leave_a_task() -> object:
    loop = asyncio.new_event_loop()
    task = loop.create_task(wait_a_turn())
    return loop, task


def keep_the_context() -> object:
    return context.Context(made(lambda value: None, name="h"), segment(b"a"), 0, None)


def keep_the_thread() -> object:
    return threading.Thread(target=copy_context().run, args=(variable.get,))


@pytest.mark.parametrize(
    "message",
    [
        lambda: variable.set("message"),
        set_and_reset,
        copy_context,
        lambda: copy_context().copy(),
        copy_and_set,
        set_and_copy,
        copy_set_in_it,
        decimal.getcontext,
        leave_a_task,
        keep_the_context,
        keep_the_thread,
    ],
)
def test_a_message_that_leaves_a_trace_leaves_its_context_to_nobody(
    message: Callable[[], object],
) -> None:
    own = lent()

    left = own.context.run(message)

    assert not own.untouched
    if isinstance(left, tuple):
        loop, task = left
        loop.run_until_complete(task)
        loop.close()


# What messages and what they leave may do: copy the context or a copy, set a variable in
# either, let go of a copy. A number picks the copy, or the variable.
steps = st.lists(
    st.tuples(
        st.sampled_from(["copy", "copy a copy", "set", "set in a copy", "forget a copy"]),
        st.integers(0, 59),
    ),
    max_size=8,
)


@given(st.integers(0, 50), steps)
def test_no_trace_goes_unseen_whatever_is_done_in_whatever_order(
    variables: int, todo: list[tuple[str, int]]
) -> None:
    try:
        own = lent(variables)
    except AssertionError:
        return  # so many variables that it cannot be told
    copies: list[Context] = []
    changed = False
    for step, number in todo:
        if step == "copy":
            copies.append(own.context.copy())
        elif step == "set":
            own.context.run(others[number].set, 1)
            changed = True
        elif not copies:
            continue
        elif step == "copy a copy":
            copies.append(copies[number % len(copies)].copy())
        elif step == "set in a copy":
            copies[number % len(copies)].run(others[number].set, 1)
        else:
            del copies[number % len(copies)]

    assert own.untouched is (not changed and not copies)


def test_with_few_variables_it_can_be_told_and_with_any_number_the_message_sees_them() -> None:
    assert lent(0).tells()
    for variables in range(len(others)):
        base = Context()
        for other in others[:variables]:
            base.run(other.set, 7)
        own = base.run(shared, copy_context)
        if own is not None:
            assert [own.context.run(other.get) for other in others[:variables]] == [7] * variables


def test_a_context_with_decimals_of_its_own_is_for_one_message_alone() -> None:
    hooks = Context()
    hooks.run(decimal.setcontext, decimal.Context(prec=50))
    base, fresh = for_messages(hooks)

    assert base.run(shared, fresh) is None
