"""Classes with a constructor of their own: never filled past it, and what it raises is final."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, NewType, TypedDict, TypeVar

import attrs
import msgspec
import pytest

from kqworker.app.payload import decoder, payload_for
from kqworker.errors import DecodeError, Reject, RetryLater
from tests.app.segments import given, made

T = TypeVar("T")


@dataclass
class Own:
    id: int

    def __init__(self, id: int) -> None:
        self.id = id + 1


@dataclass
class Inherits(Own):
    pass


@dataclass(init=False)
class OwnAlone:
    id: int

    def __init__(self, id: int) -> None:
        self.id = id


class Subclass(Own):
    def __init__(self, id: int) -> None:
        super().__init__(id)


@dataclass
class OwnNew:
    id: int

    def __new__(cls, *_: object) -> Any:
        return super().__new__(cls)


@dataclass
class OwnSetattr:
    id: int

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass
class NotTaken:
    id: int
    admin: bool = field(init=False, default=False)


class Registry(type):
    def __call__(cls, *args: object, **kwargs: object) -> Any:
        raise ValueError("not registered")


@dataclass
class Registered(metaclass=Registry):
    id: int


@dataclass
class Replaced:
    id: int


Replaced.__init__ = lambda self, id: None  # type: ignore[method-assign]


class Pair(NamedTuple):
    low: int
    high: int


class OwnPair(Pair):
    def __new__(cls, low: int, high: int) -> OwnPair:
        return super().__new__(cls, high, low)


@dataclass
class Holder:
    inner: dict[str, list[Own | None]]


class StructHolder(msgspec.Struct):
    inner: Own


class DictHolder(TypedDict):
    inner: Own


class TupleHolder(NamedTuple):
    inner: Own


@dataclass
class Box(Generic[T]):
    content: T


OwnId = NewType("OwnId", Own)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Own, "Own has its own __init__, which would not be called"),
        (OwnAlone, "OwnAlone has its own __init__, which"),
        (Subclass, "Subclass has its own __init__, which"),
        (OwnNew, "OwnNew has its own __new__, which"),
        (OwnSetattr, "OwnSetattr has its own __setattr__, which"),
        (OwnPair, "OwnPair has its own __new__, which"),
        (Registered, "Registered is made by Registry.__call__, which would not be called"),
        (Replaced, "Replaced has its own __init__, which"),
        (NotTaken, "NotTaken has the field admin, which its constructor does not take"),
        (list[Own], "to list[Own]: Own has its own __init__"),
        (Own | None, "Own has its own __init__"),
        (Holder, "to Holder: Own has its own __init__"),
        (StructHolder, "Own has its own __init__"),
        (DictHolder, "Own has its own __init__"),
        (TupleHolder, "Own has its own __init__"),
        (Box[Own], "Own has its own __init__"),
        (OwnId, "Own has its own __init__"),
        (Annotated[list[Own], "a note"], "Own has its own __init__"),
    ],
)
def test_a_constructor_that_would_not_be_called_is_refused_at_any_depth(
    annotation: object, text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        payload_for(annotation)

    assert text in str(caught.value)
    assert "take a dict and build it in the handler" in str(caught.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    id: int


@dataclass
class Tree(Generic[T]):
    value: T
    children: list[Tree[T]] = field(default_factory=list)


Plain = namedtuple("Plain", "low high")


@pytest.mark.parametrize(
    ("annotation", "data", "expected"),
    [
        (Frozen, b'{"id": 1}', Frozen(id=1)),
        (Inherits, b'{"id": 1}', Inherits(1)),
        (Tree[int], b'{"value": 1, "children": [{"value": 2}]}', Tree(1, [Tree(2)])),
        (Box[Pair], b'{"content": [1, 2]}', Box(Pair(1, 2))),
        (Plain, b"[1, 2]", Plain(1, 2)),
        (dataclasses.make_dataclass("Made", [("id", int)]), b'{"id": 1}', None),
    ],
)
def test_a_class_that_comes_as_it_is_made_is_filled(
    annotation: Any, data: bytes, expected: object
) -> None:
    found = decoder(payload_for(annotation))(data)

    assert found == (expected or annotation(1))


def test_classes_of_attrs_are_told_by_their_own_marks() -> None:
    @attrs.frozen
    class Checked:
        id: int = attrs.field(validator=attrs.validators.gt(3))

    @attrs.define
    class Converted:
        id: int = attrs.field(converter=int)

    @attrs.define(init=False)
    class Written:
        id: int

        def __init__(self, id: int) -> None: ...

    decode = decoder(payload_for(Checked))
    assert decode(b'{"id": 4}') == Checked(4)
    with pytest.raises(DecodeError):
        decode(b'{"id": 3}')
    with pytest.raises(TypeError, match="Converted has the field id, which its constructor"):
        payload_for(Converted)
    with pytest.raises(TypeError, match="Written has its own __init__"):
        payload_for(Written)


# What a constructor raises


raising: list[BaseException] = []


@dataclass
class Checks:
    id: int

    def __post_init__(self) -> None:
        raise raising[0]


class Hostile(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text for you")


class CheckedStruct(msgspec.Struct):
    id: int

    def __post_init__(self) -> None:
        raise raising[0]


@pytest.mark.parametrize("annotation", [Checks, list[Checks], CheckedStruct, Box[Checks]])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("id"), "KeyError: 'id'"),
        (ValueError("not that"), "not that"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (SystemExit(3), "SystemExit: 3"),
        (Hostile(), "Hostile: (its text cannot be shown: __str__ raised SystemExit)"),
    ],
)
def test_what_a_constructor_raises_is_an_error_of_the_payload(
    annotation: Any, error: BaseException, text: str
) -> None:
    raising[:] = [error]
    data = {list[Checks]: b'[{"id": 1}]', Box[Checks]: b'{"content": {"id": 1}}'}

    with pytest.raises(DecodeError) as caught:
        decoder(payload_for(annotation))(data.get(annotation, b'{"id": 1}'))

    assert str(caught.value).startswith("cannot decode the value as JSON for ")
    assert text in str(caught.value)


@pytest.mark.parametrize("verdict", [RetryLater(5), Reject("no"), MemoryError()])
def test_a_verdict_that_a_constructor_raises_is_one(verdict: Exception) -> None:
    raising[:] = [verdict]

    with pytest.raises(type(verdict)) as caught:
        decoder(payload_for(Checks))(b'{"id": 1}')
    assert caught.value is verdict


def test_an_error_of_the_handler_itself_is_none_of_the_payload() -> None:
    def handle(value: Frozen) -> None:
        raise KeyError(value.id)

    with pytest.raises(KeyError):
        given(handle, b'{"id": 1}')
    assert made(handle).payload == "Frozen"
