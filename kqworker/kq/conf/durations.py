"""Durations as Go writes them: `1s`, `5.5s`, `1h30m`, `100ms`.

Pure. Tested by tests/kq/test_conf_durations.py against what Go's time.ParseDuration says.
"""

from __future__ import annotations

import re

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6}
_UNITS |= {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_LIMIT = 2**63


def parse_duration(text: str) -> float:
    """Return the seconds of a duration, as Go's time.ParseDuration takes it.

    >>> parse_duration("5.5s"), parse_duration("1h30m"), parse_duration("-100ms")
    (5.5, 5400.0, -0.1)

    Raises:
        ValueError: It is no duration, has no unit, or is longer than Go can count (292 years).
    """
    return nanoseconds(text) / 10**9


def nanoseconds(text: str) -> int:
    """Return the nanoseconds of a duration, cut off as Go cuts them off.

    Raises:
        ValueError: As `parse_duration`.
    """
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = at = 0
    while match := _PART.match(rest, at):
        whole, fraction, unit = match.groups()
        scale = _UNITS.get(unit)
        if scale is None or not (whole or fraction):
            raise ValueError(text)
        total += int(whole or "0") * scale
        if fraction:
            total += _fraction(fraction, scale)
        if total > _LIMIT:
            raise ValueError(text)
        at = match.end()
    if not rest or at != len(rest) or (total == _LIMIT and not negative):
        raise ValueError(text)
    return -total if negative else total


def _fraction(digits: str, scale: int) -> int:
    # Go reads as many digits as an int64 has room for, and rounds as floats do.
    value, weight = 0, 1.0
    for digit in digits:
        if value > (_LIMIT - 1) // 10 or value * 10 + int(digit) > _LIMIT:
            break
        value = value * 10 + int(digit)
        weight *= 10
    return int(float(value) * (float(scale) / weight))
