"""Which types an annotation is made of, and which of them cannot be filled from JSON as they are.

msgspec fills a class field by field, and skips its constructor. That is right for a plain
dataclass. It is wrong for one with a constructor of its own, and for pydantic's,
which look like dataclasses. Decides which are which, by what the classes themselves say.
Tested by tests/app/test_constructors.py and test_pydantic.py.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Attributes that pydantic 2 gives its classes, or asks of other classes that it is to know.
_PYDANTIC = ("__pydantic_validator__", "__pydantic_core_schema__", "__get_pydantic_core_schema__")
_PYDANTIC_1 = ("__get_validators__", "__pydantic_model__")


def parts(annotation: object) -> Iterator[object]:
    """Yield the classes of which an annotation is made, fields included, and what annotates them.

    Classes that pydantic can fill are not looked into.
    """
    yield from _parts(annotation, set())


def _parts(annotation: object, seen: set[int]) -> Iterator[object]:
    if isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    if type(annotation).__name__ == "TypeAliasType":
        annotation = annotation.__value__  # type: ignore[attr-defined]  # new in 3.12
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return
    if origin is typing.Annotated:
        yield from arguments[1:]
        arguments = arguments[:1]
    elif origin is not None:
        yield from _parts(origin, seen)
    for argument in arguments:
        yield from _parts(argument, seen)
    if isinstance(annotation, typing.TypeVar):
        for bound in (annotation.__bound__, *annotation.__constraints__):
            yield from _parts(bound, seen)
    if isinstance(annotation, dataclasses.InitVar):
        yield from _parts(annotation.type, seen)
    if not isinstance(annotation, type) or origin is not None or id(annotation) in seen:
        return
    seen.add(id(annotation))
    yield annotation
    if not is_pydantic(annotation) and _has_fields(annotation):
        for hint in _hints(annotation).values():
            yield from _parts(hint, seen)


def _has_fields(cls: type) -> bool:
    marks = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "_fields")
    return typing.is_typeddict(cls) or any(hasattr(cls, mark) for mark in marks)


def _hints(cls: type) -> dict[str, Any]:  # Any: whatever stands in an annotation
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return {}  # its next reader says what cannot be resolved


def is_pydantic(part: object) -> bool:
    """Return whether pydantic 2 must handle a class, or an annotation of one."""
    if any(hasattr(part, name) for name in _PYDANTIC):
        return True
    # Constraints, which nothing else here checks.
    module = "" if isinstance(part, type) else type(part).__module__
    return module.partition(".")[0] in ("pydantic", "annotated_types")


def unfit(part: object) -> str | None:
    """Return why a class cannot be filled field by field, or None."""
    if not isinstance(part, type) or is_pydantic(part):
        return None
    if any(hasattr(part, name) for name in _PYDANTIC_1):
        return "is of pydantic 1: make it one of pydantic 2"
    fields = getattr(part, "__dataclass_fields__", None)
    attributes = getattr(part, "__attrs_attrs__", None)
    named = issubclass(part, tuple) and hasattr(part, "_fields")
    if fields is None and attributes is None and not named:
        return None
    for name in ("__new__",) if named else ("__init__", "__new__", "__setattr__"):
        if _is_written(part, name):
            return (
                f"has its own {name}, which would not be called: check in __post_init__, make it "
                "a dataclass of pydantic, or take a dict and build it in the handler"
            )
    call = inspect.getattr_static(type(part), "__call__", None)
    if isinstance(call, types.FunctionType) and not issubclass(part, enum.Enum):
        return (
            f"is made by {type(part).__qualname__}.__call__, which would not be called: make it a "
            "dataclass of pydantic, or take a dict and build it in the handler"
        )
    skipped = [f.name for f in dataclasses.fields(part) if not f.init] if fields else []
    skipped += [a.name for a in attributes or () if not a.init or a.converter is not None]
    if skipped:
        return (
            f"has the field {skipped[0]}, which its constructor does not take as it comes: make "
            "it a dataclass of pydantic, or take a dict and build it in the handler"
        )
    return None


def _is_written(cls: type, name: str) -> bool:
    """Return whether a method is the user's, and not made by dataclass, attrs or namedtuple."""
    method = getattr(cls, name)
    if not isinstance(method, types.FunctionType):
        return False  # that of object, of tuple or of an extension
    code = method.__code__
    made = (
        code.co_qualname.startswith("__create_fn__.")  # dataclasses
        or code.co_filename.startswith("<attrs generated")
        or Path(code.co_filename).parent.name == "attr"
        or (name == "__new__" and code.co_name == "<lambda>")  # namedtuple
        or code.co_filename == typing.__file__  # Generic, Protocol
    )
    return not made
