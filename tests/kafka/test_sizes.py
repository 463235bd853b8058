"""Records larger than their topic takes: who is told, and with which words."""

from __future__ import annotations

import os

import pytest

from kqworker.errors import BrokerError
from kqworker.kq import Pusher, with_chunk_size, with_sync_push
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import produce
from tests.kafka.shops import CAUGHT_UP, Shop, Start

TIMEOUT = 30.0
REMEDY = "raise the topic's max.message.bytes, or the brokers' message.max.bytes"


@pytest.fixture
def small(topic: NewTopic) -> str:
    return topic(config={"max.message.bytes": "2000"})


def test_a_push_tells_the_size_and_the_remedy(kafka: Cluster, small: str) -> None:
    # What cannot be compressed.
    large = os.urandom(5000)

    with Pusher(kafka.bootstrap, small) as pusher:
        with pytest.raises(BrokerError) as refused:
            pusher.push_with_key("k", large).wait(TIMEOUT)
        assert pusher.push("small").wait(TIMEOUT).offset == 0
    assert not refused.value.retriable
    assert str(refused.value) == (
        "the record cannot be delivered: its 5,001 bytes (before compression) "
        f"are more than topic {small!r} takes: {REMEDY}"
    )

    with (
        pytest.raises(BrokerError, match=r": its 5,001 bytes \(before compression\) are more than"),
        Pusher(kafka.bootstrap, small, with_chunk_size(1000), with_sync_push()) as pusher,
    ):
        pusher.push_with_key("k", large)


def test_a_batch_that_is_too_large_is_sent_record_by_record(kafka: Cluster, small: str) -> None:
    values = [os.urandom(500) for _ in range(20)]

    with Pusher(kafka.bootstrap, small) as pusher:
        sent = [pusher.push_with_key("k", value) for value in values]
        refused = pusher.push_with_key("k", os.urandom(5000))
        assert sorted(delivery.wait(TIMEOUT).offset or 0 for delivery in sent) == list(range(20))
        with pytest.raises(BrokerError, match="its 5,001 bytes"):
            refused.wait(TIMEOUT)


def test_what_a_handler_pushes_fails_its_message_with_the_size_and_the_remedy(
    shop: Shop, start: Start, small: str
) -> None:
    shop.configure(Kqworker=CAUGHT_UP)
    shop.program(
        "import os\n"
        "def handle(context, key, value):\n"
        f"    context.push({small!r}, os.urandom(5000))\n"
    )
    produce(shop.cluster, shop.topic, [b"1"])

    program = start("main.py")

    assert program.wait() == 6, program
    (line,) = [line for line in program.lines if "message failed after" in line]
    assert (
        "KafkaError.MSG_SIZE_TOO_LARGE: its 5,000 bytes (before compression) are "
        f"more than topic {small!r} takes: {REMEDY}"
    ) in line
