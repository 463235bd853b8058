"""How go-zero reads a value: which kinds fit a field, what an absent one or a null becomes.

The rules are those of go-zero v1.10.3, core/mapping: only what it converts is converted. So
`"8"` is no whole number and 8 is no text, but a number in a list of texts becomes a text, and
a text may hold a JSON list in place of a list.
Pure. Knows no file. Tested by tests/kq/test_conf_mapping.py and tests/interop/test_conf.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

from kqworker.kq.conf.durations import parse_duration
from kqworker.kq.conf.environment import forgotten
from kqworker.kq.conf.fields import OWN, Field, Kind, Section
from kqworker.kq.conf.formats import read_json_value
from kqworker.kq.conf.trees import Entry, Number, Value
from kqworker.settings.values import MASK, did_you_mean

INT64 = range(-(2**63), 2**63)
UINT32 = range(2**32)
LONGEST = 60  # characters of a value that an error shows
UNQUOTED = (Kind.WHOLE, Kind.UNSIGNED, Kind.NUMBER, Kind.FLAG)


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the user, and the line that it is about, if that is known."""

    line: int | None
    text: str


@dataclass(slots=True)
class Mapped:
    """The result of reading a file.

    Attributes:
        values: By attribute; a section is an object of its class, or None when it is off.
        own: The section `Kqworker:`, as it stands there.
        problems: Why the file cannot be used.
        notes: What is given and does nothing.
        lines: The line of each given field, by its full name.
    """

    values: dict[str, object] = field(default_factory=dict)
    own: dict[str, object] = field(default_factory=dict)
    problems: list[Note] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    lines: dict[str, int | None] = field(default_factory=dict)


class Refused(Exception):  # caught below, where the field's line is known
    """The value does not fit; the text says what would."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def decode(root: Entry, section: Section) -> Mapped:
    """Read a whole file as a section, and report every mistake.

    Args:
        root: The file's content; null counts as empty.
        section: The fields to look for.
    """
    mapped = Mapped()
    reading = _Reading(mapped)
    if root.value is None:
        mapped.values = reading.section(Entry({}, root.line), section, "", ())
    elif isinstance(root.value, dict):
        mapped.values = reading.section(root, section, "", ())
    else:
        text = "must be a mapping of fields, such as `Name: orders`"
        mapped.problems.append(Note(root.line, text))
    return mapped


class _Reading:
    """Walks a tree along the fields."""

    def __init__(self, mapped: Mapped) -> None:
        self.mapped = mapped

    def section(
        self, here: Entry, section: Section, prefix: str, around: tuple[dict[str, Entry], ...]
    ) -> dict[str, object]:
        """Read the fields of a section; `around` are the sections outside of it."""
        assert isinstance(here.value, dict)
        given = self._by_name(here.value, section, prefix)
        values: dict[str, object] = {}
        for each in section.fields:
            name = prefix + each.name
            entry = given.get(each.name)
            if entry is None and each.inherits and (outer := _inherited(each, around)):
                # Its mistakes are reported where it stands.
                values[each.attribute] = outer
            elif entry is not None:
                self.mapped.lines.setdefault(name, entry.line)
                values[each.attribute] = self._given(each, entry, name, (given, *around))
            else:
                if each.required:
                    text = f"{name} is missing: it must be {allowed(each)}"
                    self.mapped.problems.append(Note(here.line, text))
                values[each.attribute] = each.absent()
        return values

    def _by_name(self, table: dict[str, Entry], section: Section, prefix: str) -> dict[str, Entry]:
        names = {each.name.lower(): each.name for each in section.fields}
        if not prefix:
            names[OWN.lower()] = OWN
        given: dict[str, Entry] = {}
        for key, entry in table.items():
            name = names.get(key.lower())
            if name is None:
                near = did_you_mean(key, names.values())
                text = f"{prefix}{key} is unknown and ignored{near}"
                self.mapped.notes.append(Note(entry.line, text))
                continue
            if entry.again or name in given:
                text = f"{prefix}{name} stands here more than once, and the last one counts"
                self.mapped.notes.append(Note(entry.line, text))
            given[name] = entry
        if not prefix and OWN in given:
            self._own(given.pop(OWN))
        return given

    def _own(self, entry: Entry) -> None:
        if entry.value is None or entry.null:
            return
        if not isinstance(entry.value, dict):
            self._problem(entry, f"{OWN} must be a mapping of settings, such as `ordering: key`")
            return
        self.mapped.lines.update(_lines(OWN, entry))
        self.mapped.own = {key: item.plain(nulls=True) for key, item in entry.value.items()}

    def _given(
        self, each: Field, entry: Entry, name: str, around: tuple[dict[str, Entry], ...]
    ) -> object:
        if entry.value is None:
            if not each.optional:
                self._problem(entry, f"{name} must be {allowed(each)}, not null")
            return each.absent()
        if each.section is not None:
            if isinstance(entry.value, dict):
                values = self.section(entry, each.section, f"{name}.", around)
                return each.section.made(**values)
            self._problem(entry, self._refusal(each, name, entry.value))
            return None
        try:
            return self._value(each, entry.value, name)
        except Refused as refused:
            self.mapped.problems.append(Note(refused.line or entry.line, str(refused)))
            return None

    def _problem(self, entry: Entry, text: str) -> None:
        self.mapped.problems.append(Note(entry.line, text))

    def _value(self, each: Field, value: Value, name: str) -> object:
        match each.kind:
            case Kind.LIST:
                return self._list(each, value, name)
            case Kind.MAP:
                return self._map(each, value, name)
            case Kind.TEXT if isinstance(value, str):
                if not each.options or value in each.options:
                    return value
            case Kind.FLAG if isinstance(value, bool):
                return value
            case Kind.DURATION if isinstance(value, str):
                try:
                    return parse_duration(value)
                except ValueError:
                    pass
            case Kind.WHOLE | Kind.UNSIGNED if isinstance(value, Number):
                return self._whole(each, value, name)
            case Kind.NUMBER if isinstance(value, Number):
                if math.isfinite(number := float(value.text)):
                    return number
            case Kind.TEXT | Kind.FLAG | Kind.DURATION | Kind.WHOLE | Kind.UNSIGNED:
                pass
            case Kind.NUMBER | Kind.SECTION:
                pass
            case _:
                assert_never(each.kind)
        raise Refused(self._refusal(each, name, value))

    def _whole(self, each: Field, value: Number, name: str) -> int:
        # As ParseInt and ParseUint: 8.0 and 1e3 are not whole, and -0 is not unsigned.
        signed = each.kind is Kind.WHOLE
        if re.fullmatch(r"-?\d+" if signed else r"\d+", value.text, re.ASCII):
            # Python refuses to read a number of thousands of digits.
            number = int(value.text) if len(value.text) < 100 else 2**64
            low, high = each.bounds or (-math.inf, math.inf)
            if number in (INT64 if signed else UINT32) and low <= number < high:
                return number
        raise Refused(self._refusal(each, name, value))

    def _list(self, each: Field, value: Value, name: str) -> tuple[str, ...]:
        quoted, items = isinstance(value, str), self._in_json(each, value, name)
        if items is None:
            return ()
        if not isinstance(items, list):
            # Shown as it stands in the file: JSON's reader takes 127.0.0.1:9092 for a number.
            raise Refused(self._refusal(each, name, value))
        found: list[str | None] = []
        for index, item in enumerate(items):
            if not quoted:
                self.mapped.lines[f"{name}[{index}]"] = item.line
            match item.value:
                case str(text) | Number(text):
                    found.append(text)
                case None if not quoted:
                    found.append(None)
                case wrong:
                    shown = _shown(each, wrong)
                    raise Refused(f"{name}[{index}] must be text, not {shown}", item.line)
        if all(text is None for text in found):
            return ()
        return tuple(text or "" for text in found)

    def _map(self, each: Field, value: Value, name: str) -> dict[str, str]:
        quoted, items = isinstance(value, str), self._in_json(each, value, name)
        if items is None:
            return {}
        if not isinstance(items, dict):
            raise Refused(self._refusal(each, name, value))
        found = {}
        for key, item in items.items():
            match item.value:
                case str(text):
                    found[key] = text
                case Number(text) if not quoted:
                    found[key] = text
                case None if quoted:
                    found[key] = ""
                case wrong:
                    raise Refused(
                        f"{name}[{key}] must be text, not {_shown(each, wrong)}", item.line
                    )
        return found

    def _in_json(self, each: Field, value: Value, name: str) -> Value:
        """Return the list or the mapping that a text holds."""
        if not isinstance(value, str):
            return value
        try:
            return read_json_value(value)
        except ValueError:
            raise Refused(self._refusal(each, name, value)) from None

    def _refusal(self, each: Field, name: str, value: Value) -> str:
        hint = variable = ""
        if each.kind is Kind.TEXT and not each.options and isinstance(value, bool | Number):
            hint = " (put it in quotes)"
        elif isinstance(value, str):
            variable = forgotten(value)
            hint = " (without quotes)" if each.kind in UNQUOTED and not variable else ""
        return f"{name} must be {allowed(each)}{hint}, not {_shown(each, value)}{variable}"


def _inherited(each: Field, around: tuple[dict[str, Entry], ...]) -> str | None:
    outer = next((section[each.name] for section in around if each.name in section), None)
    return outer.value if outer and isinstance(outer.value, str) else None


def _lines(name: str, entry: Entry) -> Iterator[tuple[str, int | None]]:
    yield name, entry.line
    if isinstance(entry.value, dict):
        for key, item in entry.value.items():
            yield from _lines(f"{name}.{key}", item)


def allowed(each: Field) -> str:
    """Say what a value of this field looks like."""
    if each.options:
        return f"{', '.join(each.options[:-1])} or {each.options[-1]}"
    match each.kind:
        case Kind.WHOLE if each.bounds:
            return f"a whole number of at least {each.bounds[0]:g} and below {each.bounds[1]:g}"
        case Kind.TEXT:
            return "text"
        case Kind.FLAG:
            return "true or false"
        case Kind.DURATION:
            return "a duration with its unit, such as 1s, 5.5s or 100ms"
        case Kind.SECTION:
            return "a section with its own fields"
        case _:
            return f"a {each.kind.value}"


def _shown(each: Field, value: Value) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _ if each.secret:
            return MASK
        case bool():
            return str(value).lower()
        case Number(text, written):
            return _short(written or text)
        case str():
            return repr(_short(value))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
