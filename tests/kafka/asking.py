"""Asking brokers that may not be able to answer yet: with patience, and without noise.

Decides which errors mean "ask again". Used by tests/kafka/cluster.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tests import waiting

T = TypeVar("T")

# Three brokers come up within 10 s on an idle machine with two cores.
READY_TIMEOUT = 90.0
# How long one question may wait for its answer.
ASK_TIMEOUT = 20.0
# Right after a start or a failover these mean "ask again".
PASSING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._TRANSPORT,
}


def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient(settings_of(bootstrap))


def settings_of(bootstrap: str) -> dict[str, str | int]:
    # Refused connections are expected here; librdkafka would print each one.
    quiet = {"log_level": 0, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 250}
    return {"bootstrap.servers": bootstrap, **quiet}


def only(futures: Mapping[str, Future[T]]) -> T:
    """The one answer of an admin call that was asked about one thing."""
    (future,) = futures.values()
    return future.result(ASK_TIMEOUT)


def answer_to(ask: Callable[[], T], what: str) -> T:
    """Asks until the brokers are able to answer."""
    answers: list[T] = []

    def answered() -> bool:
        try:
            answers.append(ask())
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                raise
        return bool(answers)

    until(answered, what)
    return answers[0]


def until(true: Callable[[], bool], what: str) -> None:
    """Ask again until the answer is yes; each question waits for the broker."""
    waiting.until(true, what, READY_TIMEOUT)
