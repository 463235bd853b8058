"""What the death of a worker means for the messages that it had.

Decides which of them is charged an attempt (at most the one that it died on), which count as
done, and which go back. Pure. Knows nothing of other workers, and replaces none:
`workforce` does. Tested by tests/core/test_workforce.py, test_time_limits.py and every run in
tests/sim.
"""

from __future__ import annotations

from kqworker.core import events as e
from kqworker.core.commands import Command, Report, ReportKind
from kqworker.core.in_flight import InFlightTask
from kqworker.core.messages import Messages
from kqworker.core.pool import Place, State, Worker
from kqworker.types import Failure, Outcome, Verdict


class Death:
    """The death of a worker, and what came of it.

    Args:
        worker: The worker that has died, in the state that it had before.
        event: What is known of it.
        limited: It was killed for a message's time limit.
        closing: The run ends, so that what it was on is not tried again.
        messages: Where its tasks go back to.
        out: Where reports go.

    Attributes:
        on_none: The worker was on no message.
        progress: It had done with a message before.
        cut_off: At the end, a message was ended that is no fault of its own.
        killer: The message that it died on, if that is charged and is kept as a dead letter in
            the end.
    """

    def __init__(
        self,
        worker: Worker,
        event: e.WorkerDied,
        *,
        limited: bool,
        closing: bool,
        messages: Messages,
        out: list[Command],
    ) -> None:
        self._event = event
        self._seat = worker.seat
        self._charge = _charge(worker, event, limited)
        self._closing = closing
        self._messages = messages
        self._out = out
        self._flights = tuple(worker.flights)
        self.on_none = all(flight.task.id != event.task for flight in self._flights)
        self.progress = self.cut_off = False
        self.killer: Place | None = None

    def settle(self, now: float) -> None:
        """Take back all that the worker had."""
        for flight in self._flights:
            self._settle(flight, now)

    def _settle(self, flight: InFlightTask, now: float) -> None:
        event, count = self._event, flight.count
        index = event.index if event.task == flight.task.id else 0
        if index or flight.outcomes:
            self.progress = True  # the messages before the one that it died on
        # What it told of a message was complete, whatever ended it afterwards.
        told, charged = index in flight.outcomes, False
        # It may have come to a message that was taken from it: it has not begun that.
        mine = event.task == flight.task.id and index not in flight.settled
        if mine and index < count and not told:
            kind = (
                ReportKind.TIME_LIMIT if event.cause is e.Cause.KILLED else ReportKind.WORKER_DIED
            )
            if self._charge is not None:
                charged = True
                flight.told((Outcome(index, Verdict.RELEASE, self._charge),), ())
                if self._messages.keeps(flight.task.handler):
                    epoch, segment, i = flight.locate(index)
                    self.killer = epoch.partition, segment.records.offsets[i]
            elif self._closing:
                kind = ReportKind.ABANDONED
                self.cut_off = True
            name = self._messages.name(flight.task.handler)
            self._out.append(report(kind, flight, index, event, self._seat, name))
        begun = index + 1 if charged or told else index
        flight.begin_none_of(range(begun, count))
        self._messages.settle(flight, now)


def _charge(worker: Worker, event: e.WorkerDied, limited: bool) -> Failure | None:
    """Return why the message that it was on has failed; None if no message is at fault."""
    if worker.state is State.CONDEMNED or event.cause is e.Cause.STOPPED:
        return None
    if limited:
        return Failure("TimeLimitExceeded", "it ran longer than its time_limit")
    return Failure(
        "WorkerCrashed", f"the worker process died while handling this message: {event.text}"
    )


def report(
    kind: ReportKind, flight: InFlightTask, index: int, event: e.WorkerDied, seat: int, handler: str
) -> Report:
    """Return what is to be said of a message whose worker died."""
    _, segment, i = flight.locate(index)
    return Report(
        kind,
        handler,
        segment.records.partition,
        segment.records.offsets[i],
        segment.attempt,
        worker=event.worker,
        seat=seat,
        failure=Failure("WorkerDied", event.text),
    )


def too_late(seconds: float) -> Failure:
    """Return why a run ends whose first workers were not ready in time."""
    text = (
        f"none was ready within {seconds:g} s: importing the app or its start hooks take longer, "
        "or hang; if they need the time, raise startup_timeout"
    )
    return Failure("ConfigError", text)
