"""Payloads of pydantic's types: pydantic itself decodes and encodes them.

Pydantic is an extra, and is imported only if an annotation needs it. When encoding, the
objects themselves show whether they are pydantic's. Tested by tests/app/test_pydantic.py.
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
    """Return the function that makes an annotation's value from JSON.

    Args:
        annotation: The payload's; Any, as types have no type before Python 3.14.
        foreign: The part of it that is pydantic's.

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
        pass  # empty bytes are no JSON; all its types are there
    except (TypeError, NameError, pydantic.errors.PydanticUserError) as error:
        raise TypeError(str(error).partition("\n")[0]) from error
    return adapter.validate_json


def explained(error: BaseException) -> str | None:
    """Return what is wrong with a payload in one line, without the payload; None for others.

    The text of a pydantic error shows the payload, which must not get into a log.
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
    """Return whether any object here can be pydantic's."""
    return "pydantic" in sys.modules


def encode_part(value: object) -> object:
    """Return the JSON of a pydantic object; msgspec calls this for a type that it does not know.

    Raises:
        TypeError: It is not pydantic's.
    """
    import msgspec

    return msgspec.Raw(_adapter_of(value).dump_json(value))


def plain_part(value: object) -> object:
    """Return a pydantic object as dicts, lists and numbers; otherwise as `encode_part`."""
    return _adapter_of(value).dump_python(value)


def _adapter_of(value: object) -> pydantic.TypeAdapter[object]:
    return _adapter(type(value))  # type: ignore[arg-type]  # mypy holds a class to be unhashable


@lru_cache(maxsize=512)
def _adapter(kind: type) -> pydantic.TypeAdapter[object]:
    if not is_pydantic(kind):
        # In msgspec's own words.
        raise TypeError(f"Encoding objects of type {kind.__qualname__} is unsupported")
    import pydantic

    return pydantic.TypeAdapter(kind)


def with_parts_encoded(value: object) -> Any:
    """Return a value with each pydantic dataclass in it replaced by its JSON.

    msgspec would take them for plain dataclasses, and ignore what they say about their form.
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
    # A copy keeps the form that its class says: names, tags, what is left out.
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
