"""Waiting for a push to be delivered."""

from __future__ import annotations

import threading

import pytest

from kqworker import BrokerError, Delivery


def test_a_delivery_is_pending_until_it_is_resolved() -> None:
    delivery = Delivery()
    assert not delivery.done
    assert (delivery.partition, delivery.offset) == (None, None)
    assert repr(delivery) == "<Delivery pending>"

    delivery._resolve(3, 14)

    assert delivery.done
    assert delivery.wait() is delivery
    assert (delivery.partition, delivery.offset) == (3, 14)
    assert repr(delivery) == "<Delivery partition=3 offset=14>"


def test_waiting_ends_with_the_delivery_in_another_thread() -> None:
    delivery = Delivery()
    waited: list[int | None] = []
    thread = threading.Thread(target=lambda: waited.append(delivery.wait(30).offset))
    thread.start()

    delivery._resolve(0, 7)
    thread.join(30)

    assert waited == [7]


def test_a_failed_delivery_raises_its_error_each_time() -> None:
    delivery = Delivery()
    delivery._fail(BrokerError("the topic does not exist"))

    assert delivery.done
    for _ in range(2):
        with pytest.raises(BrokerError, match="the topic does not exist"):
            delivery.wait(1)
    assert repr(delivery) == "<Delivery failed: the topic does not exist>"


def test_waiting_too_short_says_so_and_leaves_it_pending() -> None:
    delivery = Delivery()

    with pytest.raises(TimeoutError, match=r"not delivered within 0\.001 s"):
        delivery.wait(0.001)
    delivery._resolve(0, 0)
    assert delivery.wait(0) is delivery
