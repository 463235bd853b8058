"""What the options of a queue and of a pusher have in common: how they are named and joined.

`queue_options` and `push_options` say what each option means.
Tested by tests/kq/test_queue_options.py and tests/kq/test_push_options.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from kqworker.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Option(Generic[T]):
    """What a function `with_…` returns.

    Attributes:
        of: What takes it.
        apply: Adds it to what the other options say. Named after the `with_…` that defines it.
    """

    of: ClassVar[str]

    apply: Callable[[T], T]

    def __repr__(self) -> str:
        return f"{self.apply.__qualname__.partition('.')[0]}(…)"


def joined(kind: type[Option[T]], options: tuple[Option[T], ...], found: T) -> T:
    """Return what options say together; if two contradict each other, the later one counts.

    Args:
        kind: What they must be.
        options: In the order in which they were given.
        found: What holds without options.

    Raises:
        ConfigError: One of them is no option, or has a value that it does not take.
    """
    for option in options:
        if isinstance(option, kind):
            found = option.apply(found)
        elif isinstance(option, Option):
            raise ConfigError(f"{option!r} is an option of {option.of}, not of {kind.of}")
        else:
            raise ConfigError(
                f"{option!r} is not an option of {kind.of}: give what a function with_… returns"
            )
    return found
