"""Whose signature counts: of a decorated function that of the wrapper, which is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from kqworker import ConfigError, Context, Message
from kqworker.app.signature import cannot_be_called
from tests.app.segments import given, made

Function = Callable[..., Any]


def passes_on(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def injects(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(value):  # type: ignore[no-untyped-def]
        return function(value, "session")

    return wrapper


def injects_unseen(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args, "session")

    return wrapper


class Injects:
    """A decorator that is an object."""

    def __init__(self, function: Function) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, value: Any) -> Any:
        return self.function(value, "session")


class InjectsUnseen(Injects):
    def __call__(self, *args: Any) -> Any:
        return self.function(*args, "session")


class InjectsInC(InjectsUnseen):
    """As wrapt has them: its call is no function of Python's."""

    __call__ = functools.partialmethod(InjectsUnseen.__call__)  # type: ignore[assignment]


def untyped(order, session):  # type: ignore[no-untyped-def]
    return order, session


def typed(value: str, session: str) -> Any:
    return value, session


# The signature that is called decides


def test_a_wrapper_that_adds_an_argument_is_served_by_its_own_parameters() -> None:
    assert given(injects(untyped), b"a") == (Message(b"a", None, "orders", 2, 10), "session")
    assert given(injects(typed), b"a") == ("a", "session")
    assert made(injects(typed)).payload == "str"


def test_a_wrapper_may_have_parameters_of_its_own_with_defaults() -> None:
    def repeats(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(value, times=2):  # type: ignore[no-untyped-def]
            return [function(value) for _ in range(times)]

        return wrapper

    def shout(value: str) -> str:
        return value.upper()

    assert given(repeats(shout), b"a") == ["A", "A"]


def test_an_object_that_adds_an_argument_is_served_by_its_call() -> None:
    handler = Injects(untyped)
    assert made(handler).payload == "Any"

    class Named:
        @injects
        def method(self, session: Any) -> Any: ...

    def inside(value: str, session: str) -> Any:
        return value, session

    assert given(injects(inside), b"a") == ("a", "session")


def test_a_wrapper_may_add_the_context() -> None:
    def adds_the_context(function: Function) -> Function:
        @functools.wraps(function, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def wrapper(value: str, context: Context) -> Any:
            return function(value), context.offset

        return wrapper

    def shout(value: str) -> str:
        return value.upper()

    assert given(adds_the_context(shout), b"a") == ("A", 10)


def test_a_wrapper_within_a_wrapper_that_passes_all_on_decides() -> None:
    assert given(passes_on(injects(typed)), b"a") == ("a", "session")
    assert given(passes_on(passes_on(passes_on(injects(typed)))), b"a") == ("a", "session")


def test_methods_and_partials_of_a_wrapper_are_those_of_the_wrapper() -> None:
    class Shop:
        def adds(function: Function) -> Function:  # type: ignore[misc]
            @functools.wraps(function)
            def wrapper(self: Any, value: Any) -> Any:
                return function(self, value, "session")

            return wrapper

        @adds
        def take(self, value: str, session: str) -> Any:
            return value, session

        @adds
        def __call__(self, value: str, session: str) -> Any:
            return session, value

    assert given(Shop().take, b"a") == ("a", "session")
    assert made(Shop(), name="shop").payload == "str"

    def scale(factor: int, value: int) -> int:
        return factor * value

    tripled = made(functools.partial(passes_on(scale), 3), name="tripled")
    assert tripled.payload == "int"


def test_a_signature_that_a_wrapper_declares_is_the_one_that_counts() -> None:
    import inspect

    def inside(value: str, session: str) -> Any:
        return value, session

    wrapper: Any = injects_unseen(inside)
    wrapper.__signature__ = inspect.signature(lambda value: None)

    assert given(wrapper, b"a")[0] == Message(b"a", None, "orders", 2, 10)
    # What functools.wraps copies from the function inside is none of the wrapper's.
    with pytest.raises(ConfigError, match=r"takes \*args"):
        made(injects_unseen(injects_signed(inside)))


def injects_signed(function: Function) -> Function:
    import inspect

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    wrapper.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return wrapper


# What *args hides


@pytest.mark.parametrize("decorate", [passes_on, functools.lru_cache])
def test_a_decorator_that_passes_all_on_shows_the_function_inside(decorate: Function) -> None:
    def value(value: str) -> Any:
        return value

    def keyed(key: str, value: str) -> Any:
        return key, value

    def asks(value: str, *, context: Context) -> Any:
        return value, context.offset

    assert given(decorate(value), b"a") == "a"
    assert given(decorate(keyed), b"v", keys=[b"k"]) == ("k", "v")
    assert given(passes_on(asks), b"a") == ("a", 10)


def message_and_more(message, session):  # type: ignore[no-untyped-def]
    ...


def keyword(value: str, *, session: str) -> None: ...


@pytest.mark.parametrize("function", [untyped, typed, message_and_more, keyword])
@pytest.mark.parametrize("decorate", [injects_unseen, InjectsUnseen, InjectsInC, passes_on])
def test_more_parameters_than_a_message_fills_are_refused_behind_args(
    decorate: Function, function: Function
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(decorate(function))

    text = str(caught.value)
    assert "test_decorators.py:" in text
    assert "a decorator around it takes *args" in text
    assert "let its wrapper name what is left, def wrapper(message: dict), and no *args" in text


def test_a_wrapper_that_cannot_be_called_with_what_the_function_inside_asks_for_is_refused() -> (
    None
):
    def takes_one(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(value: Any, **options: Any) -> Any:
            return function("key", value, **options)

        return wrapper

    def keyed(key: str, value: str) -> None: ...

    with pytest.raises(ConfigError, match="it cannot be called with what it asks for: "):
        made(takes_one(keyed))


def test_a_wrappers_own_annotations_are_read_from_its_source() -> None:
    kind = dict[str, int]

    def renames(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(payload: dict[str, int], where: Context) -> Any:
            return function(payload, where.offset)

        return wrapper

    def near(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(value: kind) -> Any:  # type: ignore[valid-type]
            assert kind
            return function(value, "session")

        return wrapper

    for inside in (untyped, typed):
        assert given(renames(inside), b'{"a": 1}') == ({"a": 1}, 10)
        assert given(near(inside), b'{"a": 1}') == ({"a": 1}, "session")
    assert given(near(typed), b'{"a": 1}') == ({"a": 1}, "session")


def renames_untyped(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(payload):  # type: ignore[no-untyped-def]
        return function(payload, "session")

    return wrapper


def unresolved(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(payload: Missing):  # type: ignore[name-defined,no-untyped-def]  # noqa: F821
        return function(payload, "session")

    return wrapper


def without_source(function: Function) -> Function:
    names: dict[str, Any] = {"functools": functools, "function": function}
    exec(
        "@functools.wraps(function)\n"
        "def wrapper(payload: str):\n"
        "    return function(payload, 'session')\n",
        names,
    )
    wrapper: Function = names["wrapper"]
    return wrapper


@pytest.mark.parametrize(
    ("decorate", "text"),
    [
        (renames_untyped, "what 'payload', a parameter of the decorator around it, is to be given"),
        (
            without_source,
            "annotate it in the decorator's source, give it its name inside, or write",
        ),
        (unresolved, "the annotations of a decorator around it cannot be resolved (name 'Missing'"),
    ],
)
def test_a_wrappers_parameter_that_nobody_can_tell_of_is_refused_with_the_remedy(
    decorate: Function, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(decorate(typed))

    assert text in str(caught.value)


def test_hooks_and_callbacks_are_asked_for_what_is_called() -> None:
    def needs(session: str) -> None: ...

    @functools.wraps(needs)
    def gives() -> None:
        needs("session")

    assert cannot_be_called(gives, 0) is None
    assert "'session'" in (cannot_be_called(passes_on(needs), 0) or "")
