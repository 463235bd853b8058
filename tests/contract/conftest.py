"""The brokers that a source is held against, with each group protocol, and sources on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from kqworker.kafka.devbroker import DevBroker, start_dev_broker
from kqworker.kafka.source import KafkaSource
from tests.contract.brokers import PARTITIONS, TIMEOUT, Apache, Broker, Mock, properties
from tests.contract.owner import Owner

CONSUMER = {"group.protocol": "consumer"}
# Members hear of a rebalance by their heartbeats.
COOPERATIVE = {
    "partition.assignment.strategy": "cooperative-sticky",
    "heartbeat.interval.ms": "200",
}
EAGER = {"partition.assignment.strategy": "range", "heartbeat.interval.ms": "200"}

ON_MOCK = pytest.param((Mock, CONSUMER), id="mock")
ON_APACHE = pytest.param((Apache, CONSUMER), id="apache-consumer", marks=pytest.mark.kafka)
ON_APACHE_CLASSIC = [
    pytest.param((Apache, COOPERATIVE), id="apache-cooperative", marks=pytest.mark.kafka),
    pytest.param((Apache, EAGER), id="apache-eager", marks=pytest.mark.kafka),
]
# For tests of what happens around a rebalance.
on_every_protocol = pytest.mark.parametrize(
    "broker", [ON_MOCK, ON_APACHE, *ON_APACHE_CLASSIC], indirect=True
)

ALL = range(PARTITIONS)


@pytest.fixture(params=[ON_MOCK, ON_APACHE])
def broker(request: pytest.FixtureRequest) -> Broker:
    kind, protocol = request.param
    if kind is Mock:
        return Mock(request.getfixturevalue("dev_broker"), protocol)
    return Apache(request.getfixturevalue("kafka"), protocol)


@pytest.fixture
def dev_broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        yield started


Opened = Callable[..., Owner]


@pytest.fixture
def opened(broker: Broker) -> Iterator[Opened]:
    """Opens sources, and closes those that the test has not."""
    owners: list[Owner] = []

    def open_source(
        topics: str | Sequence[str],
        group: str,
        members: int = 1,
        drain_seconds: float = 5.0,
        offset: str = "earliest",
        **more: str,
    ) -> Owner:
        subscriptions = [topics] if isinstance(topics, str) else topics
        mine = [properties(broker, group, offset, **more)] * members
        present = dict.fromkeys(subscriptions, 4)
        owners.append(Owner(KafkaSource(mine, subscriptions, drain_seconds, present)))
        return owners[-1]

    yield open_source
    for owner in owners:
        if owner.source.fileno() >= 0:
            owner.source.close(TIMEOUT)


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]
