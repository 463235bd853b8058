"""What each signature is given, and which signatures are refused."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import pytest

from kqworker import ConfigError, Context, DecodeError, Message
from tests.app.segments import given, made, no_context, segment

if TYPE_CHECKING:
    from collections import OrderedDict


@dataclass
class Order:
    id: int


class Unsupported:
    pass


# What is served


def bare(message):
    return message


def any_message(message: Message) -> Any:
    return message


def raw_message(message: Message[bytes]) -> Any:
    return message


def typed_message(message: Message[Order]) -> Any:
    return message


def maybe_message(message: Message[Order | None]) -> Any:
    return message


@pytest.mark.parametrize("function", [bare, any_message, raw_message])
def test_a_message_is_given_where_the_parameter_says_so_or_says_nothing(function: Any) -> None:
    message = given(
        function, b"a", b"b", keys=[None, b"k"], timestamp=1500, headers=[None, [("h", b"1")]]
    )

    assert message == Message(b"b", b"k", "orders", 2, 11, 1.5, [("h", b"1")])


def test_a_message_without_key_headers_and_timestamp_says_so() -> None:
    assert given(bare, b"a") == Message(b"a", None, "orders", 2, 10, None, ())
    assert given(bare, b"a", keys=[None], headers=[None]).headers == ()


def test_the_value_of_a_message_is_decoded_as_its_argument_says() -> None:
    assert given(typed_message, b'{"id": 1}').value == Order(1)
    assert given(maybe_message, None).value is None


def test_a_tombstone_reaches_those_who_ask_for_a_message_of_anything() -> None:
    assert given(bare, None).value is None
    assert given(any_message, None).value is None
    with pytest.raises(DecodeError, match="tombstone"):
        given(raw_message, None)


def test_one_parameter_is_the_payload() -> None:
    def raw(value: bytes) -> Any:
        return value

    def text(value: str) -> Any:
        return value

    def maybe(value: str | None) -> Any:
        return value

    def order(value: Order) -> Any:
        return value

    def keyword(*, value: str) -> Any:
        return value

    def positional(value: str, /) -> Any:
        return value

    assert given(raw, b"\xff") == b"\xff"
    assert given(text, b"a", b"b") == "b"
    assert given(maybe, None) is None
    assert given(order, b'{"id": 1}') == Order(1)
    assert given(keyword, b"a") == "a"
    assert given(positional, b"a") == "a"


@pytest.mark.parametrize(
    ("annotation", "data"),
    [(str, None), (str, b"\xff"), (bytes, None), (dict, None), (dict, b"")],
)
def test_a_payload_that_cannot_be_decoded_does_not_reach_the_handler(
    annotation: type, data: bytes | None
) -> None:
    def reached(value: Any) -> None:
        raise AssertionError("reached")

    reached.__annotations__["value"] = annotation
    with pytest.raises(DecodeError):
        given(reached, data)


def test_an_error_of_the_handler_is_not_taken_for_one_of_the_payload() -> None:
    def text(value: str) -> None:
        b"\xff".decode()

    def order(value: Order) -> None:
        raise RecursionError

    with pytest.raises(UnicodeDecodeError):
        given(text, b"a")
    with pytest.raises(RecursionError):
        given(order, b'{"id": 1}')


def test_two_parameters_are_key_and_value_as_text() -> None:
    def by_name(key, value):
        return key, value

    def other_names(k, v):
        return k, v

    def annotated(k: str, v: str) -> Any:
        return k, v

    def turned(value, key):
        return key, value

    def message(key, message):
        return key, message

    def told(k: str, message: str) -> Any:
        return k, message

    for function in (by_name, other_names, annotated, turned, message, told):
        assert given(function, b"v", keys=[b"k"]) == ("k", "v")


def test_a_context_or_a_message_without_its_annotation_is_no_key_and_no_value() -> None:
    def with_context(order, context):
        return order, context

    def with_message(msg, attempt):
        return msg, attempt

    def with_value(ctx, value):
        return ctx, value

    def with_key(key, context):
        return key, context

    for function, said in (
        (with_context, "'context' would be given the key or the value as text: annotate it, "),
        (with_value, "'ctx' would be given the key or the value as text: annotate it, ctx: Con"),
        (with_key, "annotate it, context: Context, or name the two key and value"),
        (with_message, "annotate it, msg: Message, or name the two key and value"),
    ):
        with pytest.raises(ConfigError) as caught:
            made(function)
        assert said in str(caught.value)


def test_key_and_value_are_decoded_as_annotated() -> None:
    def both(key: int, value: Order) -> Any:
        return key, value

    def maybe(key: str | None, value: bytes | None) -> Any:
        return key, value

    assert given(both, b'{"id": 1}', keys=[b"7"]) == (7, Order(1))
    assert given(maybe, None, keys=[None]) == (None, None)
    assert given(maybe, b"v") == (None, b"v")


def test_a_message_without_a_key_has_the_empty_one_as_in_kq() -> None:
    def text(key: str, value: str) -> Any:
        return key

    def raw(key: bytes, value: str) -> Any:
        return key

    def number(key: int, value: str) -> Any:
        return key

    assert given(text, b"v") == given(text, b"v", keys=[None]) == ""
    assert given(raw, b"v") == b""
    with pytest.raises(DecodeError, match="there is no key, and the handler asks for int"):
        given(number, b"v")
    with pytest.raises(DecodeError, match="cannot decode the key as JSON for int"):
        given(number, b"v", keys=[b"x"])


def test_a_context_is_given_wherever_it_stands() -> None:
    def last(value: str, context: Context) -> Any:
        return value, context.offset

    def first(context: Context, value: str) -> Any:
        return value, context.offset

    def named(value: str, *, c: Context) -> Any:
        return value, c.offset

    def maybe(value: str, c: Optional[Context] = None) -> Any:  # noqa: UP045 - as users write it
        return value, c.offset if c else -1

    for function in (last, first, named, maybe):
        assert given(function, b"a", b"b") == ("b", 11)

    def three(key: str, c: Context, value: str) -> Any:
        return key, c.offset, value

    assert given(three, b"v", keys=[b"k"]) == ("k", 10, "v")


def test_a_context_is_not_made_for_those_who_do_not_ask() -> None:
    def text(value: str) -> str:
        return value

    assert made(text).bind(segment(b"a"), no_context)(0) == "a"


def test_a_parameter_with_a_default_keeps_it() -> None:
    def extra(value: str, times: int = 2) -> Any:
        return value * times

    def only(value: str = "x") -> Any:
        return value

    def between(value: str, n: int = 2, c: Context | None = None) -> Any:
        return value * n, c is not None

    def options(key: str, value: str = "x", n: int = 2) -> Any:
        return key + value * n

    assert given(extra, b"a") == "aa"
    assert given(only, b"a") == "a"
    assert given(between, b"a") == ("aa", True)
    assert given(options, b"v", keys=[b"k"]) == "kvv"


def test_partials_bound_methods_and_callable_objects_are_served() -> None:
    class Counter:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def take(self, value: str) -> None:
            self.seen.append(value)

        def __call__(self, value: str) -> None:
            self.seen.append(value.upper())

    def scale(factor: int, value: int) -> int:
        return factor * value

    counter = Counter()
    segments = segment(b"a")
    made(counter.take).bind(segments, no_context)(0)
    made(counter, name="counter").bind(segments, no_context)(0)
    assert counter.seen == ["a", "A"]
    tripled = made(functools.partial(scale, 3), name="tripled")
    assert tripled.bind(segment(b"2"), no_context)(0) == 6
    shout = made(lambda message: message.value.upper(), name="shout")
    assert shout.bind(segments, no_context)(0) == b"A"


def test_a_decorated_function_is_asked_for_what_it_wraps() -> None:
    def function(value: Order) -> Order:
        return value

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    assert given(wrapper, b'{"id": 1}') == Order(1)


def test_a_return_annotation_that_only_type_checkers_see_does_not_matter() -> None:
    def ordered(value: str) -> OrderedDict[str, str]:
        raise NotImplementedError

    assert made(ordered).payload == "str"


@pytest.mark.parametrize(
    ("function", "payload"),
    [
        (bare, "Message"),
        (raw_message, "Message[bytes]"),
        (maybe_message, "Message[Order | None]"),
    ],
)
def test_the_payload_is_named_as_one_would_write_it(function: Any, payload: str) -> None:
    assert made(function).payload == payload


# What is refused

ALLOWED = "a handler takes one parameter (the payload, "


def nothing() -> None: ...
def only_context(context: Context) -> None: ...
def three(a, b, c): ...
def star(*values: str) -> None: ...
def options(value: str, **options: str) -> None: ...
def unclear(order: Order, customer: str) -> None: ...
def unsupported(value: Unsupported) -> None: ...
def within(values: list[Unsupported]) -> None: ...
def contexts(value: dict[str, Context]) -> None: ...
def two_messages(key: str, value: Message) -> None: ...
def unknown(value: Ordr) -> None: ...  # noqa: F821 - a slip of the pen
def out_of_reach(key: str = "", n: int = 0, c: Context = ..., /) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (nothing, "it takes no parameters for the message: "),
        (only_context, "it takes no parameters for the message: "),
        (three, "it takes 3 parameters for the message: "),
        (star, "'*values: 'str'' cannot be served: "),
        (options, "'**options: 'str'' cannot be served: "),
        (
            unclear,
            (
                "annotate the Context, or name the two parameters key and value: it is not clear "
                "which of (order: 'Order', customer: 'str') is the key: "
            ),
        ),
        (two_messages, "'value' cannot be a Message beside another one: "),
        (out_of_reach, "'c' cannot be passed, after one with a default: "),
    ],
)
def test_a_signature_that_cannot_be_served_says_what_is_allowed(function: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(function)

    line = function.__code__.co_firstlineno
    place = f"test_signature.py:{line}: handler tests.app.test_signature.{function.__name__}: "
    assert f"{place}{text}{ALLOWED}" in str(caught.value)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (unsupported, "parameter 'value': a payload cannot be decoded to Unsupported: use "),
        (within, "list[Unsupported] (it contains Unsupported): use "),
        (
            unknown,
            (
                "the annotation 'Ordr' of 'value' cannot be resolved (name 'Ordr' is not defined): "
                "define the type at the level of the module, before the handler"
            ),
        ),
        (print, "cannot be served: "),
        (min, "its signature cannot be read ("),
        (contexts, "a payload cannot be decoded to dict[str, Context] (it contains Context): use"),
    ],
)
def test_an_annotation_that_cannot_be_served_says_what_to_do(function: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(function)

    assert text in str(caught.value)
