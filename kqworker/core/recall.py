"""Takes messages back from a worker whose first task is late: first it asks, then it takes.

A task is made to last a hundredth of a second. If it takes longer, it holds up the messages
behind the one that its worker is on. Decides when to ask the worker for them, and which
messages its slot proves that it will not begin. Pure. Knows nothing of lanes or offsets:
`messages` does. Tested by tests/core/test_late_tasks.py and every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Iterable

from kqworker.core.commands import Command, Recall
from kqworker.core.epochs import Epoch
from kqworker.core.events import Running
from kqworker.core.messages import Messages
from kqworker.core.pool import Due, Pool, Timetable, Worker

# So long after its beginning a task holds up what it should not: frames are made for a
# hundredth of a second, and only messages up to a tenth wait in a worker's own queue.
LATE_SECONDS = 0.25
LOOK_SECONDS = 0.05  # after a recall, until the slot proves what will not be begun


class Recalls:
    """Asks workers for what they have not begun.

    Args:
        pool: The workers.
        messages: Where their tasks go back to.
        timetable: Has when a worker is late.
        out: Where commands go.
    """

    def __init__(
        self, pool: Pool, messages: Messages, timetable: Timetable, out: list[Command]
    ) -> None:
        self._pool = pool
        self._messages = messages
        self._timetable = timetable
        self._out = out

    def sent(self, worker: Worker) -> None:
        """Note that a worker has got a task."""
        if (Due.LATE, worker.id) not in self._timetable and worker.open > 1:
            self._timetable.set((Due.LATE, worker.id), worker.since + LATE_SECONDS)

    def answered(self, worker: Worker, now: float) -> None:
        """Note that a worker is through with a task, and begins the next, if it has one."""
        self._late_in(LATE_SECONDS, worker, now)

    def looked(self, worker: Worker, now: float) -> None:
        """Note that a worker's slot is read now."""
        self._timetable.set((Due.LATE, worker.id), now + LATE_SECONDS)  # until the answer says more

    def is_prompt(self, worker: Worker, now: float) -> bool:
        """Return whether the first task of a worker holds nothing up so far."""
        first = worker.flights[0].task
        return now < worker.since + LATE_SECONDS and first.id > worker.recalled

    def recall(self, now: float, epochs: Iterable[Epoch] | None = None) -> None:
        """Ask back what is not begun: of tasks with these epochs, or of all."""
        asked = None if epochs is None else set(epochs)
        for worker in self._pool:
            having = {epoch for flight in worker.flights for epoch, _ in flight.parts}
            if having if asked is None else having & asked:
                self.ask_back(worker, now)

    def ask_back(self, worker: Worker, now: float) -> None:
        """Have a worker hand back what it has not begun; if it is too busy to, look soon."""
        self._out.append(Recall(worker.id))
        worker.asked_back()
        self._late_in(LOOK_SECONDS, worker, now)

    def observed(self, worker: Worker, running: Running | None, now: float) -> None:
        """Ask back, or take, what is behind the message that a worker is on."""
        # A worker that has begun nothing keeps its messages: where workers get no processor for
        # long, all would only go to and fro.
        if running is None or (Due.LATE, worker.id) not in self._timetable:
            return
        if worker.recalled >= worker.last:
            self._take_back(worker, running, now)
        elif now >= worker.since + LATE_SECONDS:
            self.ask_back(worker, now)

    def _take_back(self, worker: Worker, running: Running, now: float) -> None:
        """Settle what a worker has done, and will not begin, beside the message it is on."""
        for flight in worker.flights:
            number = flight.task.id
            if not running.task <= number <= running.recalled:
                continue
            on = running.index if number == running.task else None
            behind = range(0 if on is None else on + 1, flight.count)
            flight.begin_none_of(behind)
            self._messages.settle_but(flight, on, now)
        if worker.open <= 1:
            self._timetable.clear((Due.LATE, worker.id))

    def _late_in(self, seconds: float, worker: Worker, now: float) -> None:
        if worker.open > 1:
            self._timetable.set((Due.LATE, worker.id), now + seconds)
        else:
            self._timetable.clear((Due.LATE, worker.id))
