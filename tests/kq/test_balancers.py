"""Balancers choose what kafka-go's choose, for what its own program printed.

Here on the 4 partitions that the built-in broker has; tests/kafka/test_kq_pusher.py does
the same on Apache Kafka, on 1 to 12.
"""

from __future__ import annotations

import pytest

from kqworker.errors import ConfigError
from kqworker.kafka.devbroker import PARTITIONS, DevBroker, create_topics
from kqworker.kq import LeastBytes, Pusher, RoundRobin, with_balancer
from tests.kq.vectors import COUNTING, HASHES, counted, hashed


@pytest.mark.parametrize("name", HASHES)
def test_a_key_goes_where_kafka_go_puts_it(broker: DevBroker, name: str) -> None:
    create_topics(broker.address, ["hashed"])
    expected = {key: chosen[PARTITIONS - 1] for key, chosen in hashed(name).items()}
    with Pusher(broker.address, "hashed", with_balancer(HASHES[name])) as pusher:
        deliveries = {key: pusher.push_with_key(key, b"") for key in expected}

    assert len(expected) > 70
    assert {key: delivery.partition for key, delivery in deliveries.items()} == expected


@pytest.mark.parametrize("number", range(len(counted())))
def test_what_is_counted_is_counted_as_in_kafka_go(number: int) -> None:
    case = counted()[number]
    choose = COUNTING[case.balancer].chooser()

    chosen = [choose(*given) for given in zip(case.sizes, case.partitions, strict=True)]

    assert chosen == case.chosen


def test_every_balancer_is_in_what_go_printed() -> None:
    assert {case.balancer for case in counted()} == set(COUNTING)
    for name in HASHES:
        keys = hashed(name)
        assert all(len(chosen) == 12 for chosen in keys.values())
        assert {len(key) % 4 for key in keys} == {0, 1, 2, 3}


def test_a_counter_begins_anew_where_go_has_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kqworker.kq.push.balancers._COUNTER", 4)
    choose = RoundRobin().chooser()

    assert [choose(0, 3) for _ in range(8)] == [0, 1, 2, 0, 0, 1, 2, 0]


@pytest.mark.parametrize("balancer", [RoundRobin(), LeastBytes()])
def test_partitions_that_are_counted_are_asked_of_the_broker(
    broker: DevBroker, balancer: RoundRobin | LeastBytes
) -> None:
    create_topics(broker.address, ["counted"])
    with Pusher(broker.address, "counted", with_balancer(balancer)) as pusher:
        deliveries = [pusher.push_with_key("one key", "value") for _ in range(2 * PARTITIONS)]

    assert [delivery.partition for delivery in deliveries] == [*range(PARTITIONS)] * 2


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "1"])
def test_a_chunk_of_a_round_is_a_whole_number(size: int) -> None:
    with pytest.raises(ConfigError, match="RoundRobin\\(chunk_size="):
        RoundRobin(chunk_size=size)
