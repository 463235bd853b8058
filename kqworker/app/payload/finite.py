"""Numbers that JSON does not have: not a number, and infinity.

msgspec and pydantic write null in their place, which is another value. The search costs nothing
if the bytes have no trace of one. Tested by tests/app/test_finite.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

# What is written in the place of such a number, as a value, as a key and as a decimal.
_TRACES = (b"null", b"nan", b"inf", b"NaN", b"Infinity")


def refuse_not_finite(value: object, data: bytes, enc_hook: Any = None) -> None:
    """Raise if a value that was encoded as JSON holds a number that is not finite.

    Args:
        value: The value that was encoded.
        data: Its bytes.
        enc_hook: msgspec's hook.

    Raises:
        ValueError: It holds one; the text names its place.
    """
    if not any(trace in data for trace in _TRACES):
        return
    import msgspec

    # Raw is JSON already, and stays as its author wrote it.
    own = (Decimal, msgspec.Raw)
    built = msgspec.to_builtins(value, builtin_types=own, enc_hook=enc_hook)
    for place, number in _not_finite(built, "$"):
        raise ValueError(
            f"cannot encode {type(value).__qualname__} as JSON: {place} is {number}, and JSON has "
            "no such number: leave it out, or write None or a text in its place"
        )


def _not_finite(value: object, place: str) -> Iterator[tuple[str, object]]:
    match value:
        case float() if not math.isfinite(value):
            yield place, value
        case Decimal() if not value.is_finite():
            yield place, value
        case dict():
            for key, inner in value.items():
                yield from _not_finite(key, f"a key of {place}")
                yield from _not_finite(inner, f"{place}.{key}")
        case list() | tuple() | set() | frozenset():
            for i, inner in enumerate(value):
                yield from _not_finite(inner, f"{place}[{i}]")
