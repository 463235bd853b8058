"""What a configuration file says, not yet what it means.

Pure. Tested by tests/kq/test_conf_formats.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    """A number as go-zero passes it on.

    Attributes:
        text: The digits as they are written in JSON.
        written: The text in the file, if it differs: `1e3`, or more digits than are passed on.
    """

    text: str
    written: str = field(default="", compare=False)

    def plain(self) -> int | float:
        """Return it as a Python number."""
        try:
            return int(self.text)
        except ValueError:
            return float(self.text)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and where it stands.

    Attributes:
        value: None for a null.
        line: The line of its key, or its own in a list; None when it is not known.
        again: Whether the same key stood there before.
        null: Whether it is a null of YAML, which go-zero takes for the empty text.
    """

    value: Value
    line: int | None
    again: bool = False
    null: bool = False

    def plain(self, nulls: bool = False) -> object:
        """Return the value as Python values, without positions.

        Args:
            nulls: Whether a null of YAML is None, and not the empty text.
        """
        match self.value:
            case _ if self.null and nulls:
                return None
            case Number() as number:
                return number.plain()
            case list() as items:
                return [item.plain(nulls) for item in items]
            case dict() as table:
                return {key: item.plain(nulls) for key, item in table.items()}
            case other:
                return other


Value: TypeAlias = "bool | str | Number | list[Entry] | dict[str, Entry] | None"


class FormatError(ValueError):  # becomes a ConfigError where the file's name is known
    """The file is not what its extension says; line and column start at 1, None if not known."""

    def __init__(self, line: int | None, text: str, column: int | None = None) -> None:
        super().__init__(text)
        self.line = line
        self.column = column


def fixed(value: float) -> str:
    """Return the shortest digits of a float, without an exponent.

    >>> fixed(1e3), fixed(0.25), fixed(-0.0)
    ('1000', '0.25', '-0')
    """
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
