"""Payloads that are pydantic's: decoded and encoded by pydantic itself.

Pydantic is an extra, and is imported where an annotation needs it. What is encoded is told
by what the objects themselves say. Tested by tests/app/test_pydantic.py.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kqworker.app.payload.forms import spell
from kqworker.app.payload.trees import is_pydantic

if TYPE_CHECKING:
    import pydantic

_SHOWN = 5
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def parser(annotation: Any, foreign: object) -> Callable[[bytes], object]:
    """Return the function that makes what an annotation asks for, from JSON.

    Args:
        annotation: Of the payload; Any, as types have no type before Python 3.14.
        foreign: What of it is pydantic's.

    Raises:
        TypeError: Pydantic is not installed, or has no way to do that.
    """
    try:
        import pydantic
    except ImportError:
        raise TypeError(
            f"{spell(foreign)} needs pydantic: pip install 'kqworker[pydantic]'"
        ) from None
    try:
        adapter: pydantic.TypeAdapter[object] = pydantic.TypeAdapter(annotation)
        adapter.validate_json(b"")
    except pydantic.ValidationError:
        pass  # nothing is no JSON: all its types are there
    except (TypeError, NameError, pydantic.errors.PydanticUserError) as error:
        raise TypeError(str(error).partition("\n")[0]) from error
    return adapter.validate_json


def explained(error: BaseException) -> str | None:
    """Return what is wrong with a payload in one line, without the payload; None for others.

    As text, an error of pydantic shows what it was given, and that belongs into no log.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(error, pydantic.ValidationError):
        return None
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
        for one in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        told.append(f"and {len(found) - _SHOWN} more")
    return "; ".join(told)


def is_loaded() -> bool:
    """Return whether anything here can be pydantic's."""
    return "pydantic" in sys.modules


def encode_part(value: object) -> object:
    """Return what is pydantic's as its JSON; for msgspec, which asks where it knows no type.

    Raises:
        TypeError: It is not pydantic's.
    """
    import msgspec

    return msgspec.Raw(_adapter_of(value).dump_json(value))


def plain_part(value: object) -> object:
    """Return what is pydantic's as dicts, lists and numbers; as `encode_part`."""
    return _adapter_of(value).dump_python(value)


def _adapter_of(value: object) -> pydantic.TypeAdapter[object]:
    return _adapter(type(value))  # type: ignore[arg-type]  # mypy holds a class to be unhashable


@lru_cache(maxsize=512)
def _adapter(kind: type) -> pydantic.TypeAdapter[object]:
    if not is_pydantic(kind):
        # As msgspec says it by itself.
        raise TypeError(f"Encoding objects of type {kind.__qualname__} is unsupported")
    import pydantic

    return pydantic.TypeAdapter(kind)


def with_parts_encoded(value: object) -> Any:
    """Return a value with the JSON of each pydantic dataclass in its place.

    msgspec would take them for plain ones, and go past what they say of their form.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if hasattr(kind, "__pydantic_validator__"):
        return encode_part(value)
    if isinstance(value, dict):
        return {key: with_parts_encoded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        inner = [with_parts_encoded(one) for one in value]
        return inner if any(a is not b for a, b in zip(inner, value, strict=True)) else value
    names = _fields(kind)
    changed: dict[str, object] = {}
    for name in names:
        before = getattr(value, name, None)
        after = with_parts_encoded(before)
        if after is not before:
            changed[name] = after
    if not changed:
        return value
    # A copy, so that its form stays what its class says: names, tags, what is left out.
    like = copy.copy(value)
    if hasattr(kind, "__struct_fields__"):
        import msgspec

        return msgspec.structs.replace(like, **changed)  # type: ignore[type-var]
    for name, after in changed.items():
        object.__setattr__(like, name, after)
    return like


def _fields(kind: type) -> Iterable[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    attributes = getattr(kind, "__attrs_attrs__", ())
    return getattr(kind, "__struct_fields__", None) or [a.name for a in attributes]
