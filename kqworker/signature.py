"""What a handler's signature asks for, and the function that serves it from a frame.

Decides which parameter gets what, and refuses at decoration what cannot be served. The
binding is made once a segment, so that a message costs little more than the call itself:
fields are built only where they are asked for. Knows nothing of Kafka or processes.
Tested by tests/app/test_signature.py.
"""

from __future__ import annotations

import enum
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kqworker.context import Context
from kqworker.payload import (
    ANYTHING,
    TEXT,
    Decode,
    Form,
    Payload,
    absent,
    decoder,
    is_union,
    payload_for,
    undecodable,
)
from kqworker.types import Message, Segment

Read = Callable[[int], object]
Contexts = Callable[[int], Context]
Bind = Callable[[Segment, Contexts], Read]

ALLOWED = (
    "a handler takes one parameter (the payload, by its annotation; a Message if it says so or "
    "says nothing), or two named key and value; and a Context anywhere, by annotation"
)


class Role(enum.Enum):
    """What a parameter is given."""

    VALUE = "value"
    KEY = "key"
    MESSAGE = "message"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that is served.

    Attributes:
        name: As written.
        role: What it is given.
        payload: How its bytes are decoded; unused for CONTEXT.
        keyword: Whether it can be passed by name only.
    """

    name: str
    role: Role
    payload: Payload
    keyword: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a handler that are served, in the order of the call."""

    parameters: tuple[Parameter, ...]

    @property
    def payload(self) -> str:
        """The type that values are decoded to, as one would write it."""
        for parameter in self.parameters:
            if parameter.role is Role.MESSAGE and parameter.payload is ANYTHING:
                return "Message"
            if parameter.role is Role.MESSAGE:
                return f"Message[{parameter.payload}]"
            if parameter.role is Role.VALUE:
                return str(parameter.payload)
        return ""


def read_signature(function: Callable[..., object]) -> Signature:
    """Return what a function asks for.

    Raises:
        TypeError: It asks for something that cannot be served; the text says what is allowed.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError) as error:
        raise TypeError(f"its signature cannot be read ({error}): {ALLOWED}") from error
    hints = {p.name: _resolve(function, p) for p in parameters}

    contexts = [p for p in parameters if _is_context(hints[p.name])]
    payloads = _payload_parameters([p for p in parameters if p not in contexts])
    roles: dict[str, tuple[Role, Payload]] = {p.name: (Role.CONTEXT, ANYTHING) for p in contexts}
    if len(payloads) == 1:
        roles[payloads[0].name] = _single(payloads[0], hints[payloads[0].name])
    else:
        roles |= _key_and_value(payloads, hints)
    return Signature(_served(parameters, roles))


def _resolve(function: Callable[..., object], parameter: inspect.Parameter) -> object:
    """Return a parameter's annotation without its quotes, or `Parameter.empty`."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return annotation

    # Each alone: a return annotation that only type checkers can see must not matter.
    def alone() -> None: ...

    alone.__annotations__ = {parameter.name: annotation}
    try:
        hints = typing.get_type_hints(alone, globals_of(function), include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise TypeError(
            f"the annotation {annotation!r} of {parameter.name!r} cannot be resolved ({error}): "
            "define the type at the level of the module, before the handler, and not under "
            "TYPE_CHECKING"
        ) from error
    return hints[parameter.name]


def globals_of(function: Callable[..., object]) -> dict[str, object]:
    """Return the namespace in which a handler's annotations were written."""
    plain = plain_function(function)
    if plain is not None:
        return plain.__globals__
    module = sys.modules.get(getattr(function, "__module__", None) or type(function).__module__)
    return vars(module) if module is not None else {}


def plain_function(function: object) -> types.FunctionType | None:
    """Return the Python function behind a partial, a method, a decorator or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    if isinstance(function, types.MethodType):
        function = inspect.unwrap(function.__func__)
    if not isinstance(function, types.FunctionType | type):
        function = inspect.getattr_static(type(function), "__call__", None)
    return function if isinstance(function, types.FunctionType) else None


def _is_context(hint: object) -> bool:
    members = typing.get_args(hint) if is_union(hint) else (hint,)
    return Context in members


def _payload_parameters(rest: list[inspect.Parameter]) -> list[inspect.Parameter]:
    for parameter in rest:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"'{parameter}' cannot be served: {ALLOWED}")
    if {p.name for p in rest[:2]} == {"key", "value"}:
        payloads = rest[:2]
    else:
        # What has a default keeps it, unless nothing else could take the payload.
        payloads = [p for p in rest if p.default is p.empty] or rest[:1]
    left = [p for p in rest if p not in payloads and p.default is p.empty]
    if not payloads or len(payloads) + len(left) > 2:
        count = len(payloads) + len(left)
        raise TypeError(f"it takes {count or 'no'} parameters for the message: {ALLOWED}")
    return payloads


def _single(parameter: inspect.Parameter, hint: object) -> tuple[Role, Payload]:
    if hint is inspect.Parameter.empty or hint is Message:
        return Role.MESSAGE, ANYTHING
    if typing.get_origin(hint) is Message:
        (inner,) = typing.get_args(hint)
        return Role.MESSAGE, _payload(parameter, inner)
    return Role.VALUE, _payload(parameter, hint)


def _key_and_value(
    parameters: Sequence[inspect.Parameter], hints: dict[str, object]
) -> dict[str, tuple[Role, Payload]]:
    names = {p.name for p in parameters}
    if names == {"key", "value"}:
        roles = {"key": Role.KEY, "value": Role.VALUE}
    elif all(hints[p.name] in (inspect.Parameter.empty, str) for p in parameters):
        roles = {parameters[0].name: Role.KEY, parameters[1].name: Role.VALUE}
    else:
        asked = ", ".join(str(p) for p in parameters)
        raise TypeError(f"which of ({asked}) is the key is not clear: {ALLOWED}")
    found: dict[str, tuple[Role, Payload]] = {}
    for parameter in parameters:
        hint = hints[parameter.name]
        payload = TEXT if hint is inspect.Parameter.empty else _payload(parameter, hint)
        found[parameter.name] = (roles[parameter.name], payload)
    return found


def _payload(parameter: inspect.Parameter, hint: object) -> Payload:
    if hint is Message or typing.get_origin(hint) is Message:
        raise TypeError(f"{parameter.name!r} cannot be a Message beside another one: {ALLOWED}")
    try:
        return payload_for(hint)
    except TypeError as error:
        raise TypeError(f"parameter {parameter.name!r}: {error}") from error


def _served(
    parameters: Sequence[inspect.Parameter], roles: dict[str, tuple[Role, Payload]]
) -> tuple[Parameter, ...]:
    served: list[Parameter] = []
    skipped = False
    for p in parameters:
        if p.name not in roles:
            skipped = True
            continue
        # After a parameter that keeps its default, the others must go by name.
        keyword = p.kind is p.KEYWORD_ONLY or skipped
        if keyword and p.kind is p.POSITIONAL_ONLY:
            raise TypeError(f"{p.name!r} cannot be passed, after one with a default: {ALLOWED}")
        role, payload = roles[p.name]
        served.append(Parameter(p.name, role, payload, keyword))
    return tuple(served)


def compile_binding(function: Callable[..., object], signature: Signature) -> Bind:
    """Return the function that binds a handler to the messages of a segment."""
    parameters = signature.parameters
    readers = [_reader(parameter) for parameter in parameters]
    keywords = [p.name for p in parameters if p.keyword]
    if keywords:
        return _bind_keywords(function, readers, keywords)
    if len(parameters) > 1:
        return _bind_many(function, readers)
    if parameters[0].role is not Role.VALUE:
        return _bind_one(function, readers[0])
    payload = parameters[0].payload
    if payload.form is Form.JSON or payload.optional:
        return _bind_value(function, decoder(payload))
    bind = _bind_bytes if payload.form is Form.BYTES else _bind_text
    return bind(function, payload)


# One function for each shape: a call, a loop or a test saved here is saved on every message.


def _bind_bytes(function: Callable[..., object], payload: Payload) -> Bind:
    def bind(segment: Segment, contexts: Contexts) -> Read:
        values = segment.records.values

        def call(i: int) -> object:
            value = values[i]
            if value is None:
                raise absent(payload)
            return function(value)

        return call

    return bind


def _bind_text(function: Callable[..., object], payload: Payload) -> Bind:
    def bind(segment: Segment, contexts: Contexts) -> Read:
        values = segment.records.values

        def call(i: int) -> object:
            value = values[i]
            if value is None:
                raise absent(payload)
            try:
                text = value.decode()
            except UnicodeDecodeError as error:
                raise undecodable(payload, error) from error
            return function(text)

        return call

    return bind


def _bind_value(function: Callable[..., object], decode: Decode) -> Bind:
    def bind(segment: Segment, contexts: Contexts) -> Read:
        values = segment.records.values
        return lambda i: function(decode(values[i]))

    return bind


def _bind_one(function: Callable[..., object], reader: Bind) -> Bind:
    def bind(segment: Segment, contexts: Contexts) -> Read:
        read = reader(segment, contexts)
        return lambda i: function(read(i))

    return bind


def _bind_many(function: Callable[..., object], readers: Sequence[Bind]) -> Bind:
    def bind(segment: Segment, contexts: Contexts) -> Read:
        reads = [reader(segment, contexts) for reader in readers]
        if len(reads) == 2:
            first, second = reads
            return lambda i: function(first(i), second(i))
        return lambda i: function(*[read(i) for read in reads])

    return bind


def _bind_keywords(
    function: Callable[..., object], readers: Sequence[Bind], keywords: Sequence[str]
) -> Bind:
    positional = len(readers) - len(keywords)

    def bind(segment: Segment, contexts: Contexts) -> Read:
        reads = [reader(segment, contexts) for reader in readers]
        first, named = reads[:positional], dict(zip(keywords, reads[positional:], strict=True))
        return lambda i: function(
            *[read(i) for read in first], **{name: read(i) for name, read in named.items()}
        )

    return bind


def _reader(parameter: Parameter) -> Bind:
    """Return the function that makes, for a segment, the function that reads one argument."""
    match parameter.role:
        case Role.CONTEXT:
            return lambda segment, contexts: contexts
        case Role.VALUE:
            return _value_reader(decoder(parameter.payload))
        case Role.KEY:
            return _key_reader(parameter.payload)
        case Role.MESSAGE:
            return _message_reader(decoder(parameter.payload))
        case _:
            typing.assert_never(parameter.role)


def _value_reader(decode: Decode) -> Bind:
    def reader(segment: Segment, contexts: Contexts) -> Read:
        values = segment.records.values
        return lambda i: decode(values[i])

    return reader


def _key_reader(payload: Payload) -> Bind:
    decode = decoder(payload, "key")
    # As in kq: a message without a key has the empty key, where that can be told.
    keyless = b"" if payload.form is not Form.JSON and not payload.optional else None

    def reader(segment: Segment, contexts: Contexts) -> Read:
        keys = segment.records.keys
        if keys is None:
            return lambda i: decode(keyless)
        column = keys

        def read(i: int) -> object:
            key = column[i]
            return decode(keyless if key is None else key)

        return read

    return reader


def _message_reader(decode: Decode) -> Bind:
    def reader(segment: Segment, contexts: Contexts) -> Read:
        records = segment.records
        (topic, partition), values, keys = records.partition, records.values, records.keys
        offsets, timestamps, headers = records.offsets, records.timestamps, records.headers

        def read(i: int) -> object:
            timestamp = timestamps[i]
            return Message(
                decode(values[i]),
                None if keys is None else keys[i],
                topic,
                partition,
                offsets[i],
                None if timestamp < 0 else timestamp / 1000,
                () if headers is None else headers[i] or (),
            )

        return read

    return reader
