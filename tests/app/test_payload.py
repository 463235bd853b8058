"""What annotations make of bytes, and what pushes make of values."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NewType, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.app.payload import Form, decoder, encode, make_output, payload_for, spell, topic_fault
from kqworker.errors import DecodeError, Reject
from kqworker.types import Message


@dataclass
class Order:
    id: int
    items: list[str]


class Row(msgspec.Struct):
    id: int


class Reading(TypedDict):
    celsius: float


class Foreign:
    pass


@dataclass
class Wrapper:
    inner: list[Foreign]


@dataclass
class Node:
    children: list[Node]


UserId = NewType("UserId", str)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def decode(annotation: object, data: bytes | None) -> object:
    return decoder(payload_for(annotation))(data)


@pytest.mark.parametrize(
    ("annotation", "data", "expected"),
    [
        (bytes, b"\xff\x00", b"\xff\x00"),
        (bytes, b"", b""),
        (str, "grün".encode(), "grün"),
        (str, b"", ""),
        (UserId, b"u1", "u1"),
        (Annotated[str, "a note"], b"a", "a"),
        (Annotated[UserId, "a note"] | None, b"a", "a"),
        (dict, b'{"a": [1, null]}', {"a": [1, None]}),
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (list, b"[1]", [1]),
        (int, b"7", 7),
        (float, b"7", 7.0),
        (bool, b"true", True),
        (Any, b'{"a": 1}', {"a": 1}),
        (Order, b'{"id": 1, "items": ["x"]}', Order(1, ["x"])),
        (Row, b'{"id": 1}', Row(1)),
        (Reading, b'{"celsius": 1.5}', {"celsius": 1.5}),
        (Node, b'{"children": [{"children": []}]}', Node([Node([])])),
        (int | str, b'"a"', "a"),
        (Order | None, b"null", None),
        (Annotated[int, msgspec.Meta(ge=1)], b"1", 1),
    ],
)
def test_a_payload_becomes_what_the_annotation_says(
    annotation: object, data: bytes, expected: object
) -> None:
    assert decode(annotation, data) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type X = …` is new in Python 3.12")
def test_a_type_alias_stands_for_its_type() -> None:
    names: dict[str, Any] = {}
    exec("type Name = str", names)

    assert decode(names["Name"], b"a") == "a"


@pytest.mark.parametrize("annotation", [bytes | None, str | None, Order | None, None | Row])
def test_a_tombstone_is_none_where_the_annotation_allows_none(annotation: object) -> None:
    assert decode(annotation, None) is None


@pytest.mark.parametrize("annotation", [bytes, str, Order, dict, int])
def test_a_tombstone_is_a_failure_where_the_annotation_does_not_allow_none(
    annotation: type,
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(annotation, None)

    name = annotation.__name__
    assert str(caught.value) == (
        f"the value is None (a tombstone), and the handler asks for {name}: "
        f"annotate it {name} | None to take it"
    )


def told(attempt: Callable[[], object], *errors: type[Exception]) -> str:
    """Return what the library beneath says of it: its words change with its releases."""
    with pytest.raises(errors) as caught:
        attempt()
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "data", "text"),
    [
        (Order, b'{"items": []}', "cannot decode the value as JSON for Order"),
        (Order, b'{"id": "1", "items": []}', "cannot decode the value as JSON for Order"),
        (dict, b"", "cannot decode the value as JSON for dict"),
        (dict, b"[1]", "cannot decode the value as JSON for dict"),
        (dict, b"{nope}", "cannot decode the value as JSON for dict"),
        (list[str], b'["\xff"]', "cannot decode the value as JSON for list[str]"),
        (
            Annotated[int, msgspec.Meta(ge=1)],
            b"0",
            "cannot decode the value as JSON for Annotated[int, msgspec.Meta(ge=1)]",
        ),
    ],
)
def test_bytes_that_do_not_fit_are_an_error_that_says_why(
    annotation: Any, data: bytes, text: str
) -> None:
    why = told(
        lambda: msgspec.json.decode(data, type=annotation), msgspec.DecodeError, UnicodeDecodeError
    )

    with pytest.raises(DecodeError) as caught:
        decode(annotation, data)

    assert why
    assert str(caught.value) == f"{text}: {why}"


def test_bytes_that_are_not_text_are_an_error_that_says_why() -> None:
    data = b"a\xff"

    with pytest.raises(DecodeError) as caught:
        decode(str, data)

    why = told(data.decode, UnicodeDecodeError)
    assert str(caught.value) == f"cannot decode the value as UTF-8 text for str: {why}"


def test_json_that_nests_without_end_is_an_error_of_the_payload() -> None:
    with pytest.raises(DecodeError, match="cannot decode the value as JSON for Any: ") as raised:
        decode(Any, b"[" * 100_000)

    assert isinstance(raised.value.__cause__, RecursionError)


def test_what_cannot_be_decoded_is_rejected_at_once() -> None:
    assert issubclass(DecodeError, Reject)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Foreign, "a payload cannot be decoded to Foreign: use "),
        (Wrapper, "a payload cannot be decoded to Wrapper (it contains Foreign): use "),
        (dict[str, Foreign], "(it contains Foreign): use "),
        (
            Annotated[str, msgspec.Meta(max_length=3)],
            "the constraints of Annotated[str, msgspec.Meta(max_length=3)] would not be checked",
        ),
        (bytearray, "a payload cannot be decoded to bytearray: use "),
        (object, "a payload cannot be decoded to object: use "),
        (bytes | str, "a payload cannot be decoded to bytes | str ("),
        (3, "a payload cannot be decoded to 3 ("),
    ],
)
def test_an_annotation_that_nothing_can_be_decoded_to_is_refused(
    annotation: object, text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        payload_for(annotation)

    assert text in str(caught.value)


@given(st.text())
def test_text_comes_back_as_it_was_pushed(text: str) -> None:
    if any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        with pytest.raises(UnicodeEncodeError):
            encode(text)
    else:
        assert decode(str, encode(text)) == text


@given(st.none() | st.binary())
def test_bytes_and_tombstones_come_back_as_they_were_pushed(data: bytes | None) -> None:
    assert decode(bytes | None, encode(data)) == data


@given(JSON)
def test_json_comes_back_as_it_was_pushed(value: object) -> None:
    if not isinstance(value, str | None):
        assert decode(Any, encode(value)) == value


@given(st.binary())
def test_any_bytes_either_decode_or_are_an_error_of_the_payload(data: bytes) -> None:
    for annotation in (str, Any, Order, Row, Reading):
        try:
            decode(annotation, data)
        except DecodeError:
            pass


def test_what_json_knows_is_pushed_as_json() -> None:
    assert json.loads(encode(Order(1, ["x"])) or b"") == {"id": 1, "items": ["x"]}
    assert encode(Row(1)) == b'{"id":1}'
    assert encode(bytearray(b"a")) == encode(memoryview(b"a")) == b"a"
    assert encode(1.5) == b"1.5"


@pytest.mark.parametrize("value", [Foreign(), {(1, 2): 3}, [math.sin]])
def test_a_value_without_a_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"cannot encode \w+ as JSON \(.*\): push bytes, str, "):
        encode(value)


def test_a_message_is_not_pushed_whole() -> None:
    with pytest.raises(TypeError, match=r"push its \.value, \.key and \.headers"):
        encode(Message(b"x"))


def test_an_output_carries_key_headers_and_partition_as_kafka_wants_them() -> None:
    output = make_output("t", "v", "k", {"a": "1", "b": b"2", "c": None}, 3)

    assert (output.topic, output.value, output.key, output.partition) == ("t", b"v", b"k", 3)
    assert output.headers == (("a", b"1"), ("b", b"2"), ("c", None))


def test_headers_as_pairs_keep_their_order_and_repeat() -> None:
    output = make_output("t", b"", headers=[("b", "1"), ("a", b"2"), ("b", None)])

    assert output.headers == (("b", b"1"), ("a", b"2"), ("b", None))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"key": 7}, TypeError, r"key=7: a key is str, bytes or None; write str\(…\) around it"),
        ({"partition": -1}, ValueError, "partition=-1: must be an integer of at least 0"),
        ({"partition": True}, ValueError, "partition=True: must be an integer"),
        ({"headers": {"a": 1}}, TypeError, "header 'a': 1 is neither str, bytes nor None"),
        ({"headers": {1: "a"}}, TypeError, "header 1: a header's name is str"),
    ],
)
def test_a_push_with_wrong_options_is_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make_output("t", b"", **options)


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "a/b", "ä", "x" * 250, "^a", 3, "a\n"])
def test_a_name_that_kafka_does_not_take_is_refused(topic: str) -> None:
    assert topic_fault(topic)
    with pytest.raises(ValueError, match="topic"):
        make_output(topic, b"")


@pytest.mark.parametrize("topic", ["a", "A.b_c-9", "...", "x" * 249])
def test_a_name_that_kafka_takes_is_taken(topic: str) -> None:
    assert topic_fault(topic) is None


def test_a_local_type_is_spelt_without_its_function() -> None:
    class Local: ...

    assert spell(Local) == "Local"
    assert payload_for(str).form is Form.TEXT
