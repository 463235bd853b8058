"""What the death of a worker means for the messages that it had.

Decides which of them is charged an attempt (at most the one that it died on), which count as
done, and which go back. Pure. Knows nothing of other workers, and replaces nobody: `crew` does.
Tested by tests/core/test_crew.py, test_time_limits.py and every run in tests/sim.
"""

from __future__ import annotations

from typing import NamedTuple

from kqworker.core import events as e
from kqworker.core.commands import Note, Report
from kqworker.core.flight import Flight
from kqworker.core.messages import Messages
from kqworker.core.pool import Place, State, Worker
from kqworker.types import Failure


class Dead(NamedTuple):
    """What came of a death.

    Attributes:
        on_none: The worker was on no message.
        progress: It had done with a message before.
        cut_off: At the end, a message was ended that is no fault of its own.
        killer: The message that it died on, if that is charged and is kept as a dead letter in
            the end.
    """

    on_none: bool
    progress: bool = False
    cut_off: bool = False
    killer: Place | None = None


def settle(
    worker: Worker,
    event: e.WorkerDied,
    limited: bool,
    messages: Messages,
    closing: bool,
    now: float,
) -> Dead:
    """Take back all that a dead worker had.

    Args:
        worker: Whose death it is; its state is still that before.
        event: What is known of it.
        limited: It was killed for a message's time limit.
        messages: Where its tasks go back to.
        closing: The run ends, so that what it was on is not tried again.
        now: The time.
    """
    charge = _charge(worker, event, limited)
    dead = Dead(all(flight.task.id != event.task for flight in worker.flights))
    for flight in worker.flights:
        dead = _settle(flight, event, charge, messages, closing, now, dead)
    return dead


def _charge(worker: Worker, event: e.WorkerDied, limited: bool) -> Failure | None:
    """Return why the message that it was on has failed; None if that is nobody's fault."""
    if worker.state is State.CONDEMNED or event.cause is e.Cause.STOPPED:
        return None
    if limited:
        return Failure("TimeLimitExceeded", "it ran longer than its time limit")
    return Failure("WorkerCrashed", f"the worker died on it: {event.text}")


def _settle(
    flight: Flight,
    event: e.WorkerDied,
    charge: Failure | None,
    messages: Messages,
    closing: bool,
    now: float,
    dead: Dead,
) -> Dead:
    count = len(flight.task)
    index = event.index if event.task == flight.task.id else 0
    if index or flight.outcomes:
        dead = dead._replace(progress=True)  # the messages before the one that it died on
    # What it told of a message was complete, whatever ended it afterwards.
    told = index in flight.outcomes
    crashed = None
    # It may have come to a message that was taken from it: it has not begun that.
    mine = event.task == flight.task.id and index not in flight.settled
    if mine and index < count and not told:
        note = Note.TIME_LIMIT if event.cause is e.Cause.KILLED else Note.WORKER_DIED
        if charge is not None:
            crashed = index, charge
            if messages.keeps(flight.task.handler):
                epoch, segment, i = flight.locate(index)
                dead = dead._replace(killer=(epoch.partition, segment.records.offsets[i]))
        elif closing:
            note = Note.ABANDONED
            dead = dead._replace(cut_off=True)
        messages.out.append(report(note, flight, index, event, messages.name(flight.task.handler)))
    begun = index + 1 if crashed is not None or told else index
    flight.unbegun.update(i for i in range(begun, count) if i not in flight.outcomes)
    messages.settle(flight, now, crashed)
    return dead


def report(note: Note, flight: Flight, index: int, event: e.WorkerDied, handler: str) -> Report:
    """Return what is to be said of a message whose worker died."""
    _, segment, i = flight.locate(index)
    return Report(
        note,
        handler,
        segment.records.partition,
        segment.records.offsets[i],
        segment.attempt,
        worker=event.worker,
        failure=Failure("WorkerDied", event.text),
    )


def too_late(seconds: float) -> Failure:
    """Return why a run ends whose first workers were not ready in time."""
    text = (
        f"none was ready within {seconds:g} s: importing the app or its start hooks take longer, "
        "or hang; if they need the time, raise startup_timeout"
    )
    return Failure("ConfigError", text)
