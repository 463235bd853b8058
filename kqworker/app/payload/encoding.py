"""How a handler's push or result becomes the record that is produced.

Decides which values, keys, headers and topics are taken. Knows nothing of handlers or Kafka.
Tested by tests/app/test_payload.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from kqworker.app.payload import validated
from kqworker.app.payload.finite import refuse_not_finite
from kqworker.app.payload.results import HeadersLike, Output
from kqworker.types import Headers, Message
from kqworker.types import Output as Record

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def encode(value: object) -> bytes | None:
    """Return a value as the bytes of a record.

    Bytes stay as they are, text becomes UTF-8, None a tombstone, all else JSON.

    Raises:
        TypeError: It has no JSON form.
        ValueError: It holds a number that is not finite, or text that has no UTF-8.
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
        case Output():
            raise TypeError(
                "an Output is for a handler to return: push its value, with key, headers and topic"
            )
        case _:
            import msgspec

            try:
                if not validated.is_loaded():
                    data = msgspec.json.encode(value)
                    refuse_not_finite(value, data)
                    return data
                prepared = validated.with_parts_encoded(value)
                data = msgspec.json.encode(prepared, enc_hook=validated.encode_part)
                refuse_not_finite(value, data, validated.plain_part)
                return data
            except (TypeError, OverflowError, RecursionError) as error:
                raise TypeError(
                    f"cannot encode {type(value).__qualname__} as JSON ({error}): push bytes, str, "
                    "None, or something made of dicts, lists, numbers, dataclasses, Structs and "
                    "pydantic models"
                ) from error


def make_output(
    topic: str,
    value: object,
    key: str | bytes | None = None,
    headers: HeadersLike | None = None,
    partition: int | None = None,
    returned: bool = False,
) -> Record:
    """Return the record for a push, or for a handler's result.

    Raises:
        TypeError: The value, the key or a header has a type without bytes.
        ValueError: Kafka does not take the topic's name, the partition is negative, or the
            value holds a number that is not finite.
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
    return Record(topic, encode(value), key, _encode_headers(headers), partition, returned=returned)


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
