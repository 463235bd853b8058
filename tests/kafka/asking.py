"""Asking brokers that may not be able to answer yet: with patience, and without noise.

Decides which errors mean "ask again". Used by tests/kafka/cluster.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

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


def told_by(broker: int, address: str, timeout: float = ASK_TIMEOUT) -> ClusterMetadata | None:
    """What one broker knows of its cluster; None when it did not answer, or another one did.

    A client asks whichever broker it has come to know of by then. It says which that was: -1 is
    the address that it was given.
    """
    try:
        told = admin_of(address).list_topics(timeout=timeout)
    except KafkaException:
        return None
    return told if told.orig_broker_id in (-1, broker) else None


def leaders(broker: int, address: str, topic: str) -> int | None:
    """How many partitions of a topic one broker knows the leader of; as `told_by` has it."""
    told = told_by(broker, address)
    if told is None:
        return None
    found = told.topics.get(topic)
    return sum(p.leader >= 0 for p in found.partitions.values()) if found else 0


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
