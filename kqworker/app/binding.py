"""The function that gives a handler its messages, straight from a segment's columns.

It is made once a segment, so that a message costs little more than the call itself:
fields are built only if they are asked for. Decides nothing that a signature has not
decided. Two places ask for the form of a payload: `compile_binding`, where mypy asks for the case
of a new one, and `_key_reader`, where only bytes and text have an empty key.
Tested by tests/app/test_binding.py and test_signature.py.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kqworker.app.context import Context
from kqworker.app.payload import TEXT, Decode, Form, Payload, absent, decoder, undecodable
from kqworker.app.signature import Parameter, Role, Signature
from kqworker.types import Headers, Message, Segment

T = TypeVar("T")

Read = Callable[[int], object]
Contexts = Callable[[int], Context]
Bind = Callable[[Segment, Contexts], Read]


def compile_binding(function: Callable[..., object], signature: Signature) -> Bind:
    """Return the function that binds a handler to the messages of a segment."""
    parameters = signature.parameters
    readers = [_reader(parameter) for parameter in parameters]
    keywords = [p.name for p in parameters if p.keyword]
    if keywords:
        return _bind_keywords(function, readers, keywords)
    if [(p.role, p.payload) for p in parameters] == [(Role.KEY, TEXT), (Role.VALUE, TEXT)]:
        return _bind_key_and_text(function, _bind_many(function, readers))
    if len(parameters) > 1:
        return _bind_many(function, readers)
    if parameters[0].role is not Role.VALUE:
        return _bind_one(function, readers[0])
    payload = parameters[0].payload
    if payload.optional:
        return _bind_value(function, decoder(payload))
    match payload.form:
        case Form.JSON:
            return _bind_value(function, decoder(payload))
        case Form.BYTES:
            return _bind_bytes(function, payload)
        case Form.TEXT:
            return _bind_text(function, payload)
        case _:
            typing.assert_never(payload.form)


# One function for each shape: a call, loop or test that is saved here is saved on every message.


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


def _bind_key_and_text(function: Callable[..., object], bind_slowly: Bind) -> Bind:
    """Serve kq's `(key, value)`, both text: 0.2 µs a message instead of 0.4."""

    def bind(segment: Segment, contexts: Contexts) -> Read:
        values, keys = segment.records.values, segment.records.keys
        slow = bind_slowly(segment, contexts)
        if keys is None:
            return slow
        column = keys

        def call(i: int) -> object:
            key, value = column[i], values[i]
            if key is None or value is None:
                return slow(i)
            try:
                texts = key.decode(), value.decode()
            except UnicodeDecodeError:
                return slow(i)  # it says which of the two is missing
            return function(*texts)

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
    # As in kq: a message without a key has the empty key, if its type can hold that.
    plain = payload.form in (Form.BYTES, Form.TEXT)
    keyless = b"" if plain and not payload.optional else None

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


@dataclass(slots=True)
class _Draft(Generic[T]):
    """A Message that is not frozen yet: the same fields in the same order.

    The constructor of a frozen dataclass sets each field by a separate call: 720 ns a
    message. To make one that is not frozen and change its class takes 190 ns.
    """

    value: T
    key: bytes | None
    topic: str
    partition: int
    offset: int
    timestamp: float | None
    headers: Headers


def _message_reader(decode: Decode) -> Bind:
    def reader(segment: Segment, contexts: Contexts) -> Read:
        records = segment.records
        (topic, partition), values, keys = records.partition, records.values, records.keys
        offsets, timestamps, headers = records.offsets, records.times, records.headers

        def read(i: int) -> object:
            timestamp = timestamps[i]
            message: object = _Draft(
                decode(values[i]),
                None if keys is None else keys[i],
                topic,
                partition,
                offsets[i],
                None if timestamp < 0 else timestamp / 1000,
                () if headers is None else headers[i] or (),
            )
            message.__class__ = Message
            return message

        return read

    return reader
