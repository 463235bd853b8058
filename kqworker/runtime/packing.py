"""An app as bytes, from which a worker makes it again: for an app that no worker can import.

Decides which parts of the program can be sent by value, and refuses parts that would arrive
changed. Knows nothing of workers; `kqworker.runtime.spec` unpacks.
Tested by tests/runtime/test_packing.py.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import typing
from typing import Any

import cloudpickle

from kqworker.app.app import App
from kqworker.errors import ConfigError

# msgspec puts it on each class that a payload was checked against, and makes it again.
_CACHE = "__msgspec_cache__"


def pack(app: App) -> bytes:
    """Return an app as bytes, with all that it refers to and no worker can import.

    Raises:
        ConfigError: Something of it cannot be sent.
    """
    found = io.BytesIO()
    try:
        _Pickler(found).dump(app)
    except ConfigError:
        raise
    except Exception as error:  # what a user's object raises when it is pickled may be anything
        raise ConfigError(
            f"the handler cannot be sent to the worker processes: {error}; define it in a "
            "module, and open what it needs there or at its first message"
        ) from error
    return found.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # has no annotations
    def reducer_override(self, obj: object) -> Any:  # Any: as pickle's own
        if obj is dataclasses.MISSING:
            # It is compared by identity: a copy would count as each field's default.
            return "MISSING"
        reduced = super().reducer_override(obj)
        # pickle handles a class that is imported by its name; a class that is made anew has a
        # state.
        if isinstance(obj, type) and isinstance(reduced, tuple) and len(reduced) > 2:
            _refuse_struct(obj)
            attributes = reduced[2][0]
            attributes.pop(_CACHE, None)
            if "__annotations__" in attributes:
                attributes["__annotations__"] = _resolved(obj, attributes["__annotations__"])
            if typing.is_typeddict(obj) and "__orig_bases__" not in attributes:
                # Python 3.11 keeps only dict as its base, and does not accept it as one.
                made, (meta, name, _, *rest), *state = reduced
                return made, (meta, name, (typing.TypedDict,), *rest), *state
        return reduced


def _refuse_struct(found: type) -> None:
    msgspec = sys.modules.get("msgspec")
    # Its metaclass made its fields from its body, and nothing of the body is left: a copy
    # would have none.
    if msgspec is not None and issubclass(found, msgspec.Struct):
        raise ConfigError(
            f"{found.__qualname__} is a msgspec.Struct of {found.__module__}, from where its "
            "fields cannot be sent to the worker processes: define it at the level of a module "
            "of its own and import it, or make it a dataclass"
        )


def _resolved(found: type, annotations: dict[str, object]) -> dict[str, object]:
    """Return a class's annotations evaluated: a worker's `__main__` has none of the names."""
    try:
        hints = typing.get_type_hints(found, include_extras=True)
    except Exception:  # annotations may be any expression, of classes that are no payload's too
        return annotations
    return {name: hints.get(name, annotation) for name, annotation in annotations.items()}
