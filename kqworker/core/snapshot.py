"""What a supervisor counts, as one value: for the status line, summaries and metrics.

Pure. Tested through tests/core/test_supervisor.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from kqworker.core.pool import State


@dataclass(frozen=True, slots=True)
class Seated:
    """The worker that has a seat.

    Attributes:
        seat: From 0.
        worker: Its number, which its successor does not have.
        state: Where it stands.
        in_flight: Messages that it has.
    """

    seat: int
    worker: int
    state: State
    in_flight: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The supervisor's counters and gauges at one moment.

    Attributes:
        handled: Messages whose handler returned.
        failed: Messages that were dead-lettered or given up.
        retried: Attempts that failed and were followed by another.
        in_flight: Messages handed to workers now.
        held: Messages in the supervisor's memory: in flight, waiting, and fetched ahead.
        held_bytes: Their keys and values, in bytes.
        paused: Partitions of which messages have come that may not go on at present.
        workers_ready: Workers that have booted and live.
        workers_busy: Workers with a task.
        restarts: Workers started in place of one that died.
        partitions: Partitions owned.
        stalled: Messages whose dead letter or output cannot be delivered at present, and
            partitions that cannot be read on.
        gone: Offsets that Kafka deleted before they were handed over; a few of them may never
            have been messages.
        remaining: With `CatchUp`, offsets still to be finished in what is owned;
            None without it, or while nothing is owned.
        elsewhere: With `CatchUp`, partitions to be finished that are not owned.
        seats: The workers that have not ended, by their seats; one that nobody has is left out.
    """

    handled: int = 0
    failed: int = 0
    retried: int = 0
    in_flight: int = 0
    held: int = 0
    held_bytes: int = 0
    paused: int = 0
    workers_ready: int = 0
    workers_busy: int = 0
    restarts: int = 0
    partitions: int = 0
    stalled: int = 0
    gone: int = 0
    remaining: int | None = None
    elsewhere: int = 0
    seats: tuple[Seated, ...] = ()
