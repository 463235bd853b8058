"""What a fault is that is planted in the core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A change of one place in a module of the core.

    Attributes:
        name: What is wrong with it.
        breaks: The invariant (its number) or the command that is wrong then.
        module: The module's name in `kqworker.core`.
        old: Text that stands in it exactly once.
        new: What is put in its place.
        scene: Where it is looked for, of `directed`; empty for what seeds draw.
    """

    name: str
    breaks: int | str
    module: str
    old: str
    new: str
    scene: str = ""
