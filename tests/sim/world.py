"""The world of one seed: the time, the logs, the group, and one supervisor after the other.

Faults happen in all lives but the last; in that one everything must come to an end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from kqworker.core import commands as c
from kqworker.core import epochs
from kqworker.core.completion import decode
from kqworker.types import Output, Task, TopicPartition
from tests.sim.judge import Violation, must
from tests.sim.kafka import Group
from tests.sim.life import Life
from tests.sim.scenario import LETTERS, Faults, Log, Message, Plan, Scenario, draw

# All must be over after so many virtual seconds in calm, and so many lives.
PATIENCE = 1500.0
# So many events are never due at one moment: they lead to each other without end.
AT_ONCE = 5000
LIVES = 60


class World:
    """Everything that a seed is about, from its beginning to its end.

    Attributes:
        verified: Up to which message of each log a commit was found to be right.
        visited: The rows of the core's state tables that were reached.
        seen: The types of commands that the core has given.
        story: Lines that tell what happens; None if nobody wants to know.
    """

    def __init__(self, scenario: Scenario, tell: bool = False) -> None:
        self.scenario = scenario
        self.random: Random = scenario.random
        self.logs: dict[TopicPartition, Log] = scenario.logs
        self.metadata_limit = scenario.metadata_limit
        self.now = 0.0
        self.number = 0
        self.runs = 0
        self.group = Group(self)
        self._counted: dict[TopicPartition, c.Mark] = {}
        self.verified = dict.fromkeys(self.logs, 0)
        self.visited: dict[str, set[object]] = {"pool": set(), "ending": set()}
        self.seen: set[type] = set()
        self.story: list[str] | None = [] if tell else None
        self.over = False
        self._life: Life | None = None
        self._heap: list[tuple[float, int, object, Callable[..., None], tuple[object, ...]]] = []
        self._sequence = 0
        self._at_once = 0

    def tell(self, what: object) -> None:
        assert self.story is not None
        self.story.append(f"{self.now:10.4f}  {what}")

    # -- time

    def at(
        self, owner: Life | World, when: float, call: Callable[..., None], *arguments: object
    ) -> None:
        """Call at a time, if its owner is not over by then."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, owner, call, arguments))

    def _step(self, life: Life) -> None:
        """Let happen what comes next: an event of the world, or the supervisor's deadline."""
        deadline = life.deadline
        heap = self._heap
        if heap and (deadline is None or heap[0][0] <= deadline):
            when, _, owner, call, arguments = heapq.heappop(heap)
            self._reach(when, life)
            if not owner.over:  # type: ignore[attr-defined]
                call(*arguments)
            return
        must(deadline is not None, "nothing will ever happen again")
        assert deadline is not None
        self._reach(deadline, life)
        life.tick()

    def _reach(self, when: float, life: Life) -> None:
        if when > self.now:
            self.now = when
            self._at_once = 0
            life.moved()
        self._at_once += 1
        must(self._at_once <= AT_ONCE, "a busy loop: time does not move", self.now)

    # -- lives

    def run(self) -> None:
        """Live through all of it."""
        usual = epochs.METADATA_BUDGET
        epochs.METADATA_BUDGET = self.scenario.metadata_budget
        try:
            self._run()
        finally:
            epochs.METADATA_BUDGET = usual

    def _run(self) -> None:
        for when, message, gap in self.scenario.arrivals:
            self.at(self, when, self._append, message, gap)
        for partition, when in self.scenario.mended.items():
            if when is not None:
                self.at(self, when, self._mend, partition)
        plans = self.scenario.lives
        for plan in plans[:-1]:
            self._live(plan)
        for partition, when in self.scenario.mended.items():
            if when is None:
                self.at(self, self.now + self.random.uniform(0.0, 20.0), self._mend, partition)
        self._live(plans[-1])
        while not self._done():
            # What always kills its worker may end more than one life.
            must(self.number < LIVES, "(6) it never ends")
            self._live(plans[-1])

    def _live(self, plan: Plan) -> None:
        self.number += 1
        self.now += self.random.uniform(0.0, 2.0)
        for partition in self.logs:
            self.group.owners[partition] = None
        self._count_charges()
        life = self._life = Life(self, plan)
        life.start()
        last = plan is self.scenario.lives[-1]
        until = self.now + plan.seconds + PATIENCE
        asked = finished = False
        while not life.over:
            self._step(life)
            if last and not asked and self._done_and_told(life):
                asked, finished = True, not life.oracle.stopping
                if plan.end == "stop":
                    life.stop()
            if self.now > until:
                raise Violation(f"(6) it does not end: {self._left(life)}")
        for name, rows in life.supervisor.visited().items():
            self.visited[name] |= rows
        if last and life.stopped is not None and finished:
            self._check_last(life, life.stopped)

    def _count_charges(self) -> None:
        """Who ran alone when a supervisor ended, or lost the partition, is charged once for it."""
        for partition, mark in self.group.committed.items():
            found = decode(mark.metadata, mark.offset)
            if found is None or found.clean or self._counted.get(partition) == mark:
                continue
            self._counted[partition] = mark
            for offset in found.begun:
                message = self.logs[partition].at[offset]
                message.charged += 1
                kills = message.kind == "kills"
                must(kills or not self.scenario.strict, "(13) another one is charged", message)
        all_fit = self.scenario.limits.messages >= len(self.scenario.arrivals)
        if self.scenario.strict and self.number > 3 and all_fit:
            for _, message, _ in self.scenario.arrivals:
                left = message.kind != "kills" and not message.returned
                must(not left, "(13) held back by one that kills", message)

    def _left(self, life: Life) -> str:
        open_messages = [m for log in self.logs.values() for m in log.messages if not m.settled()]
        return f"{open_messages[:5]} {life.supervisor.snapshot()} {life.oracle.status}"

    def _done(self) -> bool:
        return all(message.settled() for _, message, _ in self.scenario.arrivals)

    def _done_and_told(self, life: Life) -> bool:
        """Whether there is nothing left to do, and the supervisor can know."""
        if life.oracle.held or len(life.oracle.views) < len(self.logs):
            return False
        if any(v.reached != self.logs[p].end for p, v in life.oracle.views.items()):
            return False
        return self._done()

    def _check_last(self, life: Life, stopped: c.Stopped) -> None:
        must(stopped.end is c.End.CLEAN, "an end in calm is clean", stopped)
        for partition, log in self.logs.items():
            mark = self.group.committed.get(partition)
            if log.messages:
                must(mark is not None and mark.offset == log.end, "a lag is left", partition, mark)

    def given_back(self, life: Life, partition: TopicPartition) -> None:
        """A partition has left; it comes back after a while."""
        seconds = self.random.choice((0.0, 0.5, 4.0))
        self.at(life, self.now + seconds, life.give_again, partition)

    # -- the log

    def _append(self, message: Message, gap: int) -> None:
        self.logs[message.partition].append(message, gap)
        if self._life is not None:
            for member in self._life.members:
                member.wake()

    def _mend(self, partition: TopicPartition) -> None:
        self.logs[partition].damage = None

    def messages_of(self, task: Task) -> tuple[list[Message], list[int]]:
        """Return the messages of a task, and their attempts."""
        messages: list[Message] = []
        attempts: list[int] = []
        for segment in task.segments:
            at = self.logs[segment.records.partition].at
            messages += [at[offset] for offset in segment.records.offsets]
            attempts += [segment.attempt] * len(segment.records)
        return messages, attempts

    def origin(self, output: Output) -> Message:
        """Return the message that a record comes from."""
        if output.topic == LETTERS:
            told = {name: (value or b"").decode() for name, value in output.headers}
            topic, partition = told["kqworker-topic"], told["kqworker-partition"]
            offset = told["kqworker-offset"]
        else:
            topic, partition, offset, _ = (output.value or b"").decode().split("|")
        return self.logs[TopicPartition(topic, int(partition))].at[int(offset)]

    def landed(self, output: Output) -> None:
        """A record is in the log."""
        message = self.origin(output)
        if output.topic == LETTERS:
            message.finished = True
        else:
            message.landed.add(int((output.value or b"").decode().split("|")[3]))


def run_seed(seed: int, tell: bool = False) -> World:
    """Run one seed to its end.

    Raises:
        Violation: The supervisor broke a promise.
    """
    world = World(draw(seed), tell)
    world.run()
    return world


__all__ = ["Faults", "Violation", "World", "run_seed"]
