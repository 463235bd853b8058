"""How the bytes of a payload are read, by its annotation.

Decides between raw bytes, UTF-8 text and JSON by the annotation alone: a message never
chooses how it is decoded. Knows nothing of handlers or Kafka.
Tested by tests/app/test_payload.py.
"""

from __future__ import annotations

import enum
import types
import typing
from dataclasses import dataclass

from kqworker.app.payload.trees import is_pydantic


class Form(enum.Enum):
    """What the bytes of a payload are read as."""

    BYTES = "bytes"
    TEXT = "UTF-8 text"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Payload:
    """What a key or a value is to become, by its annotation.

    Attributes:
        annotation: As the handler has it, without a string's quotes.
        form: How the bytes are read.
        optional: Whether None (a tombstone) is passed on as None.
    """

    annotation: object
    form: Form
    optional: bool

    def __str__(self) -> str:
        return spell(self.annotation)


ANYTHING = Payload(bytes, Form.BYTES, optional=True)
TEXT = Payload(str, Form.TEXT, optional=False)


def spell(annotation: object) -> str:
    """Return an annotation as it is written in code.

    >>> spell(dict[str, int]), spell(list[bytes | None]), spell(Form)
    ('dict[str, int]', 'list[bytes | None]', 'Form')
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "None"
    if is_union(annotation):
        return " | ".join(spell(argument) for argument in arguments)
    if isinstance(origin, type) and arguments:
        return f"{spell(origin)}[{', '.join(spell(argument) for argument in arguments)}]"
    if isinstance(annotation, type):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    return "..." if annotation is ... else str(annotation).replace("typing.", "")


def is_union(annotation: object) -> bool:
    """Return whether it is `X | Y`, or `Union` or `Optional` of typing."""
    return typing.get_origin(annotation) in (types.UnionType, typing.Union)


def form_of(annotation: object) -> Payload:
    """Return how a payload with this annotation is read.

    Raises:
        TypeError: It asks for something that is not checked.
    """
    annotation = _unwrap(annotation)
    inner, optional = annotation, False
    if is_union(annotation):
        members = typing.get_args(annotation)
        if type(None) in members:
            optional = True
            rest = [_unwrap(member) for member in members if member is not type(None)]
            if len(rest) == 1:
                inner = rest[0]
    if inner is bytes:
        return Payload(annotation, Form.BYTES, optional)
    if inner is str:
        return Payload(annotation, Form.TEXT, optional)
    return Payload(annotation, Form.JSON, optional or annotation is type(None))


def _unwrap(annotation: object) -> object:
    """Look through NewType, `type X = …` of Python 3.12, and notes on bytes and text."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            base = _unwrap(typing.get_args(annotation)[0])
            if base is not str and base is not bytes:
                return annotation
            notes = typing.get_args(annotation)[1:]
            if any(type(note).__name__ == "Meta" or is_pydantic(note) for note in notes):
                raise TypeError(
                    f"the constraints of {spell(annotation)} would not be checked, for only JSON "
                    "is: check them in the handler"
                )
            return base
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__  # type: ignore[attr-defined]  # new in 3.12
        else:
            return annotation
