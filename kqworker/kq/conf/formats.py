"""The four formats of a configuration file, and JSON5, each as a tree with its lines.

Decides what a file says, not what it means. `kqworker.kq.conf.yaml11` reads YAML. Everything
becomes the JSON that go-zero makes of it: TOML's dates become texts, no number is NaN.
Tested by tests/kq/test_conf_formats.py and tests/interop/test_conf.py.
"""

from __future__ import annotations

import bisect
import datetime
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

import tomli

from kqworker.kq.conf import json5
from kqworker.kq.conf.environment import forgotten
from kqworker.kq.conf.trees import Entry, FormatError, Number, Value, fixed
from kqworker.kq.conf.yaml11 import read_yaml

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_VARIABLE = re.compile(r"\$(?:\{\w+\}|\w+)")
_SPACE = re.compile(r"[ \t\r\n]*")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_STRING = json.JSONDecoder()
_TOML_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?")
_TOML_KEY = re.compile(r"\s*([\w\"'. -]+?)\s*=")


def read_json(content: bytes) -> Entry:
    """Read the first JSON value; as in Go, the rest does not matter.

    Raises:
        FormatError: There is no JSON value.
    """
    # Go puts one U+FFFD for each byte that is not UTF-8, where Python puts fewer.
    text = _mend(content.decode("utf-8", "surrogateescape"))
    return _Json(text).read()


def read_json_value(text: str) -> Value:
    """Read a JSON value from a text.

    Raises:
        ValueError: It is no JSON value.
    """
    return _Json(_mend(text)).read().value


def read_toml(content: bytes) -> Entry:
    """Read TOML 1.1, which go-zero's parser takes and Python's own does not.

    Raises:
        FormatError: It is not valid.
    """
    try:
        text = content.decode("utf-8")
        tree = tomli.loads(text)
    except UnicodeDecodeError:
        raise FormatError(None, "not UTF-8 text") from None
    except tomli.TOMLDecodeError as error:
        raise _toml_fault(str(error)) from None
    except ValueError:
        raise FormatError(None, "not valid TOML: a number that has no room in 64 bits") from None
    return _from_python(tree, _toml_lines(text), (), _toml_scalar)


def read_json5(content: bytes) -> Entry:
    """Read JSON5 with the package of the extra `json5`; lines are not known.

    Raises:
        ConfigError, FormatError: As `kqworker.kq.conf.json5.parse`.
    """
    tree = json5.parse(_mend(content.decode("utf-8", "surrogateescape")))
    return _from_python(tree, {}, (), _json5_scalar)


READERS: Mapping[str, Callable[[bytes], Entry]] = {
    ".json": read_json,
    ".json5": read_json5,
    ".toml": read_toml,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}


class _Json:
    """A JSON parser that keeps lines, which the hooks of Python's parser do not get."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.breaks = [match.start() for match in re.finditer("\n", text)]

    def read(self) -> Entry:
        self._space()
        return Entry(self._value(), self._line())

    def _line(self) -> int:
        return bisect.bisect_left(self.breaks, self.at) + 1

    def _space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        assert match
        self.at = match.end()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _wrong(self, reason: str) -> FormatError:
        if not self._peek():
            reason = "its end comes too early"
        elif self.text.startswith(("//", "/*", "#"), self.at):
            reason = "it has no comments; a .json5 may have some"
        elif self._peek() == "'":
            reason = 'a text has " around it, not an apostrophe'
        elif variable := _VARIABLE.match(self.text, self.at):
            reason += forgotten(variable[0])
        column = self.at - self.text.rfind("\n", 0, self.at)
        return FormatError(self._line(), f"not valid JSON: {reason}", column)

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self.at += 1
        self._space()
        return True

    def _value(self) -> Value:
        match self._peek():
            case "{":
                return self._object()
            case "[":
                return self._array()
            case '"':
                return self._string()
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            return Number(number[0])
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return value
        raise self._wrong("here should be a value")

    def _object(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        self._take("{")
        while not self._take("}"):
            if found:
                self._comma("}")
            line = self._line()
            if self._peek() != '"':
                raise self._wrong('here should be a key, with " around it')
            key = self._string()
            self._space()
            if not self._take(":"):
                raise self._wrong("a colon is missing after the key")
            found[key] = Entry(self._value(), line, again=key in found)
            self._space()
        return found

    def _array(self) -> list[Entry]:
        found: list[Entry] = []
        self._take("[")
        while not self._take("]"):
            if found:
                self._comma("]")
            line = self._line()
            found.append(Entry(self._value(), line))
            self._space()
        return found

    def _comma(self, end: str) -> None:
        if not self._take(","):
            raise self._wrong(f"a comma or {end} is missing")
        if self._peek() == end:
            raise self._wrong(f"there is a comma too many before {end}")

    def _string(self) -> str:
        try:
            text, self.at = _STRING.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            self.at = error.pos
            raise self._wrong("a text has no end in its line, or a \\ too many") from None
        return _mend(str(text))


def _mend(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _from_python(
    value: object,
    lines: Mapping[tuple[str, ...], int],
    path: tuple[str, ...],
    scalar: Callable[[object], Value],
) -> Entry:
    line = lines.get(path)
    if line is None and path:
        line = lines.get(path[:-1])
    if isinstance(value, dict):
        table = {
            str(key): _from_python(item, lines, (*path, str(key)), scalar)
            for key, item in value.items()
        }
        return Entry(table, line)
    if isinstance(value, list):
        return Entry([_from_python(item, lines, path, scalar) for item in value], line)
    try:
        return Entry(scalar(value), line)
    except ValueError as error:
        raise FormatError(line, str(error)) from None


def _toml_fault(said: str) -> FormatError:
    where = re.fullmatch(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", said, re.DOTALL)
    if where is None:
        return FormatError(None, f"not valid TOML: {said}")
    reason, line, column = where.groups()
    return FormatError(int(line), f"not valid TOML: {reason}", int(column))


def _toml_scalar(value: object) -> Value:
    match value:
        case bool() | str():
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                raise ValueError("not valid TOML: a number that has no room in 64 bits")
            return Number(str(value))
        case float():
            return Number(json_number(value))
        case datetime.datetime() | datetime.time():
            text = re.sub(r"(\.\d*?)0+(?=$|[-+])", r"\1", value.isoformat()).replace("+00:00", "Z")
            return text.replace(".Z", "Z").removesuffix(".")
        case datetime.date():
            return value.isoformat()
    raise ValueError(f"not valid TOML: {type(value).__name__}")


def _json5_scalar(value: object) -> Value:
    # The original has no integers here: each number goes through a float64.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(json_number(float(value)), str(value))
    assert value is None or isinstance(value, bool | str)
    return value


def json_number(value: float) -> str:
    """Return a float as Go's encoding/json writes it.

    >>> json_number(8.0), json_number(1e16), json_number(1.5e-07), json_number(1e21)
    ('8', '10000000000000000', '1.5e-7', '1e+21')

    Raises:
        ValueError: JSON has no such number.
    """
    if not math.isfinite(value):
        raise ValueError("NaN and infinity are no numbers for a configuration")
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, exponent = f"{Decimal(repr(value)):e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{exponent}"
    return fixed(value)


def _toml_lines(text: str) -> dict[tuple[str, ...], int]:
    # tomli keeps no positions. In a text of several lines anything may look like a key.
    if '"""' in text or "'''" in text:
        return {}
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TOML_HEADER.fullmatch(line):
            table = _toml_path(header[1])
            lines.setdefault(table, number)
        elif key := _TOML_KEY.match(line):
            lines.setdefault((*table, *_toml_path(key[1])), number)
    return lines


def _toml_path(written: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in written.split("."))
