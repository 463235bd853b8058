"""A handler's result that says more about its record than the value.

Decides nothing; `Handler.encode_result` reads it. Tested by tests/app/test_results.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType

HeadersLike = Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]


class Output:
    """A result, and what its record has beside the value; for handlers to return.

    If a handler returns a value alone, its record goes to the handler's `output` topic, with the
    message's key and without headers.

    Args:
        value: As for a push: bytes stay as they are, str becomes UTF-8, None is a tombstone, all
            else becomes JSON.
        key: str, bytes, or None for no key; `...` keeps the message's key.
        headers: By name; a list of pairs keeps its order and repeated names.
        topic: None for the handler's `output`.
        partition: From 0; None lets the key decide.
    """

    __slots__ = ("headers", "key", "partition", "topic", "value")

    # Not a dataclass: msgspec would encode one inside a list as JSON.
    def __init__(
        self,
        value: object,
        key: str | bytes | EllipsisType | None = ...,
        headers: HeadersLike | None = None,
        topic: str | None = None,
        partition: int | None = None,
    ) -> None:
        self.value = value
        self.key = key
        self.headers = headers
        self.topic = topic
        self.partition = partition

    def _fields(self) -> tuple[object, ...]:
        return self.value, self.key, self.headers, self.topic, self.partition

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Output) and self._fields() == other._fields()

    __hash__ = None  # type: ignore[assignment]  # its value may be anything

    def __repr__(self) -> str:
        given = [f"{self.value!r}"]
        if self.key is not ...:
            given.append(f"key={self.key!r}")
        for name in ("headers", "topic", "partition"):
            if getattr(self, name) is not None:
                given.append(f"{name}={getattr(self, name)!r}")
        return f"Output({', '.join(given)})"
