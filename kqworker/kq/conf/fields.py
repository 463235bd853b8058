"""What one key of go-queue's configuration is: read off the dataclass that holds its value.

The classes are the table: `kqworker.kq.conf.sections` and `kqworker.kq.conf.conf.KqConf` say in a
field's type, default and metadata what the struct tags of go-queue v1.2.2 and go-zero
v1.10.3 say. Pure. Knows neither how a value is read (`kqworker.kq.conf.mapping`) nor where it
stands (`kqworker.kq.conf.formats`). Tested by tests/kq/test_conf.py and, against Go,
tests/interop/test_conf.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from enum import Enum
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

# Our own settings, which go-zero does not know.
OWN = "Kqworker"


class Kind(Enum):
    """What a field holds, in the reference's words."""

    TEXT = "text"
    WHOLE = "whole number"
    UNSIGNED = "whole number, 0 to 4294967295"
    NUMBER = "number"
    FLAG = "true or false"
    DURATION = "duration"
    LIST = "list of texts"
    MAP = "mapping of texts"
    SECTION = "section"


_KINDS: Mapping[object, Kind] = {
    str: Kind.TEXT,
    int: Kind.WHOLE,
    float: Kind.DURATION,
    bool: Kind.FLAG,
    tuple[str, ...]: Kind.LIST,
    Mapping[str, str]: Kind.MAP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key of the file. Metadata says what an attribute's type, default and `repr` do not.

    Attributes:
        attribute: The name in the class.
        name: Its name in go-zero and in the errors.
        kind: Derived from the attribute's type.
        default: The attribute's default, or a function that makes it; MISSING for none.
        optional: Whether go-zero has no default for it, so that a null of JSON fits.
        options: The only texts allowed; empty allows any.
        bounds: The lowest number allowed, and the first that is too high.
        inherits: Whether an absent field is looked for in the sections around it.
        secret: Whether its value must not be shown, in a `repr` or anywhere else.
        section: The fields below it, for `Kind.SECTION`.
        here: What it does in kqworker; empty where this version does not serve it.
    """

    attribute: str
    name: str
    kind: Kind
    default: object
    optional: bool
    options: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    inherits: bool = False
    secret: bool = False
    section: Section | None = None
    here: str = ""

    @property
    def required(self) -> bool:
        """Whether a file without it is refused."""
        return self.default is MISSING

    def absent(self) -> object:
        """Return the value of a field that is not given; None where it is required."""
        if self.required:
            return None
        return self.default() if callable(self.default) else self.default


@dataclass(frozen=True, slots=True)
class Section:
    """The fields that may stand below one key, in go-zero's order, and the class they make."""

    made: type[Any]
    fields: tuple[Field, ...]


def tag(default: T, here: str = "", *options: str, secret: bool = False, **others: object) -> T:
    """Return a dataclass field, for mypy the value; `others` are further attributes of `Field`."""
    metadata = {"here": here, "options": options, **others}
    made: Any = dataclasses.field(default=default, repr=not secret, metadata=metadata)
    result: T = made
    return result


def section(made: type[Any], *others: str) -> Section:
    """Return the table of a class, without the attributes that are not keys of the file.

    >>> from kqworker.kq.conf.sections import ShutdownConf
    >>> [(each.name, each.kind.name, each.default) for each in section(ShutdownConf).fields]
    [('WrapUpTime', 'DURATION', 1.0), ('WaitTime', 'DURATION', 5.5)]
    """
    hints = get_type_hints(made)
    fields = [each for each in dataclasses.fields(made) if each.name not in others]
    return Section(made, tuple(_field(each, hints[each.name]) for each in fields))


def _field(each: dataclasses.Field[Any], hint: Any) -> Field:
    below: list[Any] = [one for one in (hint, *get_args(hint)) if dataclasses.is_dataclass(one)]
    default = each.default if each.default_factory is MISSING else each.default_factory
    tags: dict[str, Any] = {
        "name": each.name.title().replace("_", ""),
        "kind": Kind.SECTION if below else _KINDS[hint],
        # In go-zero's tags a zero is hardly ever a default: it is what a missing value leaves.
        "optional": default in ("", 0, None, dict),
        "section": section(below[0]) if below else None,
    }
    return Field(attribute=each.name, default=default, secret=not each.repr, **tags | each.metadata)
