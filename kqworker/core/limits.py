"""What a supervisor keeps to, whatever happens.

Pure. Read by `supervisor`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What the supervisor keeps to.

    Attributes:
        workers: Worker processes at first, at least 1; `Scale` changes that.
        messages: Messages at work at most, at least 1: shared out between what is owned.
        size: Their bytes at most, at least 1.
        ahead: Bytes that may be fetched ahead of them, at least 1.
        commit_interval: Seconds between commits.
        boot_seconds: Seconds that a worker may take to start.
        grace: Seconds that a stop may take which the core itself decides on.
        reloads: Whether a worker that cannot boot waits for the next `Replace`, once one
            has: the app is being edited.
        suspects: Whether what a supervisor was on that did not end in order runs alone.
    """

    workers: int = 1
    messages: int = 20_000
    size: int = 64 << 20
    ahead: int = 28 << 20
    commit_interval: float = 1.0
    boot_seconds: float = 60.0
    grace: float = 30.0
    reloads: bool = False
    suspects: bool = False
