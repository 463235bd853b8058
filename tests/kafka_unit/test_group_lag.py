"""What a group has still to commit, as it is looked up in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Foreign

from kqworker.errors import BrokerError
from kqworker.kafka import group_lag
from kqworker.kafka.admin import Admin
from kqworker.kafka.devbroker import PROPERTIES, DevBroker, create_topics, start_dev_broker
from kqworker.kafka.group_lag import Behind, Transactions
from kqworker.kafka.properties import admin_properties
from kqworker.types import TopicPartition

ZERO, ONE, TWO = (TopicPartition("test", number) for number in range(3))


@pytest.fixture
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        create_topics(started.address, ["test"])
        yield started


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_lag, "ASK_SECONDS", 0.0)


def join() -> None:
    for thread in threading.enumerate():
        if thread.name == "kqworker-behind":
            thread.join()


def answered(asking: Behind) -> dict[TopicPartition, int]:
    """What is left after one more question."""
    asking.ask()
    join()
    return dict(asking.left)


def commit(broker: DevBroker, *marks: Foreign) -> None:
    member = Consumer({"bootstrap.servers": broker.address, "group.id": "g", **PROPERTIES})
    member.commit(offsets=list(marks), asynchronous=False)
    member.close()


def test_what_the_group_has_committed_up_to_its_target_is_left_out(broker: DevBroker) -> None:
    asking = Behind(admin_properties(broker.address), "g", {ZERO: 2, ONE: 3, TWO: 1})
    assert asking.left == {ZERO: 2, ONE: 3, TWO: 1}

    commit(broker, Foreign("test", 0, 2), Foreign("test", 1, 2))
    assert answered(asking) == {ONE: 3, TWO: 1}

    commit(broker, Foreign("test", 1, 4), Foreign("test", 2, 1))
    assert answered(asking) == {}


def test_one_question_is_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Behind] = []
    begun, go_on = threading.Event(), threading.Event()

    def ask(self: Behind) -> None:
        asked.append(self)
        begun.set()
        assert go_on.wait(20)

    monkeypatch.setattr(Behind, "_ask", ask)
    asking = Behind({}, "g", {ZERO: 2})
    asking.ask()
    assert begun.wait(20)
    asking.ask()
    go_on.set()
    join()
    assert asked == [asking]

    answered(asking)
    assert asked == [asking, asking]


def test_it_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Behind] = []
    monkeypatch.setattr(group_lag, "ASK_SECONDS", 60.0)
    monkeypatch.setattr(Behind, "_ask", lambda self: asked.append(self))
    asking = Behind({}, "g", {ZERO: 2})

    answered(asking)
    answered(asking)

    assert asked == [asking]


def test_without_an_answer_nothing_is_taken_for_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise BrokerError("no answer", retriable=True)

    monkeypatch.setattr(Admin, "committed", refuse)
    asking = Behind(admin_properties("127.0.0.1:9"), "g", {ZERO: 2})

    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert answered(asking) == {ZERO: 2}

    assert "whether others are done is not known: no answer" in caplog.text


def test_what_an_idle_run_waits_for_is_asked_after_a_while_and_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def end_offsets(_: Admin, partitions: object, isolation: str) -> dict[TopicPartition, int]:
        asked.append(isolation)
        return {ZERO: 3, ONE: 9}

    monkeypatch.setattr(Admin, "end_offsets", end_offsets)
    transactions = Transactions(admin_properties("127.0.0.1:9"), {ZERO: 5, ONE: 9})
    caplog.set_level(logging.WARNING, "kqworker.kafka")

    transactions.look(idle=True)
    transactions.look(idle=True)
    join()
    assert asked == []
    monkeypatch.setattr(group_lag, "IDLE_SECONDS", 0.0)
    transactions.look(idle=False)
    for _ in range(4):
        transactions.look(idle=True)
        join()

    assert asked == ["read_committed"]
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for a transaction: from offset 3 on test[0] cannot be read before it ends"
    ]


def test_without_an_answer_no_transaction_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise BrokerError("no answer", retriable=True)

    monkeypatch.setattr(Admin, "end_offsets", refuse)
    monkeypatch.setattr(group_lag, "IDLE_SECONDS", 0.0)
    transactions = Transactions(admin_properties("127.0.0.1:9"), {ZERO: 5})
    for _ in range(2):
        transactions.look(idle=True)
        join()

    assert "whether a transaction is open is not known: no answer" in caplog.text
