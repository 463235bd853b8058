"""Every report has a line in the log, with its coordinates in the text and as fields."""

from __future__ import annotations

import logging

import pytest

from kqworker.core.commands import Report, ReportKind
from kqworker.types import Failure, TopicPartition
from kqworker.watch import report_log


@pytest.mark.parametrize("note", list(ReportKind))
def test_every_note_has_a_line(note: ReportKind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kqworker")
    report_log.log(Report(note, delay=1.5))

    (record,) = caplog.records
    assert record.levelno >= (logging.INFO if note is ReportKind.SLOW else logging.WARNING)
    assert record.__dict__["event"] == note.value.replace(" ", "_")
    assert "{" not in record.getMessage()


def test_a_retry_says_when_and_why(caplog: pytest.LogCaptureFixture) -> None:
    report_log.log(
        Report(
            ReportKind.RETRYING,
            handler="app.on_test",
            partition=TopicPartition("test", 3),
            offset=7,
            attempt=2,
            delay=1.234567,
            worker=5,
            seat=0,
            failure=Failure("ValueError", "no such order", "Traceback …"),
        )
    )

    (record,) = caplog.records
    assert record.getMessage() == (
        "message failed, next attempt in 1.23 s: test[3]@7: ValueError: no such order"
    )
    fields = (
        "topic", "partition", "offset", "handler", "attempt", "worker_id", "worker", "traceback",
    )  # fmt: skip
    assert [record.__dict__[field] for field in fields] == [
        "test", 3, 7, "app.on_test", 2, 5, "kqworker-0", "Traceback …",
    ]  # fmt: skip


def test_what_a_report_does_not_say_is_no_field(caplog: pytest.LogCaptureFixture) -> None:
    report_log.log(Report(ReportKind.WORKER_DIED, worker=2, failure=Failure("killed", "")))

    (record,) = caplog.records
    assert record.getMessage() == "worker died: killed"
    unsaid = {"topic", "offset", "handler", "attempt", "worker", "traceback"}
    assert not unsaid & set(record.__dict__)


def test_a_report_of_a_whole_partition_names_it(caplog: pytest.LogCaptureFixture) -> None:
    report_log.log(Report(ReportKind.DRAIN_EXPIRED, partition=TopicPartition("test", 3)))

    assert caplog.records[0].getMessage().endswith(": test[3]")


def test_braces_and_percents_of_a_failure_stay_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report_log.log(Report(ReportKind.GAVE_UP, failure=Failure("E", "{x} %s 100%")))

    assert caplog.records[0].getMessage().endswith(": E: {x} %s 100%")


def test_a_text_of_several_lines_keeps_one_before_the_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = (
        "module 'app' cannot be imported:\n  File \"app.py\", line 1\nSyntaxError: invalid syntax"
    )
    report_log.log(Report(ReportKind.BROKEN, failure=Failure("ConfigError", text)))
    report_log.log(Report(ReportKind.GAVE_UP, failure=Failure("E", "a\nb", "Traceback …\nE: a\nb")))

    imported, failed = caplog.records
    assert imported.getMessage().endswith("ConfigError: module 'app' cannot be imported:")
    assert imported.__dict__["traceback"] == '  File "app.py", line 1\nSyntaxError: invalid syntax'
    assert failed.getMessage().endswith(": E: a")
    assert failed.__dict__["traceback"] == "Traceback …\nE: a\nb"
