"""What a run looks like on a terminal and in a pipe."""

from __future__ import annotations

import io
import logging
from dataclasses import replace

import pytest

from kqworker.cli.terminal_watch import Progress, TerminalWatch
from kqworker.core.commands import Report, ReportKind
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.core.snapshot import Snapshot
from kqworker.exits import Exit
from kqworker.settings.settings import Settings
from kqworker.types import Ordering
from kqworker.watch.interface import Banner, HandlerLine, Summary, Watch
from kqworker.watch.plain import PlainWatch, Rate, banner_lines, table

TEST = HandlerLine("app:on_test", 6, "Order", HandlerPolicy("on_test", "test", time_limit=30.0))
IMAGES = HandlerLine(
    "app:thumbnail", 12, "bytes", HandlerPolicy("thumbnail", "images", Ordering.KEY)
)
BANNER = Banner(
    app="app:app",
    version="0.1.0",
    pid=4121,
    python="3.12.4",
    librdkafka="2.16.0",
    brokers="localhost:9092",
    broker_count=3,
    group="orders",
    protocol="cooperative",
    workers=4,
    method="forkserver",
    settings=Settings(),
    handlers=(TEST, IMAGES),
)
SUMMARY = Summary(1200, 3, 5, 12.0, 18.0, 1.5, (), Exit.MESSAGES_FAILED)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_banner_says_what_runs_where() -> None:
    lines = [" ".join(line.split()) for line in banner_lines(BANNER)]

    assert lines == [
        "kqworker 0.1.0 · app:app · pid 4121 · python 3.12.4 · librdkafka 2.16.0",
        "brokers localhost:9092 (3 up) group orders (cooperative, from earliest)",
        "workers 4 × process (forkserver) prefetch 10,000 messages, 64MiB drain 30s",
        "delivery at least once · 3 attempts, then logged and DROPPED (no dead_letter)",
        "handlers test (6 partitions) → app:on_test Order limit 30s",
        "images (12) → app:thumbnail bytes by key",
    ]


def test_the_banner_stands_in_columns() -> None:
    lines = banner_lines(BANNER)

    assert lines[1].index("group") == lines[2].index("prefetch")
    assert lines[4].index("→") == lines[5].index("→")
    assert lines[5].startswith(" " * 10)


def test_handlers_that_fail_differently_each_say_how() -> None:
    policy = HandlerPolicy("t", "images", retry=Retry(attempts=5), dead_letter="images.dlq")
    once = HandlerPolicy("o", "^logs", retry=Retry(attempts=1))
    lines = banner_lines(
        replace(
            BANNER,
            handlers=(replace(IMAGES, policy=policy), HandlerLine("app:log", None, "text", once)),
        )
    )

    assert lines[3].endswith("failures as the handlers say")
    assert lines[4].endswith("5 attempts, then images.dlq")
    assert "^logs " in lines[5]
    assert lines[5].endswith("1 attempt, then logged and DROPPED (no dead_letter)")


def test_a_topic_with_one_partition_has_no_plural() -> None:
    lines = banner_lines(replace(BANNER, handlers=(replace(TEST, partitions=1),)))

    assert "test (1 partition)" in lines[4]


def terminal(until_caught_up: bool = False) -> tuple[TerminalWatch, io.StringIO, Time]:
    stream, time = io.StringIO(), Time()
    return TerminalWatch(stream, False, until_caught_up, time), stream, time


def test_a_terminal_shows_banner_status_and_summary() -> None:
    watch, stream, time = terminal()

    watch.started(BANNER)
    watch.ready(0.93)
    time.now += 1
    watch.tick(Snapshot(handled=1500, in_flight=32, workers_ready=4, workers_busy=3))
    status = stream.getvalue().splitlines()[-1]
    watch.stopping("SIGINT")
    watch.tick(Snapshot(handled=1500, workers_ready=4))
    draining = stream.getvalue().splitlines()[-1]
    watch.finished(SUMMARY)

    lines = stream.getvalue().splitlines()
    assert lines[0].startswith(" kqworker 0.1.0")
    assert lines[6] == " ready in 0.9s — Ctrl-C drains"
    assert " 1,500 handled · 1,500/s · 32 in flight · 3/4 workers busy" in status
    assert " draining · 1,500 handled" in draining
    assert lines[-1].endswith(
        " 1,200 handled · 3 failed · 5 retried · 12.0 s · 100 messages/s · "
        "18.0 s of CPU · 1.50 cores busy"
    )
    assert stream.getvalue().endswith("busy\n")


def test_what_is_rare_is_shown_only_when_it_is_there() -> None:
    watch, stream, _ = terminal()
    watch.started(BANNER)

    watch.tick(Snapshot(failed=2, retried=3, restarts=1, stalled=4, paused=5, workers_ready=2))

    status = stream.getvalue()
    for words in ("2 failed", "3 retried", "1 restarts", "4 stalled", "5 partitions paused"):
        assert words in status
    assert "(2 up)" in status


def test_until_caught_up_shows_a_bar_and_the_time_left() -> None:
    watch, stream, time = terminal(until_caught_up=True)
    watch.started(BANNER)

    watch.tick(Snapshot(remaining=1000, workers_ready=4))
    time.now += 10
    watch.tick(Snapshot(handled=250, remaining=750, workers_ready=4))

    status = stream.getvalue().splitlines()[-1]
    assert "━━━━━───────────────" in status
    assert " 25% · 30s left · 250 handled" in status


@pytest.mark.parametrize(
    ("remaining", "elsewhere", "words"),
    [
        (None, 12, "waiting for 12 partitions"),
        (0, 1, "waiting for 1 partition"),
        (0, 0, ""),
        (7, 2, ""),
    ],
)
def test_what_keeps_a_run_without_work_from_ending_is_shown(
    remaining: int | None, elsewhere: int, words: str
) -> None:
    watch, stream, _ = terminal(until_caught_up=True)
    watch.started(BANNER)

    watch.tick(Snapshot(remaining=remaining, elsewhere=elsewhere))

    status = stream.getvalue().splitlines()[-1]
    assert words in status
    assert ("waiting" in status) == bool(words)


def test_what_was_abandoned_is_named() -> None:
    watch, stream, _ = terminal()

    watch.finished(replace(SUMMARY, left=("test[0] at offset 7",)))

    assert stream.getvalue().endswith(" not finished:\n   test[0] at offset 7\n")


def test_a_pipe_gets_a_summary_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kqworker")
    time = Time()
    watch = PlainWatch(fields=True, clock=time)
    watch.started(BANNER)
    watch.ready(0.5)
    caplog.clear()

    for _ in range(100):
        time.now += 0.2
        watch.tick(Snapshot(handled=50, workers_ready=4, remaining=9, stalled=1, elsewhere=2))

    assert [record.__dict__["event"] for record in caplog.records] == ["status", "status"]
    assert caplog.records[0].getMessage() == (
        "50 handled · 5/s · 0 in flight · 0/4 workers busy · 9 to go · 1 stalled"
    )
    assert caplog.records[0].__dict__["handled"] == 50
    assert caplog.records[0].__dict__["remaining"] == 9
    caplog.clear()
    time.now += 10
    watch.tick(Snapshot(remaining=0, elsewhere=2))
    assert caplog.records[0].getMessage().endswith(" · 0 to go · waiting for 2 partitions")


def test_a_pipe_gets_banner_drain_and_summary_as_log_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "kqworker")
    watch = PlainWatch(fields=True)

    watch.started(BANNER)
    watch.ready(0.93)
    watch.stopping("SIGTERM")
    watch.finished(replace(SUMMARY, left=("test[0] at offset 7",)))

    messages = [record.getMessage() for record in caplog.records]
    assert messages[1].startswith("brokers localhost:9092 (3 up) group orders")
    assert messages[-4] == "ready in 0.9s"
    assert messages[-3] == "SIGTERM: draining"
    assert messages[-2].startswith("1,200 handled · 3 failed")
    assert messages[-1] == "not finished: test[0] at offset 7"
    assert caplog.records[-2].__dict__["exit"] == 6


def test_lines_for_people_do_not_say_their_numbers_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "kqworker")

    PlainWatch().finished(SUMMARY)

    assert caplog.records[0].__dict__["event"] == "finished"
    assert "handled" not in caplog.records[0].__dict__


@pytest.mark.parametrize("watch", [TerminalWatch(io.StringIO(), False), PlainWatch()])
def test_reports_go_to_the_log(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    watch.report(Report(ReportKind.WORKER_DIED, worker=1))

    assert caplog.records[0].__dict__["event"] == "worker_died"


def test_a_rate_forgets_what_is_long_ago() -> None:
    time = Time()
    rate = Rate(time, window=3.0)

    for count in (100, 200, 300, 300, 300, 300, 300):
        time.now += 1
        shown = rate.add(count)
        if count == 200:
            assert shown == 100

    assert shown == 0


def test_progress_grows_with_the_partitions_that_arrive() -> None:
    progress = Progress()

    assert progress.update(10, 0.0) == (0.0, None)
    assert progress.update(5, 1.0) == (0.5, 1.0)
    assert progress.update(20, 2.0) == (0.0, None)
    assert progress.update(0, 4.0) == (1.0, 0.0)


def test_nothing_to_do_is_all_done() -> None:
    assert Progress().update(0, 0.0) == (1.0, None)


def test_a_table_has_aligned_columns_and_no_trailing_spaces() -> None:
    assert table([("a", "b"), ("long", "")]) == ["a     b", "long"]
