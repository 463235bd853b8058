"""Simulated worker processes: they run messages, tell what became of them, and die.

A worker keeps the promises of `kqworker.runtime`: what is more than a plain accept is told
before its slot moves on, and its death comes after all that it has told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.types import Failure, Ordering, Outcome, Output, Task, Verdict
from tests.sim.scenario import OUT, Message

if TYPE_CHECKING:
    from tests.sim.life import Life

# So long after a recall it is certain that a worker heeds it.
HEEDED_SECONDS = 0.01
# So long a worker is stopped between two messages, or hangs there.
STOPS = (0.5, 3.0, 20.0, 400.0)
# Where in a message's life a SIGKILL may strike.
POINTS = ("running", "running", "returned", "told", "told", "answering", "answered")


class Worker:
    """One incarnation of a worker process.

    Attributes:
        alive: It has not ended, though it may be about to.
        index: The message of `task` that its slot names.
        tasks: How many it has not answered.
        told_at: When it told something last, and `told_until` when that is heard.
        quiet_since: Since when it has tasks, and is on no message and has told nothing.
    """

    def __init__(self, life: Life, number: int) -> None:
        self.life = life
        self.number = number
        self.alive = True
        self.doomed = False
        self.booted = False
        self.task: Task | None = None
        self.index = 0
        self.started = 0.0
        self.running: Message | None = None
        self._messages: list[Message] = []
        self._attempts: list[int] = []
        self._skipped: set[int] = set()
        self._began = 0.0
        self._recall = 0
        self._recalled_at = 0.0
        self._strike: str | None = None
        self._queue: deque[Task] = deque()
        self.told_at = self.told_until = 0.0
        self.quiet_since = 0.0
        self.tasks = 0
        self._stopped_until = 0.0
        self._boot()

    # -- life and death

    def _boot(self) -> None:
        life = self.life
        random = life.random
        trouble = life.faults.boot and random.random() < life.faults.boot
        how = random.choice(("hangs", "dies", "fails")) if trouble else "boots"
        if how != "hangs":
            life.later(random.uniform(0.01, 0.3), self._end_boot, how)

    def _end_boot(self, how: str) -> None:
        if self.doomed:
            return
        if how == "boots":
            self.booted = True
            self._put(e.WorkerReady(self.number, 4000 + self.number))
        elif how == "dies":
            self.die(e.Cause.CRASHED)
        else:
            self.alive, self.doomed = False, True
            self._put(e.BootFailed(self.number, Failure("ImportError", "no module named app")))

    def die(
        self,
        cause: e.Cause,
        seconds: float = 0.0,
        charged: bool | None = None,
        on: bool = False,
    ) -> None:
        """Be frozen now, and gone after some seconds, `on` the message that its slot names."""
        if self.doomed:
            return
        self.doomed = True
        if charged is None:
            charged = cause is e.Cause.CRASHED
        if self.running is not None and charged:
            self.running.charged += 1
        self.life.later(seconds, self._gone, cause, on)

    def _gone(self, cause: e.Cause, on: bool) -> None:
        self.alive = False
        text = "signal 9 (SIGKILL)"
        task = self.task
        between = task is not None and self.running is None and not on
        if between and self.index == len(self._messages) and self.life.random.random() < 0.5:
            between = False  # its slot may name the message behind the last, too
        if between and task is not None:
            # It was on no message, and what it would have answered is known.
            rest = range(self.index, len(self._messages))
            unstarted = tuple(i for i in rest if i not in self._skipped)
            self._put(e.Finished(self.number, task.id, (), True, unstarted))
            task = None
        number, index = (None, 0) if task is None else (task.id, self.index)
        self._put(e.WorkerDied(self.number, cause, number, index, text))

    def _put(self, event: e.Event) -> None:
        self.told_at = self.life.now
        self.told_until = max(self.told_until, self.life.soon())
        self.life.post_at(self.told_until, event)

    # -- commands

    def send(self, task: Task) -> None:
        self._queue.append(task)
        if not self.tasks:
            self.quiet_since = self.life.now
        self.tasks += 1
        if self.running is None:
            self._take_up()

    def recall(self, until: int) -> None:
        self._recall = until
        self._recalled_at = self.life.now

    def kill(self, command: c.KillWorker) -> None:
        on: c.OnMessage | c.OnNone = c.OnNone()
        if self.task is not None and self.running is not None:
            on = c.OnMessage(self.task.id, self.index)
        if command.only not in (None, on):
            return  # it has moved on just before
        life = self.life
        seconds = life.random.uniform(0.0, 0.05)
        if life.faults.undead and not self.doomed and life.random.random() < life.faults.undead:
            # It hangs in the kernel.
            seconds = life.random.uniform(4.0, 30.0)
            life.oracle.undead.add(self.number)
        elif command.only is None:
            # Nobody stops it first: it may get something done before it is hit.
            life.later(seconds, self.die, e.Cause.KILLED, 0.0, False)
            return
        self.die(e.Cause.KILLED, seconds, charged=isinstance(command.only, c.OnMessage))

    def stop(self) -> None:
        life = self.life
        if life.faults.hooks and life.random.random() < life.faults.hooks:
            if life.random.random() < 0.5:
                self.die(e.Cause.CRASHED, 0.01)
            return  # or it hangs
        seconds = max(0.0, self._stopped_until - life.now) + life.random.uniform(0.0, 0.1)
        life.later(seconds, self.die, e.Cause.STOPPED)

    def observed(self) -> e.Running | None:
        if self.task is None or self.running is None:
            return None
        sure = self.life.now >= self._recalled_at + HEEDED_SECONDS
        return e.Running(self.task.id, self.index, self.started, self._recall if sure else 0)

    # -- work

    def _take_up(self) -> None:
        if not self._stops(self._take_up):
            if self.life.lag:
                self.life.later(self.life.lag, self._next_task)
            else:
                self._next_task()

    def _stops(self, then: Callable[[], None]) -> bool:
        """Whether it is stopped here, or still is; then it goes on later."""
        life = self.life
        if life.now < self._stopped_until:
            return True
        if not life.faults.stop or life.random.random() >= life.faults.stop:
            return False
        seconds = life.random.choice(STOPS)
        self._stopped_until = life.now + seconds
        life.later(seconds, then)
        return True

    def _next_task(self) -> None:
        if self.doomed or not self._queue or self.running is not None:
            return
        if self.life.now < self._stopped_until:
            return
        self.task = self._queue.popleft()
        self._messages, self._attempts = self.life.world.messages_of(self.task)
        self._skipped = set()
        self._began = self.life.now
        self.index = 0
        self._begin()

    def _begin(self) -> None:
        """Begin the message at the index, or one behind it, or be done with the task."""
        assert self.task is not None
        while self.index in self._skipped:
            self.index += 1
        life = self.life
        if self.index == len(self._messages):
            self._finish()
            return
        if self._recall >= self.task.id:
            if life.faults.kill and life.random.random() < life.faults.kill:
                # Its slot names a message already that it has not begun.
                self._messages[self.index].charged += 1
                self.die(e.Cause.CRASHED, on=True)
            else:
                self._finish()
            return
        message = self.running = self._messages[self.index]
        self.started = life.now
        how = message.goes(self._attempts[self.index])
        life.began(message)
        if life.faults.kill and life.random.random() < life.faults.kill:
            self._strike = life.random.choice(POINTS)
        if how == "crash":
            life.later(message.seconds / 2, self._strike_at, "running", self.task, self.index)
        elif self._strike == "running":
            # It may be too late: then the next one is hit, or nobody.
            life.later(message.seconds * 0.9, self._strike_at, None, self.task, self.index)
        if how == "kills":
            life.later(message.seconds / 2, life.end)
        elif how not in ("hang", "crash"):
            life.later(message.seconds, self._end, how, self.task, self.index)

    def _strike_at(self, how: str | None, task: Task, index: int) -> None:
        if self.task is task and self.index == index and self.running is not None:
            self.die(e.Cause.CRASHED)

    def _end(self, how: str, task: Task, index: int) -> None:
        if self.doomed or self.task is not task or self.index != index:
            return
        message = self._messages[index]
        life = self.life
        outcome = None
        if how == "ok":
            message.returned = True
            if message.outputs:
                outputs = tuple(output_of(message, n) for n in range(message.outputs))
                outcome = Outcome(index, Verdict.ACCEPT, outputs=outputs)
                message.denied = message.denied or message.comes_round
        else:
            message.charged += 1
            verdict = Verdict.RELEASE
            if how == "reject":
                message.rejected = True
                verdict = Verdict.REJECT
            delay = life.random.choice((0.0, 0.5, 2.0)) if how == "later" else None
            outcome = Outcome(index, verdict, Failure("ValueError", "boom"), delay)
        if self._strike == "returned" and outcome is None:
            self.die(e.Cause.CRASHED)  # which charges the message: it was on it
            return
        if outcome is not None:
            behind = ()
            if how != "ok":
                behind = tuple(i for i in self._behind(task, index) if i not in self._skipped)
                self._skipped.update(behind)
            self._put(e.Finished(self.number, task.id, (outcome,), unstarted=behind))
        told = self._strike == "told" and outcome is not None
        if not told:
            self.running = None
        elif life.random.random() < 0.5:
            self.running = None
            self.index += 1
        if told:
            self.die(e.Cause.CRASHED, charged=False)
            return
        self.index += 1
        self._begin()

    def _finish(self) -> None:
        self.quiet_since = self.life.now
        if not self._stops(self._answer):
            self._answer()

    def _answer(self) -> None:
        assert self.task is not None
        if self.doomed:
            return
        task = self.task
        rest = range(self.index, len(self._messages))
        unstarted = tuple(i for i in rest if i not in self._skipped)
        if self._strike == "answering" and not rest:
            self.die(e.Cause.CRASHED)
            return
        seconds = self.life.now - self._began
        self._put(e.Finished(self.number, task.id, (), True, unstarted, seconds))
        self.index = len(self._messages)
        self.quiet_since = self.life.now
        self.tasks -= 1
        if self._strike == "answered":
            self.die(e.Cause.CRASHED)
            return
        self._strike = None
        if self.life.random.random() < 0.5:
            self.task = None
        self._take_up()

    def _behind(self, task: Task, index: int) -> list[int]:
        """Return the messages behind a failed one that must not run before it."""
        failed = self._messages[index]
        if task.ordering is Ordering.UNORDERED:
            return []
        if task.ordering is Ordering.KEY and failed.key is None:
            return []
        return [
            i
            for i in range(index + 1, len(self._messages))
            if self._messages[i].partition == failed.partition
            and (task.ordering is Ordering.PARTITION or self._messages[i].key == failed.key)
        ]


def output_of(message: Message, number: int) -> Output:
    """Return one of the records that a handler pushes."""
    partition, offset = message.partition, message.offset
    value = f"{partition.topic}|{partition.partition}|{offset}|{number}".encode()
    return Output(OUT, value, returned=number == message.outputs - 1)
