"""Pydantic's models and dataclasses: decoded and encoded by pydantic itself, at any depth."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from pydantic import BaseModel, Field, field_serializer, field_validator

from kqworker import ConfigError, Message, RetryLater
from kqworker.app.payload import decoder, encode, payload_for
from kqworker.errors import DecodeError
from tests.app.segments import given, made

T = TypeVar("T")


class Order(BaseModel):
    id: int
    note: str = Field("", max_length=3)

    @field_serializer("id")
    def _text(self, value: int) -> str:
        return f"#{value}"


@pydantic.dataclasses.dataclass
class Line:
    sku: str = Field(min_length=2)
    count: int = Field(alias="n", default=1)

    @field_serializer("sku")
    def _upper(self, value: str) -> str:
        return value.upper()


@dataclass
class Basket:
    order: Order
    lines: list[Line]


class Pair(NamedTuple):
    first: Line
    second: int


class Struct(msgspec.Struct, rename="camel"):
    the_line: Any
    the_rest: int = 0


@dataclass
class Box(Generic[T]):
    content: T


@dataclass(frozen=True, slots=True)
class Shelf:
    lines: list[Line]
    example: ClassVar[Line] = Line("zz")


def decode(annotation: object, data: bytes | None) -> object:
    return decoder(payload_for(annotation))(data)


ORDER, LINE = b'{"id": 1, "note": "abc"}', b'{"sku": "ab", "n": 2}'


@pytest.mark.parametrize(
    ("annotation", "data", "expected"),
    [
        (Order, ORDER, Order(id=1, note="abc")),
        (Line, LINE, Line("ab", n=2)),  # type: ignore[call-arg]
        (list[Order], b"[" + ORDER + b"]", [Order(id=1, note="abc")]),
        (dict[str, Line], b'{"a": ' + LINE + b"}", {"a": Line("ab", n=2)}),  # type: ignore[call-arg]
        (Order | None, ORDER, Order(id=1, note="abc")),
        (Order | None, b"null", None),
        (Order | Line, LINE, Line("ab", n=2)),  # type: ignore[call-arg]
        (
            Basket,
            b'{"order": ' + ORDER + b', "lines": [' + LINE + b"]}",
            Basket(Order(id=1, note="abc"), [Line("ab", n=2)]),  # type: ignore[call-arg]
        ),
        (Pair, b"[" + LINE + b", 3]", Pair(Line("ab", n=2), 3)),  # type: ignore[call-arg]
        (Box[Order], b'{"content": ' + ORDER + b"}", Box(Order(id=1, note="abc"))),
        (Annotated[int, Field(gt=1)], b"2", 2),
    ],
)
def test_what_is_of_pydantic_is_decoded_by_it_at_any_depth(
    annotation: object, data: bytes, expected: object
) -> None:
    assert decode(annotation, data) == expected


def test_a_tombstone_is_none_where_the_annotation_allows_none() -> None:
    assert decode(Order | None, None) is None
    with pytest.raises(DecodeError, match="tombstone"):
        decode(Order, None)


@pytest.mark.parametrize(
    ("annotation", "data", "places"),
    [
        (Order, b"{}", ["id: "]),
        (Order, b'{"id": "secret", "note": "secret"}', ["id: ", "note: "]),
        (Line, b"{}", ["sku: "]),
        (list[Line], b'[{"sku": "s"}]', ["0.sku: "]),
        (Basket, b'{"order": {"id": 1}, "lines": [{}]}', ["lines.0.sku: "]),
        (Annotated[int, Field(gt=1)], b"1", [""]),
        (Order, b"{secret", [""]),
        (list[int] | list[Order], b'["secret"]', ["list[int].0: "]),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_field_and_never_the_value(
    annotation: object, data: bytes, places: list[str]
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(annotation, data)

    text = str(caught.value)
    assert text.startswith(f"cannot decode the value as JSON for {payload_for(annotation)}: ")
    assert all(place in text for place in places), text
    assert "secret" not in text and "\n" not in text


def test_of_many_errors_some_are_told() -> None:
    with pytest.raises(DecodeError, match=r"; and 15 more$"):
        decode(list[Order], json.dumps([{}] * 20).encode())


class Raises(BaseModel):
    id: int

    @field_validator("id")
    @classmethod
    def _check(cls, value: int) -> int:
        if value == 1:
            raise RetryLater(5)
        raise KeyError("of the validator")


def test_what_a_validator_raises_is_an_error_of_the_payload() -> None:
    with pytest.raises(DecodeError, match="KeyError: 'of the validator'"):
        decode(Raises, b'{"id": 2}')
    with pytest.raises(RetryLater):
        decode(Raises, b'{"id": 1}')


def test_messages_and_keys_are_decoded_by_it_too() -> None:
    def message(message: Message[Order]) -> object:
        return message.value

    def both(key: Annotated[int, Field(gt=1)], value: list[Line]) -> object:
        return key, value

    assert given(message, ORDER) == Order(id=1, note="abc")
    assert given(both, b"[" + LINE + b"]", keys=[b"2"]) == (2, [Line("ab", n=2)])  # type: ignore[call-arg]
    with pytest.raises(DecodeError, match="cannot decode the key as JSON"):
        given(both, b"[]", keys=[b"1"])
    assert made(message).payload == "Message[Order]"


# What cannot be


class Unfinished(BaseModel):
    later: Missing  # type: ignore[name-defined]  # noqa: F821


@dataclass
class Own:
    order: Order

    def __init__(self, order: Order) -> None:
        self.order = order


class V1:
    @classmethod
    def __get_validators__(cls) -> Any: ...


def test_what_pydantic_cannot_decode_is_refused_at_decoration() -> None:
    def mixed(value: tuple[Order, Row]) -> None: ...

    def unfinished(value: Unfinished) -> None: ...

    def own(value: list[Own]) -> None: ...

    def old(value: dict[str, V1]) -> None: ...

    for function, text in (
        (mixed, "Order is for pydantic, which does not know Row, a msgspec.Struct: make them of"),
        (unfinished, "a payload cannot be decoded to Unfinished ("),
        (own, "Own has its own __init__, which would not be called"),
        (old, "V1 is of pydantic 1: make it one of pydantic 2"),
    ):
        with pytest.raises(ConfigError) as caught:
            made(function)
        assert text in str(caught.value)


class Row(msgspec.Struct):
    id: int


def test_constraints_of_text_and_bytes_would_not_be_checked() -> None:
    with pytest.raises(TypeError, match="would not be checked, for only JSON is"):
        payload_for(Annotated[str, Field(max_length=3)])


def test_without_pydantic_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)

    with pytest.raises(
        TypeError, match=r"Order needs pydantic: pip install 'kqworker\[pydantic\]'"
    ):
        payload_for(list[Order])


def test_an_app_without_pydantic_does_not_load_it() -> None:
    program = (
        "import sys, kqworker\n"
        "app = kqworker.App('a')\n"
        "def order(value: dict[str, list[int]]): ...\n"
        "app.handler(topic='c', output='o')(order).encode_result({'a': None})\n"
        "print('pydantic' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "False\n"


# What is pushed or returned


LINED = {"sku": "AB", "count": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Order(id=1), {"id": "#1", "note": ""}),
        (Line("ab"), LINED),
        ([Line("ab")], [LINED]),
        ((Line("ab"), 1), [LINED, 1]),
        ({"a": {"b": [Line("ab"), Order(id=1)]}}, {"a": {"b": [LINED, {"id": "#1", "note": ""}]}}),
        (Basket(Order(id=1), [Line("ab")]), {"order": {"id": "#1", "note": ""}, "lines": [LINED]}),
        (Shelf([Line("ab")]), {"lines": [LINED]}),
        (Struct(Line("ab")), {"theLine": LINED, "theRest": 0}),
        (Pair(Line("ab"), 2), [LINED, 2]),
        (Box(Box(Line("ab"))), {"content": {"content": LINED}}),
        ([pydantic.SecretStr("secret")], ["**********"]),
        (
            {"at": datetime(2026, 1, 2, tzinfo=UTC), "of": frozenset({1})},
            {"at": "2026-01-02T00:00:00Z", "of": [1]},
        ),
    ],
)
def test_what_is_of_pydantic_is_encoded_by_it_at_any_depth(value: object, expected: object) -> None:
    assert json.loads(encode(value) or b"") == expected


def test_what_holds_pydantics_is_left_as_it_was() -> None:
    basket = Basket(Order(id=1), [Line("ab")])
    before = dataclasses.asdict(basket)

    encode([basket])

    assert dataclasses.asdict(basket) == before and type(basket.lines[0]) is Line


class Rate(BaseModel):
    rate: float
    note: str | None = None


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Rate(rate=math.nan), "$.rate is nan"),
        ([Rate(rate=math.inf)], "$[0].rate is inf"),
        (Box(Rate(rate=math.nan)), "$.content.rate is nan"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_in_a_model_too(value: object, place: str) -> None:
    with pytest.raises(ValueError, match="no such number") as caught:
        encode(value)

    assert place in str(caught.value)
    encode(Rate(rate=1.5))


def test_what_nobody_can_encode_is_refused_beside_pydantic_too() -> None:
    with pytest.raises(TypeError, match="cannot encode list as JSON"):
        encode([object()])
