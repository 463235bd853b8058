"""librdkafka's lines: each kind once in a while, with a count."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError, Producer

from kqworker.kafka.logs import INTERVAL, KINDS, ClientLog
from tests.kafka.node import free_ports

LOGGER = logging.getLogger("kqworker.test.kafka")
REFUSED = (
    "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 "
    "failed: Connection refused (after {})"
)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> ClientLog:
    caplog.set_level(logging.DEBUG, LOGGER.name)
    return ClientLog(LOGGER, clock)


def say(log: ClientLog, text: str, level: int = logging.ERROR) -> None:
    log.log(level, "%s [%s] %s", "FAIL", "rdkafka#consumer-1", text)


def test_a_line_loses_its_thread_and_its_duration(
    log: ClientLog, caplog: pytest.LogCaptureFixture
) -> None:
    say(log, REFUSED.format("0ms in state CONNECT, 3 identical error(s) suppressed"))

    assert caplog.messages == [
        "localhost:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused"
    ]
    assert (caplog.records[0].__dict__["facility"], caplog.records[0].levelname) == (
        "FAIL",
        "ERROR",
    )


def test_a_coordinator_that_still_loads_is_no_warning(
    log: ClientLog, caplog: pytest.LogCaptureFixture
) -> None:
    text = "Failed to acquire idempotence PID from broker b:1/0: Broker: "
    for reason in ("Coordinator load in progress: retrying", "Cluster authorization failed"):
        log.log(logging.WARNING, "%s", "GETPID", "rdkafka#producer-1", text + reason)

    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_repeats_are_counted_and_told_with_the_next_line_of_the_kind(
    log: ClientLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(600):
        clock.now = number * 0.05
        say(log, REFUSED.format(f"{number}ms in state CONNECT"))
    clock.now = INTERVAL + 1
    say(log, REFUSED.format("0ms in state CONNECT"))

    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("Connection refused (and 599 more like it in 31 s)")


def test_two_brokers_and_two_reasons_are_different_kinds(
    log: ClientLog, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("a:1/1: gone", "a:2/2: gone", "a:1/1: late by 5 s", "a:1/1: late by 7 s"):
        say(log, text)

    assert caplog.messages == ["a:1/1: gone", "a:2/2: gone", "a:1/1: late by 5 s"]


def test_debug_lines_are_not_collapsed(log: ClientLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        say(log, "[thrd:main]: Sent FetchRequest", logging.DEBUG)

    assert caplog.messages == ["[thrd:main]: Sent FetchRequest"] * 3


def test_the_memory_of_kinds_is_bounded(log: ClientLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(KINDS + 1):
        say(log, f"b:{number}/1: gone")
    say(log, "b:0/1: gone")

    assert len(caplog.messages) == KINDS + 2


def test_of_errors_only_those_without_a_line_of_their_own_are_said(
    log: ClientLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.error(KafkaError(KafkaError._TRANSPORT, "a:1/1: Connection refused"))
    log.error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down"))

    assert caplog.messages == ["no broker can be reached"]


def test_a_client_without_a_broker_says_so_once(
    log: ClientLog, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    properties = {"bootstrap.servers": f"127.0.0.1:{port}", "error_cb": log.error}
    producer = Producer(properties, logger=log)
    seen = 0
    while seen < 5:  # it tries again every 50 ms at first
        seen += producer.poll(1.0)

    assert sorted(caplog.messages) == [
        f"127.0.0.1:{port}/bootstrap: Connect to ipv4#127.0.0.1:{port} failed: Connection refused",
        "no broker can be reached",
    ]
    assert capfd.readouterr() == ("", "")
