"""What the core reports, as log lines: one place for their levels, words and fields.

Decides nothing else. Never logs a payload or a key. Tested by tests/watch/test_report_log.py.
"""

from __future__ import annotations

import logging

from kqworker.core.commands import Report, ReportKind, process_name
from kqworker.core.signals import INCIDENTS
from kqworker.watch import logs

logger = logs.logger("kqworker.supervisor")

# What a report says, and how severe it is: an ERROR is work that was not done.
LINES: dict[ReportKind, tuple[int, str]] = {
    ReportKind.RETRYING: (logging.WARNING, "message failed, next attempt in {delay:.3g} s"),
    ReportKind.DEAD_LETTERED: (
        logging.ERROR,
        "message failed after {attempts}, sent to the dead letters",
    ),
    ReportKind.GAVE_UP: (
        logging.ERROR,
        "message failed after {attempts} and was DROPPED: set dead_letter= to keep such messages",
    ),
    ReportKind.STALLED: (logging.ERROR, "record not delivered, its message is held"),
    ReportKind.UNREADABLE: (logging.ERROR, "partition stalled: it cannot be read on"),
    ReportKind.GONE: (logging.ERROR, "messages LOST: Kafka deleted them before they were handled"),
    ReportKind.CIRCLE: (logging.WARNING, "what handlers produce comes round"),
    ReportKind.BROKE_CIRCLE: (logging.ERROR, "message DROPPED: its dead letters come round"),
    ReportKind.TRUNCATED: (logging.WARNING, "dead letter cut to what its topic takes"),
    ReportKind.PAUSED: (logging.WARNING, "partition paused, others go on"),
    ReportKind.SLOW: (logging.INFO, "partition paused for now, others go on"),
    ReportKind.TIME_LIMIT: (logging.WARNING, "time limit passed, worker killed"),
    ReportKind.WORKER_DIED: (logging.WARNING, "worker died"),
    ReportKind.BROKEN: (
        logging.ERROR,
        "the app does not load: nothing is handled until you fix it",
    ),
    ReportKind.MAP_IGNORED: (
        logging.WARNING,
        "completion map unreadable: what finished above the committed offset is handled again",
    ),
    ReportKind.MAP_FULL: (
        logging.WARNING,
        "too many gaps for the commit's metadata: a restart may handle finished messages again",
    ),
    ReportKind.COMMIT_FAILED: (logging.WARNING, "commit failed, the next one covers it"),
    ReportKind.DRAIN_EXPIRED: (
        logging.WARNING,
        "partitions given back before their messages were done",
    ),
    ReportKind.SUSPECTED: (
        logging.WARNING,
        "its last owner did not end in order: what that may have been on is handled alone",
    ),
    ReportKind.CHARGED: (
        logging.ERROR,
        "a supervisor ended while it handled this message alone: that was one attempt",
    ),
    ReportKind.ABANDONED: (logging.ERROR, "message abandoned: it will be delivered again"),
}


def log(report: Report) -> None:
    """Write a report to the log, with its coordinates in the text and as fields.

    The text has them because an app's own format shows no fields, and must still show the message.
    """
    level, words = LINES[report.kind]
    if not logger.isEnabledFor(level):
        return
    fields: dict[str, object] = {"event": INCIDENTS[report.kind].name}
    if report.partition is not None:
        fields["topic"], fields["partition"] = report.partition
    if report.offset >= 0:
        fields["offset"] = report.offset
    if report.handler:
        fields["handler"] = report.handler
    if report.attempt:
        fields["attempt"] = report.attempt
    if report.worker:
        fields["worker_id"] = report.worker
    if report.seat is not None:
        fields["worker"] = process_name(report.seat)
    attempts = "1 attempt" if report.attempt == 1 else f"{report.attempt} attempts"
    text = words.format(delay=report.delay, attempts=attempts)
    if report.partition is not None:
        text += f": {report.partition}" + (f"@{report.offset}" if report.offset >= 0 else "")
    if report.failure is not None:
        text += f": {report.failure.type}"
        # Only the first line, so that the fields after it are still read as fields.
        why, *rest = report.failure.text.splitlines() or [""]
        if why:
            text += f": {why}"
        traceback = report.failure.traceback or "\n".join(rest)
        if traceback:
            fields["traceback"] = traceback
    logger.log(level, "%s", text, extra=fields)
