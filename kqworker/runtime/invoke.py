"""Runs a task's messages, one after the other, and answers for them.

The loop over the messages is the hottest code of a worker: what can be done once a
segment is done once a segment. Always true: an outcome that is more than a plain
accept, and every skipped message, is in the channel before the slot moves on.
Knows nothing of booting. Tested by tests/runtime/test_invoke.py and test_accounting.py.
"""

from __future__ import annotations

import contextvars
import math
import os
from collections.abc import Callable, Coroutine, Sequence
from sys import getrefcount
from time import monotonic
from typing import Any, Protocol

from kqworker.app.around import serve
from kqworker.app.context import Context, Origin, collected, current, running, take_outputs
from kqworker.app.handler import Handler
from kqworker.errors import Reject, RetryLater
from kqworker.runtime.channel import SupervisorGone
from kqworker.runtime.contexts import Shared, shared
from kqworker.runtime.failures import describe
from kqworker.runtime.printing import Lost, lost_by, print_nowhere
from kqworker.runtime.slot import BETWEEN, INDEX_BITS, POSITION, RECALL, STARTED, WorkerSlot
from kqworker.types import Failure, Ordering, Outcome, Segment, Task, Verdict
from kqworker.wire import Answer, FrameTooLarge, encode_answer, encode_silenced

AnyHandler = Handler[..., Any]  # Any: each has a result of its own


class Answers(Protocol):
    """Where answers go."""

    def send(self, frame: bytes | bytearray) -> None:
        """Send a whole frame."""
        ...


class Loop(Protocol):
    """What runs coroutines; `Coroutines` does."""

    @property
    def running(self) -> bool:
        """Whether there is a loop that needs its turns."""
        ...

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:  # Any: nothing is sent in
        """Run a coroutine to its end."""
        ...

    def breathe(self) -> None:
        """Give the loop a short turn."""
        ...


class Invoker:
    """Runs tasks of one app.

    Args:
        handlers: The app's handlers, in its order.
        slot: Where it writes what it is doing.
        channel: Where answers go.
        loop: For async handlers, and for what they and the hooks have left running.
        fresh: Makes a message's context from the current one.
    """

    def __init__(
        self,
        handlers: Sequence[AnyHandler],
        slot: WorkerSlot,
        channel: Answers,
        loop: Loop,
        fresh: Callable[[], contextvars.Context] = contextvars.copy_context,
    ) -> None:
        self._handlers = handlers
        self._slot = slot
        self._channel = channel
        self._loop = loop
        self._fresh = fresh
        self._shared: Shared | None = None
        self._pid = os.getpid()
        self._silenced = False

    def run(self, task: Task) -> None:
        """Run all messages of a task, or up to a recall, and answer for it."""
        began = monotonic()
        words = self._slot.words
        handler = self._handlers[task.handler]
        if self._shared is None or not self._shared.untouched:
            self._shared = shared(self._fresh)
        total = len(task)
        skipped: set[int] = set()
        first = 0
        for segment in task.segments:
            stop = first + len(segment.records.values)
            reached = self._run_segment(task, handler, segment, first, skipped)
            first = stop
            if reached < stop:
                break
        else:
            reached = total
        self._must_be_the_worker()
        # From here on it is on no message. If it dies in the middle of this answer, the
        # supervisor hands back all that it has not begun.
        words[POSITION] = BETWEEN | task.id << INDEX_BITS | reached
        self._slot.spent()
        unstarted = tuple(i for i in range(reached, total) if i not in skipped)
        answer = Answer(task.id, (), True, unstarted, monotonic() - began)
        self._channel.send(encode_answer(answer))
        words[POSITION] = 0

    def _run_segment(
        self, task: Task, handler: AnyHandler, segment: Segment, first: int, skipped: set[int]
    ) -> int:
        """Run a segment; return the first index that is handed back.

        That message was not begun: a recall came, or output cannot be written any more.
        """
        words, seconds, fresh = self._slot.words, self._slot.seconds, self._fresh
        number, base = task.id, (task.id << INDEX_BITS) + first
        partition, offsets, become = segment.records.partition, segment.records.offsets, current.set
        count, keys = len(segment.records.values), segment.records.keys
        if words[RECALL] >= number or self._silenced:
            return first
        # If binding ends the worker, the first message is to blame.
        seconds[STARTED] = monotonic()
        words[POSITION] = base
        call = self._bind(handler, segment)
        own = self._shared
        if own is not None and own.untouched:
            context, table, origin = own.context, own.table, own.origin
            # Counted as below: a reference that Python only lends does not count.
            tables, origins = getrefcount(table), getrefcount(origin)
            origin.partition, origin.offsets = partition, offsets
        else:
            own = None
        i = begin = 0
        while begin < count:
            try:
                for i in range(begin, count):
                    if skipped and first + i in skipped:
                        continue
                    seconds[STARTED] = monotonic()
                    words[POSITION] = base + i
                    # After that store: what the supervisor finds behind POSITION after a recall, it
                    # takes back, and the worker must not begin it.
                    if words[RECALL] >= number:
                        words[POSITION] = BETWEEN | base + i
                        return first + i
                    # No message may see what another one sets, and what it leaves running must not
                    # push into another. As `untouched` does; a call would cost more.
                    if (
                        own is not None
                        and getrefcount(table) == tables
                        and getrefcount(origin) == origins
                    ):
                        running[0] = origin
                        origin.index = i
                    else:
                        own = None  # the next messages are likely to do the same
                        running[0] = origin = Origin()
                        origin.partition, origin.offsets, origin.index = partition, offsets, i
                        become(origin)
                        context = fresh()
                    result = context.run(call, i)
                    # As take_outputs does; most messages have none.
                    running[0] = None
                    if collected or result is not None:
                        outputs = take_outputs()
                        key = None if keys is None else keys[i]
                        output = context.run(handler.encode_result, result, key)
                        if output is not None:
                            outputs += (output,)
                        if outputs:
                            self._deliver(task, Outcome(first + i, Verdict.ACCEPT, outputs=outputs))
            except BaseException as error:  # SystemExit and the like are failed attempts, too
                lost = lost_by(error)
                if lost is not None:
                    self._fall_silent(lost)
                    words[POSITION] = BETWEEN | base + i
                    return first + i
                self._failed(task, first + i, error, skipped)
            begin = i + 1
        return first + count

    def _bind(self, handler: AnyHandler, segment: Segment) -> Callable[[int], object]:
        limit = handler.time_limit

        def context(i: int) -> Context:
            deadline = None if limit is None else monotonic() + limit
            return Context(handler, segment, i, deadline)

        call = serve(handler, segment, context, self._loop.run)
        if handler.is_async or not self._loop.running:
            return call
        breathe = self._loop.breathe

        def call_after_a_turn(i: int) -> object:
            breathe()
            return call(i)

        return call_after_a_turn

    # What is more than a plain accept

    def _deliver(self, task: Task, outcome: Outcome) -> None:
        """Send the outputs of a message.

        Raises:
            FrameTooLarge, ValueError, TypeError: They cannot be sent: the message has failed.
        """
        try:
            frame = encode_answer(Answer(task.id, (outcome,)))
        except FrameTooLarge as error:
            raise FrameTooLarge(f"what the handler returned and pushed: {error}") from None
        self._channel.send(frame)

    def _failed(self, task: Task, index: int, error: BaseException, skipped: set[int]) -> None:
        """Send the outcome of a failed message, with what must not run after it."""
        self._must_be_the_worker()
        if isinstance(error, SupervisorGone):
            raise error
        take_outputs()
        outcome = _outcome(index, error, self._handlers[task.handler].final)
        unstarted = tuple(i for i in _behind(task, index) if i not in skipped)
        skipped.update(unstarted)
        self._channel.send(encode_answer(Answer(task.id, (outcome,), False, unstarted)))

    def _fall_silent(self, lost: Lost) -> None:
        """Begin nothing more: what is printed from here on would be lost.

        A message that could not print has not failed. It goes back as if it had not begun,
        and waits for a run that can write its output.
        """
        self._must_be_the_worker()
        take_outputs()
        print_nowhere(lost.fd)
        self._channel.send(encode_silenced(lost.reason))
        self._silenced = True

    def _must_be_the_worker(self) -> None:
        if os.getpid() != self._pid:
            # A child that a handler forked has returned from the handler. What it does from here
            # on would count as the worker's doing.
            os._exit(1)


def _outcome(index: int, error: BaseException, final: bool) -> Outcome:
    failure = describe(error)
    if isinstance(error, Reject) or (final and not isinstance(error, RetryLater)):
        return Outcome(index, Verdict.REJECT, failure)
    delay = None
    if isinstance(error, RetryLater):
        delay = _seconds(error)
        text = failure.text
        if delay is None:
            kind = type(error.seconds).__name__
            text += f" (RetryLater was given no number of seconds but {kind}: retry= says when)"
        failure = Failure(failure.type, text)
    return Outcome(index, Verdict.RELEASE, failure, delay)


def _seconds(error: RetryLater) -> float | None:
    """Return the delay asked for; None, for the handler's own policy, if there is none."""
    try:
        seconds = float(error.seconds)
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _behind(task: Task, index: int) -> list[int]:
    """Return the messages behind a failed one that the ordering keeps from running."""
    if task.ordering is Ordering.UNORDERED:
        return []
    at = index
    for segment in task.segments:
        if at < len(segment.records.values):
            break
        at -= len(segment.records.values)
    partition = segment.records.partition
    key = None
    if task.ordering is Ordering.KEY:
        keys = segment.records.keys
        key = None if keys is None else keys[at]
        if key is None:
            return []  # messages without a key have no order
    behind = []
    first = 0
    for segment in task.segments:
        records = segment.records
        stop = first + len(records.values)
        if stop > index and records.partition == partition:
            for i in range(max(first, index + 1), stop):
                if key is None or (records.keys is not None and records.keys[i - first] == key):
                    behind.append(i)
        first = stop
    return behind
