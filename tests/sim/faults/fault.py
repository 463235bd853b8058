"""What a fault is that is planted in the core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A change of one place in the core.

    Attributes:
        name: What is wrong with it.
        breaks: The invariant (its number), whose own check sees it, or the command that is
            wrong then.
        old: Text that stands exactly once in all of `kqworker.core`.
        new: What is put in its place.
        scene: Where it is looked for, of `directed`; empty for what seeds draw.
    """

    name: str
    breaks: int | str
    old: str
    new: str
    scene: str = ""
