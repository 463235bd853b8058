"""The worker processes: the `Workers` port on real processes.

Carries commands out without waiting, and turns what workers do into events. The order at
a death: learn of it, read the channel to its end, accept the whole frames, then read the
slot, then report. The order at a look at a living worker: read the slot, then the channel to
its end, then report, so that everything is reported of the messages before its current one.
`child` judges what became of a message, `start` starts processes, `reap` ends
them.
Tested by tests/contract/test_workers.py and tests/runtime.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import fcntl
import selectors
import signal
import socket
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, assert_never

from kqworker.core import commands as c
from kqworker.core.events import Cause, Event, Finished, Observed, WorkerDied
from kqworker.runtime import worker
from kqworker.runtime.child import Child
from kqworker.runtime.reap import describe_exit, kill_session
from kqworker.runtime.spec import WorkerSpec
from kqworker.runtime.start import Descriptor, Starter
from kqworker.types import Failure, Outcome, Task, Verdict
from kqworker.wire import FrameTooLarge, ToSupervisor, encode_stop, encode_task

TRIES: Final = 3  # a forkserver that dies while it is asked for a worker is started again
KILL_SECONDS: Final = 5.0

_Data = tuple[str, Child | None]


class ProcessWorkers:
    """Workers, each in a process of its own.

    Use it from one thread only, and keep that thread alive: a process that was spawned is
    killed when the thread that started it has ended.

    Args:
        spec: What the workers run.
        method: "forkserver" or "spawn"; None for the best that the platform has.
        at: Returns the loop's time at a moment of `time.monotonic()`.
        silenced: Called with the reason when a worker says that what it prints is lost,
            once or more; it must be quick.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        method: str | None = None,
        at: Callable[[float], float] = float,
        silenced: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._spec = spec
        self._at = at
        self._silenced = silenced
        self._starter = Starter(spec, method, self._wake)
        self._children: dict[int, Child] = {}
        self._waiting: deque[Child] = deque()  # for a forkserver that is coming up
        self._events: list[Event] = []
        self._cpu_seconds = 0.0
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, ("wake", None))
        self._owner = threading.current_thread()
        self._leaving = False
        self._gone = threading.Event()
        # Runs before multiprocessing's own function, which would wait for the workers for ever.
        atexit.register(self._leave)

    @property
    def method(self) -> str:
        """How workers are started: "forkserver" or "spawn"."""
        return self._starter.method

    @property
    def cpu_seconds(self) -> float:
        """Seconds of CPU that all workers so far had used at the end of their last tasks."""
        living = sum(child.slot.cpu_seconds for child in self._children.values())
        return self._cpu_seconds + living

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait."""
        return self._selector.fileno()

    # Commands

    def execute(self, command: c.WorkersCommand) -> None:
        """Carry a command out; never block."""
        if isinstance(command, c.StartWorker):
            self._start(command)
            return
        if isinstance(command, c.Observe):
            self._observe(command.workers)
            return
        child = self._children.get(command.worker)
        if child is None:
            return  # it has died; the core hears of that, or has heard
        match command:
            case c.Send():
                self._send(child, command.task)
            case c.Recall():
                child.recall()
            case c.KillWorker():
                self._kill(child, command.only)
            case c.StopWorker():
                self._stop(child)
            case _:
                assert_never(command)

    def _start(self, command: c.StartWorker) -> None:
        try:
            child = Child(command.worker, command.seat)
        except OSError as error:
            self._stillborn(command.worker, f"it cannot be started: {error}")
            return
        self._children[child.number] = child
        if self._starter.warm:
            self._launch(child)
        else:
            self._launch_later(child)

    def _launch_later(self, child: Child) -> None:
        self._waiting.append(child)
        self._starter.warm_up()

    def _launch(self, child: Child) -> None:
        arguments = (
            self._spec,
            Descriptor(child.far_end.fileno()),
            Descriptor(child.slot.fd),
        )
        try:
            process = self._starter.start(c.process_name(child.seat), worker.main, arguments)
        except (OSError, EOFError) as error:
            self._starter.cold(self._starter.generation)
            child.tries += 1
            if child.tries < TRIES and not self._starter.warm:
                self._launch_later(child)
            else:
                self._discard(child, f"it cannot be started: {error}")
            return
        child.started(process, self._starter.generation)
        self._selector.register(child.channel, selectors.EVENT_READ, ("channel", child))
        self._watch_end(child)

    def _watch_end(self, child: Child) -> None:
        assert child.process is not None and child.handle is not None
        # A forkserver reports how its workers end. With spawn the sentinel is a pipe that
        # a process forked by the worker can hold open: the pidfd is more reliable.
        pidfd = child.handle.pidfd
        by_sentinel = self.method == "forkserver" or pidfd < 0
        child.end_fd = child.process.sentinel if by_sentinel else pidfd
        self._selector.register(child.end_fd, selectors.EVENT_READ, ("end", child))

    def _send(self, child: Child, task: Task) -> None:
        try:
            frame = encode_task(task)
        except FrameTooLarge as error:
            # Only a single message can be that large: the frames of several are bounded.
            failure = Failure("FrameTooLarge", f"the message does not fit a frame: {error}")
            outcomes = tuple(Outcome(i, Verdict.REJECT, failure) for i in range(len(task)))
            self._tell(Finished(child.number, task.id, outcomes, True))
            return
        child.sent(task)
        self._write(child, frame)

    def _write(self, child: Child, frame: bytearray) -> None:
        channel = child.channel
        waited = channel.pending
        channel.send(frame)
        if channel.pending and not waited and not channel.ended:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(channel, both, ("channel", child))

    def _observe(self, numbers: tuple[int, ...]) -> None:
        children = [child for n in numbers if (child := self._children.get(n)) is not None]
        observed = Observed({child.number: child.observe(self._at) for child in children})
        for child in children:
            if child.handle is not None and not child.channel.ended:
                self._read(child, to_the_end=True)
        self._tell(observed)

    def _kill(self, child: Child, only: c.OnMessage | c.OnNone | None) -> None:
        handle = child.handle
        if handle is None:
            self._call_off(child, Cause.KILLED)
            return
        if only is not None:
            if not child.still(only) or not handle.stop():
                return
            # Now that it is stopped, it cannot move on between the check and the kill.
            if not child.still(only):
                handle.go_on()
                return
        child.killed = True
        handle.kill_tree()

    def _stop(self, child: Child) -> None:
        if child.process is None:
            self._call_off(child, Cause.STOPPED)
            return
        child.stopping = True
        self._write(child, encode_stop())

    # Events

    def events(self) -> list[Event]:
        """Return what has happened since the last call; never block."""
        if self._leaving:
            self.close(0.0)
            raise SystemExit  # the program has ended, and this thread has nothing more to do
        if self._closed:
            return []
        self._look(0.0)
        events, self._events = self._events, []
        return events

    def _look(self, timeout: float) -> None:
        ended: list[Child] = []
        data: _Data
        for key, mask in self._selector.select(timeout):
            data = key.data
            kind, child = data
            if child is None:
                self._after_wake()
            elif kind == "end":
                ended.append(child)
            else:
                if mask & selectors.EVENT_READ:
                    self._read(child)
                if mask & selectors.EVENT_WRITE and not child.channel.ended:
                    child.channel.flush()
                    if not child.channel.pending:
                        self._selector.modify(
                            child.channel, selectors.EVENT_READ, ("channel", child)
                        )
        for child in ended:
            self._ended(child)
        if sys.platform != "linux" and self.method == "spawn":
            self._ask_for_ends()

    def _read(self, child: Child, to_the_end: bool = False) -> None:
        channel = child.channel
        self._hear(child, channel.rest() if to_the_end else channel.receive())
        if child.channel.ended:
            self._selector.unregister(child.channel)
        mute = child.channel.ended and not child.stopping
        if (mute or child.boot_failure is not None) and child.handle is not None:
            # It can do nothing more for us. One that is just ending keeps its exit code.
            child.handle.send(signal.SIGKILL)

    def _hear(self, child: Child, frames: Iterable[ToSupervisor]) -> None:
        self._events += child.said(frames)
        if child.silenced:
            self._silenced(child.silenced)

    def _ended(self, child: Child) -> None:
        assert child.process is not None and child.handle is not None
        if self.method == "forkserver" and not child.orphaned and _at_end(child.end_fd):
            # No report: the forkserver has died, and the kernel is about to kill the worker.
            child.orphaned = True
            self._starter.cold(child.generation)
            child.handle.send(signal.SIGKILL)
            if child.handle.pidfd >= 0 and not child.handle.gone:
                self._selector.unregister(child.end_fd)
                child.end_fd = child.handle.pidfd
                self._selector.register(child.end_fd, selectors.EVENT_READ, ("end", child))
                return
        code = child.process.exitcode
        if code is None:
            return  # a sentinel that closed early; the next look decides
        self._selector.unregister(child.end_fd)
        if not child.channel.ended:
            self._selector.unregister(child.channel)
        self._hear(child, child.channel.rest())
        self._events += child.death(describe_exit(code))
        kill_session(child.handle.pid)
        self._forget(child)

    def _ask_for_ends(self) -> None:
        """Find ends that a sentinel hides, held open by what the worker has forked."""
        for child in list(self._children.values()):
            if child.process is not None and child.process.exitcode is not None:
                self._ended(child)

    def _after_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        fault = self._starter.outcome()
        if fault is not None:
            waiting = list(self._waiting)
            self._waiting.clear()
            for child in waiting:
                child.tries += 1
                if child.tries < TRIES:
                    self._launch_later(child)
                else:
                    self._discard(child, fault)
        while self._waiting and self._starter.warm:
            self._launch(self._waiting.popleft())
        if self._waiting:
            self._starter.warm_up()

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody waits
            self._waker.send(b"\0")

    def _call_off(self, child: Child, cause: Cause) -> None:
        """End a worker that waits for a forkserver, which may take long to come up."""
        self._waiting.remove(child)
        self._discard(child, "it had not started yet", cause)

    def _discard(self, child: Child, text: str, cause: Cause = Cause.CRASHED) -> None:
        """Forget a worker that never started, and report that."""
        self._forget(child)
        self._stillborn(child.number, text, cause)

    def _stillborn(self, number: int, text: str, cause: Cause = Cause.CRASHED) -> None:
        self._tell(WorkerDied(number, cause, None, 0, text))

    def _forget(self, child: Child) -> None:
        self._cpu_seconds += child.slot.cpu_seconds
        self._children.pop(child.number, None)
        child.close()

    # The end

    def close(self, timeout: float) -> None:
        """End every process and everything they started.

        Workers get `timeout` seconds to finish what they have and to run their stop
        hooks; then the rest is killed. Events are no longer reported.
        """
        if self._closed:
            return
        atexit.unregister(self._leave)
        deadline = time.monotonic() + timeout
        while self._waiting:
            self._forget(self._waiting.popleft())
        if timeout > 0:
            for child in list(self._children.values()):
                if not child.stopping:
                    self._stop(child)
            self._wait_for_ends(deadline)
        for child in self._children.values():
            if child.handle is not None:
                child.killed = True
                child.handle.kill_tree()
        self._wait_for_ends(time.monotonic() + KILL_SECONDS)
        self._closed = True
        self._selector.close()
        self._woken.close()
        self._waker.close()
        self._gone.set()

    def _leave(self) -> None:
        """End every process at the exit of the program, whichever thread we belong to."""
        if threading.current_thread() is self._owner or not self._owner.is_alive():
            self.close(0.0)
            return
        # A loop that goes on in a daemon thread would replace each worker that is killed here.
        self._leaving = True
        self._wake()
        self._gone.wait(KILL_SECONDS)

    def _wait_for_ends(self, deadline: float) -> None:
        while self._children:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._look(min(left, 0.1))


def _at_end(fd: int) -> bool:
    """Return whether a readable pipe is empty, so that only its end can be read."""
    waiting = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, waiting)
    return waiting[0] == 0
