"""Dead letters and outputs that are larger than their topic takes."""

from __future__ import annotations

import os

from confluent_kafka import Consumer, TopicPartition

from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import produce
from tests.kafka.supervisors import HEAVY, Supervise

pytestmark = HEAVY

LIMIT = 2000


def test_a_dead_letter_that_is_larger_than_its_topic_takes_comes_cut(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    busy, letters = topic(partitions=1), topic(config={"max.message.bytes": str(LIMIT)})
    value = b"reject no " + os.urandom(20_000).hex().encode()
    produce(kafka, busy, [value], keys=[b"k"])

    supervisor = supervise(kafka, busy, "--until-caught-up", dead_letter=letters)
    assert supervisor.wait() == 6, supervisor
    assert len(supervisor.events("dead_letter_cut")) == 1

    with Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "none"}) as consumer:
        ends = kafka.end_offsets(letters)
        (partition,) = [p for p, end in ends.items() if end]
        consumer.assign([TopicPartition(letters, partition, 0)])
        letter = consumer.poll(30.0)
    assert letter is not None and letter.error() is None
    assert letter.key() == b"k"
    assert letter.value() and value.startswith(letter.value())
    headers = dict(letter.headers() or ())
    assert headers["kqworker-truncated"] == str(len(value)).encode()
    assert (headers["kqworker-topic"], headers["kqworker-offset"]) == (busy.encode(), b"0")
