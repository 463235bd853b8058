"""How much is held in memory, and when fetching stops and goes on.

Two bounds: messages and bytes over everything, with hysteresis, so that a full house is
reported once and not at each message; and a partition that holds its share without
finishing anything is paused alone, so that the others go on.

Pure. Knows nothing of workers or lanes.
Tested by tests/core/test_flow.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Collection

from kqworker.core.commands import Command, Fetching, Pause, Resume
from kqworker.core.epochs import Epoch

FULL_MAP = 3, 4  # a partition is paused when its map fills this part of its budget


class Flow:
    """The bounds of what a supervisor holds.

    Args:
        messages: Messages held at most (and one fetched batch more), at least 1.
        size: Their bytes at most, at least 1.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._messages = messages
        self._size = size
        self.held = 0
        self.held_bytes = 0
        self._stuck: list[Epoch] = []  # paused, at the last look
        self._fetching = True

    def add(self, epoch: Epoch, count: int, size: int) -> None:
        """Count messages that were fetched."""
        epoch.held += count
        epoch.held_bytes += size
        self.held += count
        self.held_bytes += size

    def remove(self, count: int, size: int) -> None:
        """Count messages that are done or forgotten."""
        self.held -= count
        self.held_bytes -= size

    def decide(self) -> list[Command]:
        """Return `Fetching` if the house has become full, or has room again."""
        # What paused partitions hold does not stop the others, up to once the bounds.
        held, size = self.held, self.held_bytes
        if self._stuck:
            # One that has ended holds nothing any more: its pause went with it.
            stuck = [epoch for epoch in self._stuck if epoch.live]
            held -= min(sum(epoch.held for epoch in stuck), self._messages)
            size -= min(sum(epoch.held_bytes for epoch in stuck), self._size)
        if self._fetching:
            if held < self._messages and size < self._size:
                return []
        elif held > self._messages // 2 or size > self._size // 2:
            return []
        self._fetching = not self._fetching
        return [Fetching(self._fetching)]

    def balance(self, epochs: Collection[Epoch]) -> list[Command]:
        """Pause partitions that hold their share and stand still; call it now and then."""
        share = max(1, self._messages // max(2, len(epochs)))
        pause, resume = [], []
        self._stuck = []
        for epoch in epochs:
            if epoch.draining:
                continue
            still = epoch.finished == epoch.seen
            epoch.seen = epoch.finished
            # Where nothing is held, no new message can be kept from shrinking the map.
            full = epoch.held and epoch.used * FULL_MAP[1] > epoch.budget * FULL_MAP[0]
            room = epoch.held <= share // 2 and epoch.used * 2 <= epoch.budget
            if not epoch.paused and (full or (still and epoch.held >= share and len(epochs) > 1)):
                epoch.paused = True
                pause.append(epoch.partition)
            elif epoch.paused and (room or not epoch.held):
                epoch.paused = False
                resume.append(epoch.partition)
            if epoch.paused:
                self._stuck.append(epoch)
        commands: list[Command] = []
        if pause:
            commands.append(Pause(tuple(pause)))
        if resume:
            commands.append(Resume(tuple(resume)))
        return commands
