"""What a worker is on, in memory that it shares with its supervisor.

Words of 8 bytes, each written by one aligned store, so none is ever seen half-written:

    POSITION  task << 24 | index; 0 is idle. With `BETWEEN` set, the worker has done with
              all before the index and has not begun the message at it.
    STARTED   when it began the message, a float of `time.monotonic()`.
    RECALL    written by the supervisor: unstarted messages of tasks up to this id go back.
              Read for each message behind the store of its POSITION.
    CPU       seconds of CPU that the worker had used at the end of its last task, a float.

Everything that is more than a plain accept of a message is in the channel before POSITION
moves on; that makes the index a proof for all the messages before it. A worker writes
STARTED before POSITION; a reader between the two stores may see one message with the time of
its neighbour. So no worker is killed after one reading: it is stopped first, and both words
must still be what they were.

A worker in the middle of a long message cannot hand back the messages behind it, so the
supervisor takes them back by itself: it stores RECALL, and later loads POSITION. A worker
stores POSITION and then loads RECALL. The worker could miss a recall while the supervisor
misses its move only while that store waits in the store buffer of its core. That takes
nanoseconds, and each switch of a core to another process ends it; the supervisor waits for
`HEEDED_SECONDS` between the two. (A fence for each message would cost more than the
rest of the loop, and to stop the worker breaks off system calls of handlers with EINTR.)

The memory is a file without a name: it is gone when every process that has it has ended,
however it ended. (The tracker of `multiprocessing.shared_memory` would warn.)
Tested by tests/runtime/test_slot.py and test_accounting.py.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Final

POSITION, STARTED, RECALL, CPU = range(4)
SIZE: Final = 64
HEEDED_SECONDS: Final = 0.01
INDEX_BITS: Final = 24
INDEX_MASK: Final = 2**INDEX_BITS - 1
BETWEEN: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Position:
    """Where a worker stands.

    Attributes:
        task: The task's id.
        index: The message that it is on, or with `between` the next one.
        between: It is on no message now.
        started: When it began the message, in seconds of `time.monotonic()`.
    """

    task: int
    index: int
    between: bool
    started: float


class Slot:
    """The memory of one incarnation of a worker, as its supervisor sees it.

    Attributes:
        fd: The file's descriptor, to be handed to the worker; -1 once that is done.
    """

    __slots__ = ("_memory", "_seconds", "_words", "fd")

    def __init__(self) -> None:
        self.fd = _nameless_file()
        try:
            os.ftruncate(self.fd, SIZE)
            self._memory = mmap.mmap(self.fd, SIZE)
        except BaseException:  # no descriptor stays behind
            os.close(self.fd)
            raise
        self._words = memoryview(self._memory).cast("Q")
        self._seconds = memoryview(self._memory).cast("d")

    def handed_over(self) -> None:
        """Close the descriptor: the worker has its own by now."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self) -> Position | None:
        """Return what the worker is on; None if it has no task or is done with it."""
        position = self._words[POSITION]
        if not position:
            return None
        return Position(
            (position & ~BETWEEN) >> INDEX_BITS,
            position & INDEX_MASK,
            bool(position & BETWEEN),
            self._seconds[STARTED],
        )

    def recall(self, task: int) -> None:
        """Ask for the messages that are not begun, of all tasks up to this id."""
        self._words[RECALL] = task

    @property
    def cpu_seconds(self) -> float:
        """Seconds of CPU that the worker had used at the end of its last task."""
        return self._seconds[CPU]

    def close(self) -> None:
        """Unmap the memory."""
        self.handed_over()
        self._words.release()
        self._seconds.release()
        self._memory.close()


def _nameless_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("kqworker-slot", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="kqworker-slot-") as file:
        return os.dup(file.fileno())


class WorkerSlot:
    """The same memory, as the worker sees it.

    `invoke` stores into the words itself: a call for each message would double the cost.

    Args:
        fd: The file's descriptor; closed here.

    Attributes:
        words: POSITION and RECALL.
        seconds: The same words as floats: STARTED.
    """

    __slots__ = ("seconds", "words")

    def __init__(self, fd: int) -> None:
        memory = mmap.mmap(fd, SIZE)
        os.close(fd)
        self.words = memoryview(memory).cast("Q")
        self.seconds = memoryview(memory).cast("d")

    def spent(self) -> None:
        """Note the CPU time used so far."""
        self.seconds[CPU] = time.process_time()

    def close(self) -> None:
        """Let go of the words; a later use of them raises ValueError."""
        self.words.release()
        self.seconds.release()
