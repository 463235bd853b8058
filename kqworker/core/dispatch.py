"""Which worker gets which messages next: the workers' time is shared between handlers.

Pure. Knows nothing of partitions, retries or deaths.
Tested by tests/core/test_workforce.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core.commands import Command, Send
from kqworker.core.in_flight import InFlightTask
from kqworker.core.messages import Messages
from kqworker.core.policy import HandlerPolicy
from kqworker.core.pool import Pool, Signal, State, Worker
from kqworker.core.recall import Recalls
from kqworker.core.time_limits import TimeLimits


class Dispatch:
    """Sends what is ready to who is free.

    Args:
        policies: The handlers, in the app's order.
        messages: Where work comes from.
        pool: The workers.
        recalls: Sees to it that no task holds others up.
        limits: Sees to the time limits.
        out: Where commands go.
    """

    def __init__(
        self,
        policies: Sequence[HandlerPolicy],
        messages: Messages,
        pool: Pool,
        recalls: Recalls,
        limits: TimeLimits,
        out: list[Command],
    ) -> None:
        self._messages = messages
        self._pool = pool
        self._recalls = recalls
        self._limits = limits
        self._out = out
        # Each handler's part of the workers' time so far, and that of the handler whose turn it is.
        self._spent = [0.0] * len(policies)
        self._served = 0.0

    def send_ready(self, now: float) -> None:
        """Send what is ready to who is free."""
        messages, spent = self._messages, self._spent
        if messages.suspects.active:
            self._dispatch_suspect(now)
            return
        while waiting := messages.waiting:
            worker = self._free(now)
            if worker is None:
                return
            handler = waiting[0]
            if len(waiting) > 1:
                # A handler that had nothing to do has saved nothing up meanwhile.
                handler = min(waiting, key=lambda h: max(spent[h], self._served))
            ready, batch_size = messages.ready(handler), messages.batch_sizes[handler]
            # An even share, so that no worker idles while another has a full frame.
            share = -(-ready // (self._pool.idle or 1))
            flight = messages.take(handler, 1 if share == 1 else min(batch_size.count, share))
            self._served = max(spent[handler], self._served)
            spent[handler] = self._served + batch_size.seconds_of(flight.count)
            self._send(worker, flight, now)

    def _dispatch_suspect(self, now: float) -> None:
        """Send the suspect whose turn it is, once no worker has any other message."""
        worker = next((w for w in self._pool if w.state is State.IDLE), None)
        span = self._messages.suspects.next(worker is not None)
        if span is not None and worker is not None:
            self._send(worker, self._messages.take_suspect(span), now)

    def _send(self, worker: Worker, flight: InFlightTask, now: float) -> None:
        self._pool.signal(worker, Signal.SENT)
        worker.take_on(flight, now)
        self._out.append(Send(worker.id, flight.task))
        self._recalls.sent(worker)
        self._limits.sent(worker, flight.task.handler, now)

    def _free(self, now: float) -> Worker | None:
        """Return who can take a task: an idle worker, or one whose only task is short.

        Also what is slow itself may wait behind that: else it would get no worker at all
        while another handler's backlog keeps each of them with a second task.
        """
        second = None
        for worker in self._pool:
            if worker.state is State.IDLE:
                return worker
            if second is None and worker.state is State.BUSY and len(worker.flights) == 1:
                short = self._messages.batch_sizes[worker.flights[0].task.handler].short
                second = worker if short and self._recalls.is_prompt(worker, now) else None
        return second
