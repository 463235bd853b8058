"""The four plugs of the core: a source, a sink, workers, a clock.

Pure: Protocols only. A shell carries commands out and says what happened as events;
no call blocks. `fileno()` turns readable when `events()` has something to say.
A further `Port` has events alone: `Loop.listen` takes it.
Every Source and every Workers passes the contract suites in tests/contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kqworker.core.commands import Produce, SourceCommand, WorkersCommand
from kqworker.core.events import Event


class Port(Protocol):
    """Something whose events the loop waits for."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait."""
        ...

    def events(self) -> Sequence[Event]:
        """Return what has happened since the last call, in order; never block."""
        ...


class Source(Port, Protocol):
    """Where messages come from, and where commits go."""

    def execute(self, command: SourceCommand) -> None:
        """Carry a command out, soon and in order; never block."""
        ...

    def close(self, timeout: float) -> bool:
        """Leave the group; return whether that was done within `timeout` seconds."""
        ...


class Sink(Port, Protocol):
    """Where dead letters and outputs go; every delivery is answered."""

    def produce(self, command: Produce) -> None:
        """Produce a record; answered by one `Delivered`; never block."""
        ...

    def close(self, timeout: float) -> bool:
        """Wait for what is under way; return whether all was answered in time."""
        ...


class Workers(Port, Protocol):
    """The worker processes."""

    def execute(self, command: WorkersCommand) -> None:
        """Carry a command out; never block."""
        ...

    def close(self, timeout: float) -> None:
        """End every process and everything they started, within `timeout` seconds."""
        ...


class Clock(Protocol):
    """Seconds that never go back; only differences mean something."""

    def now(self) -> float:
        """Return the time in seconds."""
        ...

    def waits(self, seconds: float) -> None:
        """Note that the caller is about to wait, so that it is not late before that."""
        ...
