"""How a single value is read and shown: whole numbers, seconds, sizes, addresses, names.

A parser takes what an option, a variable, a file or an App gave, and raises ValueError
with what the value should have been: the caller knows the name, the value and the origin.
Pure. Knows no setting by name. Tested by tests/settings/test_values.py and doctests.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

T = TypeVar("T")

Parse = Callable[[object], T]

MASK = "********"
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECRET = re.compile(
    r"password|passphrase|secret|token|credential|private|assertion|oauthbearer\.config"
    r"|jaas|key[._]pem|ssl[._]key$",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest of `names`, or nothing.

    >>> did_you_mean("worker", ["workers", "group"])
    " (did you mean 'workers'?)"
    """
    near = difflib.get_close_matches(word, list(names), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def is_secret(name: str) -> bool:
    """Return whether the value of this setting or Kafka property must not be shown.

    >>> is_secret("sasl.password"), is_secret("sasl.username")
    (True, False)
    """
    return _SECRET.search(name) is not None


def text(value: object) -> str:
    r"""Take text that is not empty, and has no control characters: C code ends at a NUL.

    >>> text(" a b ")
    'a b'
    >>> text("a\0b")
    Traceback (most recent call last):
    ValueError: text without control characters
    """
    if isinstance(value, str) and value.strip():
        if _CONTROL.search(value.strip()):
            raise ValueError("text without control characters")
        return value.strip()
    quotes = isinstance(value, bool | int | float)
    raise ValueError("text (put it in quotes)" if quotes else "text, not empty")


def flag(value: object) -> bool:
    """Take true or false."""
    if isinstance(value, bool):
        return value
    answer = {"true": True, "yes": True, "on": True, "1": True}
    answer |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return answer[str(value).strip().lower()]
    except KeyError:
        raise ValueError("true or false") from None


def flag_or_auto(value: object) -> bool | Literal["auto"]:
    """Take true, false, or "auto"."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return flag(value)
    except ValueError as error:
        raise ValueError(f"auto, {error}") from None


def whole(low: int) -> Parse[int]:
    """Take a whole number of at least `low`."""

    def parse(value: object) -> int:
        if not isinstance(value, bool) and isinstance(value, int | str):
            try:
                number = int(value)
            except ValueError:
                pass
            else:
                if number >= low:
                    return number
        raise ValueError(f"a whole number of at least {low}")

    return parse


def seconds(low: float) -> Parse[float]:
    """Take a finite number of seconds of at least `low`."""

    def parse(value: object) -> float:
        if not isinstance(value, bool) and isinstance(value, int | float | str):
            try:
                number = float(value)
            except ValueError:
                pass
            else:
                if low <= number < math.inf:
                    return number
        raise ValueError(f"a number of seconds of at least {low:g}")

    return parse


def size(value: object) -> int:
    """Take bytes, as a number or with a unit.

    >>> size("64MiB"), size("1.5 KB"), size(100)
    (67108864, 1500, 100)
    """
    if not isinstance(value, bool) and isinstance(value, int | str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if match and match[2] in _UNITS:
            number = round(float(match[1]) * _UNITS[match[2]])
            if number >= 1:
                return number
    raise ValueError("a number of bytes of at least 1, such as 67108864, 64MiB or 500KB")


def one_of(*names: str) -> Parse[str]:
    """Take one of these words."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in names:
            return value.strip().lower()
        raise ValueError(f"{', '.join(names[:-1])} or {names[-1]}")

    return parse


def names(value: object) -> tuple[str, ...]:
    """Take names, as a list or as one text with commas between them.

    A pattern ("^…") may hold commas itself, so it is one name.
    """
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise ValueError("a list of names")
    found = [
        part.strip()
        for given in values
        for part in ([given] if given.lstrip().startswith("^") else given.split(","))
    ]
    if not all(found):
        raise ValueError("a list of names, none of them empty")
    return tuple(dict.fromkeys(found))


def addresses(value: object) -> tuple[str, ...] | None:
    """Take Kafka's addresses; a host without a port gets 9092.

    >>> addresses("a:9092, b")
    ('a:9092', 'b:9092')
    """
    if value is None:
        return None
    expected = "host:port, or several with commas between them, such as a:9092,b:9092"
    try:
        given = names(value)
    except ValueError:
        raise ValueError(expected) from None
    found = []
    for address in given:
        match = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.%]+\])(?::(\d{1,5}))?", address)
        if not match or not 1 <= int(match[2] or 9092) <= 65535:
            raise ValueError(expected)
        found.append(f"{match[1]}:{match[2] or 9092}")
    return tuple(found)


def workers(value: object) -> int | Literal["auto"]:
    """Take a number of processes, or "auto"."""
    if value == "auto":
        return "auto"
    try:
        return whole(1)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


def limit(value: object) -> float | None:
    """Take a number of seconds above 0, or none for no limit."""
    if value is None or value == "none":
        return None
    try:
        return seconds(0.001)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or none") from None


def maybe(parse: Parse[T]) -> Parse[T | None]:
    """Take nothing, too."""
    return lambda value: None if value is None else parse(value)


def show_size(value: int) -> str:
    """Return a number of bytes in the largest unit that divides it.

    >>> show_size(2**26), show_size(1000)
    ('64MiB', '1000')
    """
    for unit in ("GiB", "MiB", "KiB"):
        if value % _UNITS[unit.lower()] == 0:
            return f"{value // _UNITS[unit.lower()]}{unit}"
    return str(value)


def show(value: object) -> str:
    """Return a value as a user would write it.

    >>> show(("a", "b")), show(True), show(None), show(30.0)
    ('a,b', 'true', 'none', '30')
    """
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:g}"
    return str(value)
