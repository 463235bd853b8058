"""The catalogue of what an operator may see: each number and each event, by its name.

A number is a field of `Snapshot`, an event is what a log line has as its field `event`.
Whoever shows one, or will export it, takes its name from here. Pure. Makes
docs/reference/signals.md; tested by tests/core/test_signals.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kqworker.core.commands import ReportKind
from kqworker.core.snapshot import Snapshot

NOTHING = "Nothing is wrong."


@dataclass(frozen=True, slots=True)
class Number:
    """A number that a run keeps.

    Attributes:
        name: The field of `Snapshot`.
        kind: A counter only grows; a gauge says how it is now.
        unit: What is counted.
        moves: When it moves.
        remedy: What to do then.
    """

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    moves: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened, as a log line tells it.

    Attributes:
        name: The field `event` of the line.
        labels: The fields that say what it happened to.
        moves: When it is told.
        remedy: What to do then.
    """

    name: str
    labels: tuple[str, ...]
    moves: str
    remedy: str


NUMBERS = (
    Number("handled", "counter", "messages", "A handler has returned.", NOTHING),
    Number(
        "failed",
        "counter",
        "messages",
        "A message was rejected or is out of attempts.",
        "Read the line of its failure; look into the dead-letter topic.",
    ),
    Number(
        "retried",
        "counter",
        "attempts",
        "An attempt has failed, and another will follow.",
        "Read the line of its failure.",
    ),
    Number(
        "in_flight", "gauge", "messages", "Workers are given messages, or finish them.", NOTHING
    ),
    Number(
        "held",
        "gauge",
        "messages",
        "Messages are fetched, or finished.",
        "At `prefetch` the workers are the limit: more of them would handle it sooner.",
    ),
    Number(
        "held_bytes",
        "gauge",
        "bytes",
        "Messages are fetched, or finished.",
        "At `prefetch_bytes` the workers are the limit, or messages are large.",
    ),
    Number(
        "paused",
        "gauge",
        "partitions",
        "A partition has as many messages waiting or done out of order as it may.",
        "Read the line `partition_paused`: it names the cause.",
    ),
    Number(
        "workers_ready",
        "gauge",
        "workers",
        "A worker has started, or has ended.",
        "Where it stays below `workers`, read the lines `worker_died`.",
    ),
    Number(
        "workers_busy",
        "gauge",
        "workers",
        "A worker is given messages, or has finished them.",
        "All busy all the time: more workers would handle it sooner.",
    ),
    Number(
        "restarts",
        "counter",
        "workers",
        "A worker is started in place of one that died.",
        "Read the lines `worker_died` and `time_limit`.",
    ),
    Number(
        "partitions",
        "gauge",
        "partitions",
        "The group gives the run partitions, or takes them.",
        "At 0 for long, the group has more members than partitions.",
    ),
    Number(
        "stalled",
        "gauge",
        "messages and partitions",
        "A dead letter or an output cannot be delivered; a partition cannot be read on.",
        "Read the lines `stalled` and `unreadable`: nothing of it is committed before.",
    ),
    Number(
        "gone",
        "counter",
        "offsets",
        "Kafka has deleted offsets before they were handed over.",
        "Give the topic a longer retention, or the run more workers.",
    ),
    Number(
        "remaining",
        "gauge",
        "offsets",
        "With `--until-caught-up`: offsets are finished.",
        NOTHING,
    ),
    Number(
        "elsewhere",
        "gauge",
        "partitions",
        "With `--until-caught-up`: others of the group have partitions that are not finished.",
        "The run waits for them; end them if nobody works there.",
    ),
)

_MESSAGE = ("topic", "partition", "offset", "handler", "attempt")
_PARTITION = ("topic", "partition")

INCIDENTS = {
    ReportKind.RETRYING: Incident(
        "retrying", _MESSAGE, "An attempt has failed.", "Mend what the traceback shows."
    ),
    ReportKind.DEAD_LETTERED: Incident(
        "dead-lettered",
        _MESSAGE,
        "A message was rejected or is out of attempts.",
        "Look into the dead-letter topic.",
    ),
    ReportKind.GAVE_UP: Incident(
        "gave_up",
        _MESSAGE,
        "The same, and the handler has no dead-letter topic.",
        "Set `dead_letter=`: nothing keeps such a message.",
    ),
    ReportKind.STALLED: Incident(
        "stalled",
        _MESSAGE,
        "A dead letter or an output is not taken by Kafka.",
        "Mend the topic that the line names; it is tried until then.",
    ),
    ReportKind.UNREADABLE: Incident(
        "unreadable",
        (*_PARTITION, "offset"),
        "A batch is damaged, or larger than is taken.",
        "Follow the line: raise the limit, or go past it with the command that it shows.",
    ),
    ReportKind.GONE: Incident(
        "gone",
        (*_PARTITION, "offset"),
        "Kafka has deleted messages before they were handled.",
        "Give the topic a longer retention, or the run more workers.",
    ),
    ReportKind.CIRCLE: Incident(
        "circle",
        _MESSAGE,
        "What handlers produce comes back to them again and again.",
        "Name another topic, unless it is meant.",
    ),
    ReportKind.BROKE_CIRCLE: Incident(
        "broke_circle",
        _MESSAGE,
        "A dead letter came round too often and was dropped.",
        "Name another dead-letter topic.",
    ),
    ReportKind.TIME_LIMIT: Incident(
        "time_limit",
        (*_MESSAGE, "worker_id"),
        "A message ran longer than its `time_limit`.",
        "Find why it hangs, or raise the limit.",
    ),
    ReportKind.WORKER_DIED: Incident(
        "worker_died",
        (*_MESSAGE, "worker_id"),
        "A worker has ended by a signal or an exit code, or was killed for memory.",
        "Look at the message that the line names; at the system's log for memory.",
    ),
    ReportKind.BROKEN: Incident(
        "app_broken",
        (),
        "With `--reload`: the app does not load any more.",
        "Mend the file; the next change is tried.",
    ),
    ReportKind.TRUNCATED: Incident(
        "dead_letter_cut",
        _MESSAGE,
        "A dead letter is larger than its topic takes.",
        "Raise `max.message.bytes` of the dead-letter topic.",
    ),
    ReportKind.PAUSED: Incident(
        "partition_paused",
        (*_PARTITION, "handler"),
        "A partition has as many messages waiting as it may.",
        "Mend the cause that the line names.",
    ),
    ReportKind.SLOW: Incident(
        "partition_slow",
        (*_PARTITION, "handler"),
        "Messages come faster than they are handled.",
        NOTHING,
    ),
    ReportKind.MAP_IGNORED: Incident(
        "completion_map_ignored",
        _PARTITION,
        "The commit's metadata is another program's, or another version's.",
        "Nothing: finished messages may be handled again once.",
    ),
    ReportKind.MAP_FULL: Incident(
        "completion_map_full",
        _PARTITION,
        "Too many scattered messages are open for the commit's metadata.",
        "Find the oldest open one, which keeps the commit back.",
    ),
    ReportKind.COMMIT_FAILED: Incident(
        "commit_failed", _PARTITION, "Kafka has refused a commit.", "The next one covers it."
    ),
    ReportKind.DRAIN_EXPIRED: Incident(
        "drain_expired",
        _PARTITION,
        "A rebalance could not wait longer for what is handled.",
        "Those messages are handled again; shorten what one message takes.",
    ),
    ReportKind.SUSPECTED: Incident(
        "suspected",
        _PARTITION,
        "The last owner of a partition did not end in order.",
        "Find out why it ended: memory, or a kill.",
    ),
    ReportKind.CHARGED: Incident(
        "charged",
        _MESSAGE,
        "A supervisor ended while it handled this message alone.",
        "Look for what the message allocates.",
    ),
    ReportKind.ABANDONED: Incident(
        "abandoned",
        _MESSAGE,
        "A stop could not wait longer for a message.",
        "It is delivered again; raise `shutdown_timeout` if it should be finished.",
    ),
}

# What the shells tell, and no report of the core.
OTHERS = (
    Incident("started", (), "A run begins; the banner.", NOTHING),
    Incident("ready", (), "Workers are up and the group is joined.", NOTHING),
    Incident("status", (), "Every ten seconds, with all numbers.", NOTHING),
    Incident("stopping", (), "The run ends, and why.", NOTHING),
    Incident("finished", (), "The run has ended; the summary.", NOTHING),
    Incident("stopped", (), "Ctrl-C came before the run had begun.", NOTHING),
    Incident("reload", (), "With `--reload`: a file has changed; workers are replaced.", NOTHING),
    Incident(
        "handlers_changed",
        (),
        "A worker has imported an app whose handlers were added or changed since the start.",
        "Start the run anew, or put them back.",
    ),
    Incident(
        "stood_still",
        (),
        "The supervisor got no processor for two seconds or more.",
        "Where it happens often, give it more of a processor.",
    ),
    Incident(
        "not_preloaded",
        (),
        "The import of the app has left what forked workers would hang on.",
        "Open it under `@app.on_worker_start`: then workers share the import again.",
    ),
    Incident(
        "preloaded",
        (),
        "The same, and `preload` is true: workers are forked all the same.",
        "Open it under `@app.on_worker_start`, or leave `preload` at auto.",
    ),
    Incident(
        "background_task_failed",
        (),
        "A task that nobody awaits has raised SystemExit or the like.",
        "Mend the task; no message pays for it.",
    ),
    Incident(
        "signal_refused",
        ("pid",),
        "A worker has changed its user and can neither be stopped nor killed.",
        "End it as root, and run kqworker as that user.",
    ),
    Incident(
        "output_lost",
        (),
        "A worker's standard output did not take what it printed last.",
        "Make room where it is written to.",
    ),
    Incident(
        "log_stalled",
        (),
        "Nobody read the log, and lines were dropped.",
        "Read the pipe that standard error goes to, or write the log to a file.",
    ),
    Incident(
        "doubtful_topic",
        (),
        "At the start: a topic is set up so that messages may be held or lost.",
        "Follow the line.",
    ),
    Incident(
        "configuration",
        (),
        "A file of go-queue names what is not served.",
        "Follow the line.",
    ),
    Incident("metrics", (), "About once a minute: the metrics of a queue.", NOTHING),
    Incident(
        "headers_unreadable",
        (*_PARTITION, "offset"),
        "A header's name is no UTF-8; the record is handled without its headers.",
        "Mend its producer.",
    ),
    Incident(
        "transaction_open",
        (*_PARTITION, "offset"),
        "With `--until-caught-up`: an open transaction is waited for.",
        "End it, or abort one that hangs with `kafka-transactions.sh`.",
    ),
    Incident(
        "full",
        (),
        "The built-in broker is full, and no run reads it.",
        "Start a run, and push the rest while it goes on.",
    ),
)


def numbers(snapshot: Snapshot) -> dict[str, int | None]:
    """Return the numbers of a snapshot by their names."""
    return {number.name: getattr(snapshot, number.name) for number in NUMBERS}
