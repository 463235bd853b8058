"""How bytes become what a handler asks for.

Decides when that fails, and how the error is worded. `forms` decides how an annotation is read,
and `trees` which classes are refused. Knows nothing of handlers or Kafka.
Tested by tests/app/test_payload.py.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence

from kqworker.app.payload import validated
from kqworker.app.payload.forms import Form, Payload, form_of, spell
from kqworker.app.payload.trees import is_pydantic, parts, unfit
from kqworker.errors import DecodeError, Reject, RetryLater

Decode = Callable[[bytes | None], object]


def payload_for(annotation: object) -> Payload:
    """Return how a payload with this annotation is read.

    Raises:
        TypeError: Nothing can be decoded to it; the text says why, and what is possible.
    """
    payload = form_of(annotation)
    if payload.form is Form.JSON:
        _json_parser(payload)
    return payload


def _json_parser(payload: Payload) -> Callable[[bytes], object]:
    """Return the function that reads JSON for an annotation; pydantic's if a part is pydantic's."""
    remedy = (
        "use Message, bytes, str, or what JSON can be checked against: dict, list, int, float, "
        "bool, a dataclass, a TypedDict, a msgspec.Struct, a pydantic model"
    )
    annotation = payload.annotation
    if annotation in (bytearray, memoryview):
        raise TypeError(f"a payload cannot be decoded to {payload}: {remedy}")
    foreign = struct = None
    for part in parts(annotation):
        why = unfit(part)
        if why is not None:
            raise TypeError(f"a payload cannot be decoded to {payload}: {spell(part)} {why}")
        if foreign is None and is_pydantic(part):
            foreign = part
        elif hasattr(part, "__struct_fields__"):
            struct = part
    if foreign is not None and struct is not None:
        raise TypeError(
            f"a payload cannot be decoded to {payload}: {spell(foreign)} is for pydantic, which "
            f"does not know {spell(struct)}, a msgspec.Struct: make them of one kind"
        )
    try:
        if foreign is not None:
            return validated.parser(annotation, foreign)
        import msgspec  # it takes 14 ms, and apps of bytes and text do not need it

        decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(annotation)
        foreign = _foreign(msgspec.inspect.type_info(annotation), set())
    except (TypeError, ValueError, NameError) as error:
        raise TypeError(f"a payload cannot be decoded to {payload} ({error}): {remedy}") from error
    if foreign is not None:
        within = "" if foreign is annotation else f" (it contains {spell(foreign)})"
        raise TypeError(f"a payload cannot be decoded to {payload}{within}: {remedy}")
    return decoder.decode


def _foreign(info: object, seen: set[int]) -> object | None:
    """Return a type within `info` that msgspec would only pass on, or None.

    msgspec takes any class and leaves it to a hook at run time. Without a hook every message
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
            return _parsing_decoder(payload, bytes.decode, what)
        case Form.JSON:
            return _parsing_decoder(payload, _json_parser(payload), what)
        case _:
            typing.assert_never(payload.form)


def _bytes_decoder(payload: Payload, what: str) -> Decode:
    def decode(data: bytes | None) -> object:
        if data is None and not payload.optional:
            raise absent(payload, what)
        return data

    return decode


def _parsing_decoder(payload: Payload, parse: Callable[[bytes], object], what: str) -> Decode:
    def decode(data: bytes | None) -> object:
        if data is None:
            if payload.optional:
                return None
            raise absent(payload, what)
        try:
            return parse(data)
        except (RetryLater, Reject, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            # Bytes that are not text or JSON, or nest too deeply; or any exception of a
            # constructor or a validator: another attempt would fail, too.
            raise undecodable(payload, error, what) from error

    return decode


def absent(payload: Payload, what: str = "value") -> DecodeError:
    """Return the error for a None that the annotation does not allow."""
    missing = "the value is None (a tombstone)" if what == "value" else f"there is no {what}"
    return DecodeError(
        f"{missing}, and the handler asks for {payload}: annotate it {payload} | None to take it"
    )


def undecodable(payload: Payload, error: BaseException, what: str = "value") -> DecodeError:
    """Return the error for bytes that are not what the annotation says."""
    return DecodeError(
        f"cannot decode the {what} as {payload.form.value} for {payload}: {_why(error)}"
    )


def _why(error: BaseException) -> str:
    explained = validated.explained(error)
    if explained is not None:
        return explained
    try:
        text = str(error)
    except BaseException as worse:  # the user's own __str__ may raise anything
        text = f"(its text cannot be shown: __str__ raised {type(worse).__name__})"
    own = isinstance(error, UnicodeDecodeError | RecursionError)
    if own or type(error).__module__.partition(".")[0] == "msgspec":
        return text
    return f"{type(error).__qualname__}: {text}"
