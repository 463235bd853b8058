"""How bytes become what a handler asks for, and what it pushes or returns becomes bytes.

Decides between raw bytes, UTF-8 text and JSON by the annotation alone: a message never
chooses how it is decoded. Knows nothing of handlers or Kafka.
Tested by tests/app/test_payload.py.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kqworker.errors import DecodeError
from kqworker.types import Headers, Message, Output

if TYPE_CHECKING:
    import msgspec

Decode = Callable[[bytes | None], object]
HeadersLike = Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class Form(enum.Enum):
    """What the bytes of a payload are read as."""

    BYTES = "bytes"
    TEXT = "UTF-8 text"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Payload:
    """What an annotation wants a key or a value to become.

    Attributes:
        annotation: As the handler wrote it, without a string's quotes.
        form: How the bytes are read.
        optional: Whether None, a tombstone, is passed on as None.
    """

    annotation: object
    form: Form
    optional: bool

    def __str__(self) -> str:
        return spell(self.annotation)


ANYTHING = Payload(bytes, Form.BYTES, optional=True)
TEXT = Payload(str, Form.TEXT, optional=False)


def spell(annotation: object) -> str:
    """Return an annotation as one would write it.

    >>> spell(dict[str, int]), spell(Message[bytes | None]), spell(Message)
    ('dict[str, int]', 'Message[bytes | None]', 'Message')
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


def payload_for(annotation: object) -> Payload:
    """Return how a payload with this annotation is read.

    Raises:
        TypeError: It cannot be decoded to that; the text says why and what can.
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
    payload = Payload(annotation, Form.JSON, optional or annotation is type(None))
    _json_decoder(payload)
    return payload


def _unwrap(annotation: object) -> object:
    """Look through NewType, `type X = …` of Python 3.12, and notes on bytes and text."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            base = _unwrap(typing.get_args(annotation)[0])
            if base is not str and base is not bytes:
                return annotation
            if any(type(note).__name__ == "Meta" for note in typing.get_args(annotation)[1:]):
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


def _json_decoder(payload: Payload) -> msgspec.json.Decoder[object]:
    import msgspec  # 14 ms that apps of bytes and text need not wait for

    remedy = (
        "use Message, bytes, str, or what JSON can be checked against: dict, list, int, float, "
        "bool, a dataclass, a TypedDict, a msgspec.Struct"
    )
    if payload.annotation in (bytearray, memoryview):
        raise TypeError(f"a payload cannot be decoded to {payload}: {remedy}")
    try:
        decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(payload.annotation)
        foreign = _foreign(msgspec.inspect.type_info(payload.annotation), set())
    except (TypeError, ValueError, NameError) as error:
        raise TypeError(f"a payload cannot be decoded to {payload} ({error}): {remedy}") from error
    if foreign is not None:
        within = "" if foreign is payload.annotation else f" (it contains {spell(foreign)})"
        raise TypeError(f"a payload cannot be decoded to {payload}{within}: {remedy}")
    return decoder


def _foreign(info: object, seen: set[int]) -> object | None:
    """Return a type within `info` that msgspec would only pass through, or None.

    msgspec takes any class and leaves it to a hook at run time; without one every message
    would fail, so such a class is found before the start.
    """
    import msgspec

    if isinstance(info, msgspec.inspect.CustomType | msgspec.inspect.ExtType):
        return getattr(info, "cls", info)
    if isinstance(info, tuple):
        children: Sequence[object] = info
    elif isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field) and id(info) not in seen:
        seen.add(id(info))
        children = [getattr(info, name) for name in info.__struct_fields__]
    else:
        return None
    for child in children:
        found = _foreign(child, seen)
        if found is not None:
            return found
    return None


def decoder(payload: Payload, what: str = "value") -> Decode:
    """Return the function that decodes one payload; it raises `DecodeError`.

    Args:
        payload: What to decode to.
        what: "value" or "key", for the error's text.
    """
    match payload.form:
        case Form.BYTES:
            return _bytes_decoder(payload, what)
        case Form.TEXT:
            return _text_decoder(payload, what)
        case Form.JSON:
            return _checked_json_decoder(payload, what)
        case _:
            typing.assert_never(payload.form)


def _bytes_decoder(payload: Payload, what: str) -> Decode:
    def decode(data: bytes | None) -> object:
        if data is None and not payload.optional:
            raise absent(payload, what)
        return data

    return decode


def _text_decoder(payload: Payload, what: str) -> Decode:
    def decode(data: bytes | None) -> object:
        if data is None:
            if payload.optional:
                return None
            raise absent(payload, what)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise undecodable(payload, error, what) from error

    return decode


def _checked_json_decoder(payload: Payload, what: str) -> Decode:
    import msgspec

    parse = _json_decoder(payload).decode
    # A RecursionError is JSON that nests too deeply, which no attempt will cure.
    errors = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

    def decode(data: bytes | None) -> object:
        if data is None:
            if payload.optional:
                return None
            raise absent(payload, what)
        try:
            return parse(data)
        except errors as error:
            raise undecodable(payload, error, what) from error

    return decode


def absent(payload: Payload, what: str = "value") -> DecodeError:
    """Return the error for a None that the annotation does not allow."""
    missing = "the value is None (a tombstone)" if what == "value" else f"there is no {what}"
    return DecodeError(
        f"{missing}, and the handler asks for {payload}: annotate it {payload} | None to take it"
    )


def undecodable(payload: Payload, error: Exception, what: str = "value") -> DecodeError:
    """Return the error for bytes that are not what the annotation says."""
    return DecodeError(f"cannot decode the {what} as {payload.form.value} for {payload}: {error}")


def encode(value: object) -> bytes | None:
    """Return a value as the bytes of a record.

    Bytes stay as they are, text becomes UTF-8, None a tombstone, all else JSON.

    Raises:
        TypeError: It has no JSON form.
    """
    match value:
        case None | bytes():
            return value
        case str():
            return value.encode()
        case bytearray() | memoryview():
            return bytes(value)
        case Message():
            raise TypeError("a Message cannot be pushed whole: push its .value, .key and .headers")
        case _:
            import msgspec

            try:
                return msgspec.json.encode(value)
            except (TypeError, OverflowError, RecursionError) as error:
                raise TypeError(
                    f"cannot encode {type(value).__qualname__} as JSON ({error}): push bytes, str, "
                    "None, or something made of dicts, lists, numbers, dataclasses and Structs"
                ) from error


def make_output(
    topic: str,
    value: object,
    key: str | bytes | None = None,
    headers: HeadersLike | None = None,
    partition: int | None = None,
) -> Output:
    """Return the record for a push.

    Raises:
        TypeError: The value, the key or a header is of a type that has no bytes.
        ValueError: The topic is not a name that Kafka takes, or the partition is negative.
    """
    fault = topic_fault(topic)
    if fault:
        raise ValueError(fault)
    if isinstance(key, str):
        key = key.encode()
    elif key is not None and not isinstance(key, bytes):
        raise TypeError(f"key={key!r}: a key is str, bytes or None; write str(…) around it")
    if partition is not None and (type(partition) is not int or partition < 0):
        raise ValueError(f"partition={partition!r}: must be an integer of at least 0, or None")
    return Output(topic, encode(value), key, _encode_headers(headers), partition)


def _encode_headers(headers: HeadersLike | None) -> Headers:
    if not headers:
        return ()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    encoded: list[tuple[str, bytes | None]] = []
    for name, value in pairs:
        if not isinstance(name, str):
            raise TypeError(f"header {name!r}: a header's name is str")
        if isinstance(value, str):
            value = value.encode()
        elif value is not None and not isinstance(value, bytes):
            raise TypeError(f"header {name!r}: {value!r} is neither str, bytes nor None")
        encoded.append((name, value))
    return tuple(encoded)


def topic_fault(topic: str) -> str | None:
    """Return what is wrong with a topic's name, or None.

    The rule is Kafka's own (org.apache.kafka.common.internals.Topic).

    >>> topic_fault("orders.v1"), topic_fault("my orders")
    (None, "topic 'my orders': only letters, digits, '.', '_' and '-' are allowed, at most 249")
    """
    return _fault(topic) if isinstance(topic, str) else f"topic {topic!r}: must be str"


@lru_cache(maxsize=1024)  # asked on every push
def _fault(topic: str) -> str | None:
    if not topic:
        return "topic '': a topic needs a name"
    if topic in (".", ".."):
        return f"topic {topic!r}: Kafka reserves this name"
    if not _TOPIC.fullmatch(topic):
        allowed = "only letters, digits, '.', '_' and '-' are allowed, at most 249"
        return f"topic {topic!r}: {allowed}"
    return None
