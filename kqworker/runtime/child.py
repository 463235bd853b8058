"""One incarnation of a worker, as its supervisor sees it: what it was sent, what it said,
and, after its death, what holds of that.

Decides the accounting of a death; carries nothing out.
Tested by tests/runtime/test_child.py and test_accounting.py.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess

from kqworker.core.commands import OnMessage, OnNone
from kqworker.core.events import (
    BootFailed,
    Cause,
    Event,
    Finished,
    Running,
    WorkerDied,
    WorkerReady,
)
from kqworker.runtime.channel import Channel
from kqworker.runtime.reap import Handle
from kqworker.runtime.slot import HEEDED_SECONDS, Position, Slot
from kqworker.types import Failure, Task
from kqworker.wire import Answer, ToSupervisor
from kqworker.wire import BootFailed as BootFailedFrame
from kqworker.wire import Ready as ReadyFrame
from kqworker.wire import Silenced as SilencedFrame


class OpenTask:
    """A task that the worker has not answered for to its end."""

    __slots__ = ("back", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.back: set[int] = set()  # handed back so far, unstarted


class Child:
    """The supervisor's side of a worker.

    Args:
        number: The worker's number.
        seat: The worker's seat, from which its process has its name.

    Attributes:
        far_end: The worker's end of the channel, until the worker has it.
        process, handle: None until it has started.
        generation: That of the forkserver that it comes from.
        tries: How often starting it has failed.
        stopping, killed, orphaned: Told to stop; killed by us; its forkserver died.
        end_fd: The descriptor that turns readable at its end; -1 while none is watched.
        boot_failure: Why it could not boot, as it says.
        silenced: Why it cannot print any more, as it says; empty while it can.
    """

    def __init__(self, number: int, seat: int) -> None:
        near_end, self.far_end = socket.socketpair()
        try:
            self.slot = Slot()
        except BaseException:  # no descriptor stays behind
            near_end.close()
            self.far_end.close()
            raise
        self.channel = Channel(near_end)
        self.number = number
        self.seat = seat
        self.process: BaseProcess | None = None
        self.handle: Handle | None = None
        self.generation = 0
        self.tries = 0
        self.stopping = False
        self.killed = False
        self.orphaned = False
        self.end_fd = -1
        self.boot_failure: Failure | None = None
        self.silenced = ""
        self._ready = False
        self._tasks: dict[int, OpenTask] = {}
        self._last_task = 0
        self._recalled = 0
        self._recalled_at = 0.0
        self._answered: tuple[int, int] | None = None
        self._observed: Position | None = None

    def started(self, process: BaseProcess, generation: int) -> None:
        """Take the process; it has its ends of what is shared.

        Args:
            process: The process that has been started.
            generation: That of the forkserver that it comes from.
        """
        self.process = process
        self.generation = generation
        self.handle = Handle(process.pid or 0)
        self.far_end.close()
        self.slot.handed_over()

    # What it is sent, and says

    def sent(self, task: Task) -> None:
        """Note a task that is on its way to it."""
        self._tasks[task.id] = OpenTask(len(task))
        self._last_task = task.id

    def recall(self) -> None:
        """Ask for all that it has not begun."""
        self.slot.recall(self._last_task)
        self._recalled = self._last_task
        self._recalled_at = time.monotonic()

    def said(self, frames: Iterable[ToSupervisor]) -> list[Event]:
        """Return what its frames mean."""
        events: list[Event] = []
        for frame in frames:
            match frame:
                case Answer():
                    finished = self._finished(frame)
                    if finished is not None:
                        events.append(finished)
                case ReadyFrame():
                    self._ready = True
                    events.append(WorkerReady(self.number, frame.pid))
                case BootFailedFrame():
                    self.boot_failure = frame.failure
                case SilencedFrame():
                    self.silenced = frame.reason
        return events

    def _finished(self, answer: Answer) -> Finished | None:
        task = self._tasks.get(answer.task)
        if task is None:
            return None
        if answer.complete:
            del self._tasks[answer.task]
        else:
            task.back.update(answer.unstarted)
            if answer.outcomes:
                self._answered = (answer.task, answer.outcomes[-1].index)
        return Finished(
            self.number,
            answer.task,
            answer.outcomes,
            answer.complete,
            answer.unstarted,
            answer.seconds,
        )

    # What it is working on

    def observe(self, at: Callable[[float], float]) -> Running | None:
        """Return the message that it is on, or None if it is on none.

        This proves something about the messages before that one only together with all that
        the worker has said of them: read the channel to its end after this.

        Args:
            at: Returns the loop's time at a moment of `time.monotonic()`.
        """
        heeds = time.monotonic() >= self._recalled_at + HEEDED_SECONDS
        position = self._position()
        self._observed = position
        if position is None or position.between:
            return None
        return Running(
            position.task,
            position.index,
            at(position.started),
            self._recalled if heeds else 0,
        )

    def still(self, on: OnMessage | OnNone) -> bool:
        """Return whether it is on this message, begun when the last `observe` said, or on none."""
        position = self._position()
        if position is None or position.between or isinstance(on, OnNone):
            return isinstance(on, OnNone) and (position is None or position.between)
        if (position.task, position.index) != (on.task, on.index):
            return False
        seen = self._observed
        # An observation between the worker's two stores saw one message with the start time
        # of another.
        if seen is not None and (seen.task, seen.index) == (on.task, on.index):
            return seen.started == position.started
        return True

    def _position(self) -> Position | None:
        """Return where it stands, unless its answers already say more."""
        position = self.slot.read()
        if position is None or position.task not in self._tasks:
            return None
        if not position.between and self._answered == (position.task, position.index):
            # It was killed, or observed, after it had answered for the message and before it
            # moved on.
            return Position(position.task, position.index + 1, True, position.started)
        return position

    # How it ended

    def death(self, text: str) -> list[Event]:
        """Return what its end means; all that it said has been taken in.

        Args:
            text: How the process ended.
        """
        if self.boot_failure is not None:
            return [BootFailed(self.number, self.boot_failure)]
        events: list[Event] = []
        position = self._position()
        if position is not None and position.between:
            # No message is to blame: it was on none. What it would have answered is known.
            task = self._tasks[position.task]
            rest = tuple(i for i in range(position.index, task.size) if i not in task.back)
            events.append(Finished(self.number, position.task, (), True, rest))
            position = None
        if not self._ready:
            text += ", before it was ready"
        fault = self.channel.fault
        if fault is not None:
            text = f"it wrote what is no frame: {fault}"
        if self.orphaned:
            text = "the forkserver died"
        if position is None:
            events.append(WorkerDied(self.number, self._cause(True), None, 0, text))
        else:
            events.append(
                WorkerDied(self.number, self._cause(False), position.task, position.index, text)
            )
        return events

    def _cause(self, idle: bool) -> Cause:
        if self.killed:
            return Cause.KILLED
        if self.orphaned or (self.stopping and idle):
            return Cause.STOPPED
        return Cause.CRASHED

    def close(self) -> None:
        """Let go of everything; the process, if there was one, has ended."""
        self.far_end.close()
        self.channel.close()
        self.slot.close()
        if self.handle is not None:
            self.handle.close()
        if self.process is not None:
            self.process.close()
