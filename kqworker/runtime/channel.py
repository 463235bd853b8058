"""The two ends of the socket pair between a supervisor and one incarnation of a worker.

A queue that several processes share breaks when one of them is killed while it holds the
queue's lock, and time limits are such kills. One private channel each keeps the damage to
the worker that died. The supervisor's end never blocks: what a busy worker does not take
waits in a buffer here.
Knows nothing of tasks. Tested by tests/runtime/test_channel.py.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from kqworker.wire import ToSupervisor, ToWorker, WireError, supervisor_parser, worker_parser

READ_SIZE: Final = 256 << 10


class Channel:
    """The supervisor's end.

    Attributes:
        ended: Nothing more will come: the other end is closed, or sent no valid frame.
        fault: Why the frame is not valid, in the second case.
    """

    __slots__ = ("_out", "_parser", "_room", "_sock", "ended", "fault")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        # One for each channel: several queues of one process read at once, in their own threads.
        # What is never read into takes no memory.
        self._room = bytearray(READ_SIZE)
        self._out: deque[memoryview] = deque()
        self._parser = supervisor_parser()
        self.ended = False
        self.fault: WireError | None = None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether there is something that the socket did not take yet."""
        return bool(self._out)

    def send(self, frame: bytes | bytearray) -> None:
        """Send a frame, or the part that goes now; `flush` sends the rest when it is writable."""
        self._out.append(memoryview(frame))
        if len(self._out) == 1:
            self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        out = self._out
        while out:
            view = out[0]
            try:
                sent = self._sock.send(view)
            except BlockingIOError:
                return
            except OSError:
                # The worker is gone; its end is noticed, and reported, elsewhere.
                out.clear()
                return
            if sent < len(view):
                out[0] = view[sent:]
            else:
                out.popleft()

    def receive(self) -> list[ToSupervisor]:
        """Return the frames that one read brings."""
        return self._read() or []

    def rest(self) -> list[ToSupervisor]:
        """Return all that is still there: after the worker's death, or to look at it.

        After a death the channel's end may never come: a process that the worker started can
        hold the other side open. So this reads until there is nothing at the moment.
        """
        frames: list[ToSupervisor] = []
        while not self.ended:
            read = self._read()
            if read is None:
                break
            frames += read
        return frames

    def _read(self) -> list[ToSupervisor] | None:
        """Read once; None when there is nothing at the moment."""
        try:
            size = self._sock.recv_into(self._room)
        except BlockingIOError:
            return None
        except OSError:  # reset: it was closed with something of ours unread
            size = 0
        if not size:
            self.ended = True
            return []
        frames: list[ToSupervisor] = []
        with memoryview(self._room) as view:
            try:
                frames = self._parser.feed(view[:size])
                if self._parser.broken:
                    self._parser.feed(b"")
            except WireError as error:
                self.fault = error
                self.ended = True
        return frames

    def close(self) -> None:
        """Close the socket; forget what was not sent."""
        self._out.clear()
        self._sock.close()


class SupervisorGone(Exception):
    """The other end is closed: no supervisor reads what a worker has to say."""


class WorkerChannel:
    """The worker's end: it blocks, in both directions."""

    __slots__ = ("_frames", "_parser", "_room", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._room = bytearray(READ_SIZE)
        self._parser = worker_parser()
        self._frames: deque[ToWorker] = deque()

    def receive(self, wait: Callable[[int], None] | None = None) -> ToWorker | None:
        """Wait for the next frame; None when the supervisor has gone.

        Args:
            wait: Called with the socket's descriptor before each read of the socket; waits
                until the socket can be read.
        """
        while not self._frames:
            if wait is not None:
                wait(self._sock.fileno())
            try:
                # Into one buffer: new memory for each read costs more than the copying.
                size = self._sock.recv_into(self._room)
            except ConnectionResetError:
                return None
            if not size:
                return None
            with memoryview(self._room) as view:
                self._frames.extend(self._parser.feed(view[:size]))
        return self._frames.popleft()

    def send(self, frame: bytes | bytearray) -> None:
        """Send a whole frame.

        Raises:
            SupervisorGone: The supervisor does not read it any more.
        """
        with memoryview(frame) as view:
            sent = 0
            # Not sendall: interrupted by a signal handler that raises, it would not say
            # how much it had sent.
            while sent < len(view):
                try:
                    sent += self._sock.send(view[sent:])
                except ConnectionError as error:
                    raise SupervisorGone from error

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
