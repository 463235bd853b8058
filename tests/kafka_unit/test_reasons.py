"""librdkafka's lines about brokers out of reach, in our words."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from kqworker.kafka.logs import plain
from kqworker.kafka.reasons import Ear, reason_of

# As librdkafka 2.16 says them.
LINES = {
    "localhost:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused "
    "(after 0ms in state CONNECT)": ("localhost:9092", "connection refused"),
    "[thrd:b:1/2]: b:1/2: Connect to ipv6#[::1]:9092 failed: Connection refused "
    "(after 0ms in state CONNECT, 30 identical error(s) suppressed)": (
        "b:1",
        "connection refused",
    ),
    "no.such:1/bootstrap: Failed to resolve 'no.such:1': Name or service not known "
    "(after 1ms in state CONNECT)": (
        "no.such:1",
        "the host name is unknown (Name or service not known)",
    ),
    "sasl_ssl://b:1/bootstrap: SASL authentication error: Authentication failed "
    "(after 9ms in state AUTH_REQ)": ("b:1", "authentication failed"),
    "ssl://b:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker "
    "listener? (after 0ms in state SSL_HANDSHAKE)": (
        "b:1",
        "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
    ),
    "b:1/bootstrap: Disconnected: connection reset by peer (after 0ms in state APIVERSION_QUERY)": (
        "b:1",
        "disconnected: connection reset by peer (is security.protocol right?)",
    ),
    "GroupCoordinator: something": ("", "groupCoordinator: something"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_gives_the_broker_and_the_reason(line: str) -> None:
    assert reason_of(plain(line)) == LINES[line]


def test_only_failures_are_reasons_and_the_last_of_a_broker_counts() -> None:
    ear = Ear("a:1,b:1")
    assert ear.why() == ""
    for facility, text in (
        ("FAIL", "a:1/bootstrap: Connect to ipv4#1.1.1.1:1 failed: No route to host"),
        ("FAIL", "a:1/bootstrap: Connect to ipv4#1.1.1.1:1 failed: Connection refused"),
        ("FAIL", "a:1/bootstrap: Disconnected: connection reset by peer"),
        ("CONFWARN", "something else"),
    ):
        ear.log(40, "%s [%s] %s", facility, "client", text)
    assert ear.why() == "connection refused"

    text = "b:1/bootstrap: Connect to ipv4#1.1.1.2:1 failed: No route to host"
    ear.log(40, "%s [%s] %s", "FAIL", "client", text)
    assert ear.why() == "a:1: connection refused, b:1: no route to host"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (KafkaError._AUTHENTICATION, "Kafka at b:1 refuses the login: no {such} user"),
        (KafkaError._SSL, "cannot reach Kafka at b:1: no {such} user"),
        (KafkaError._TRANSPORT, None),
        (KafkaError._ALL_BROKERS_DOWN, None),
    ],
)
def test_a_refused_login_or_certificate_makes_waiting_useless(code: int, text: str | None) -> None:
    ear = Ear("b:1")
    ear.error(KafkaError(code, "b:1/bootstrap: no {such} user"))

    assert ear.refusal == text
