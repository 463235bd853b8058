"""A built-in broker with the topic `out`, and what leads to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kqworker.kafka.devbroker import (
    DevBroker,
    create_topics,
    start_dev_broker,
)
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.kafka.sink import KafkaSink
from tests.kafka_unit.sinks import TIMEOUT


@pytest.fixture
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        create_topics(started.address, ["out"])
        yield started


@pytest.fixture
def sink(broker: DevBroker) -> Iterator[KafkaSink]:
    opened = KafkaSink(Outgoing(producer_properties(broker.address)))
    yield opened
    opened.close(TIMEOUT)


@pytest.fixture
def pushes(broker: DevBroker) -> Iterator[KafkaPushSink]:
    opened = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    yield opened
    opened.close(TIMEOUT)
