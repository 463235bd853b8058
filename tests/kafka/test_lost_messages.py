"""Messages that Kafka deletes before they are handled are told, on Apache Kafka."""

from __future__ import annotations

import re

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import produce
from tests.kafka.test_damage import delete_below

APP = """\
from kqworker import App

app = App({group!r})

@app.handler(topic={topic!r})
def handle(value: bytes) -> None:
    pass
"""


def lost(said: str) -> list[str]:
    """What an ERROR says is gone: the first offset, and how many."""
    return re.findall(r"ERROR .* messages LOST: .*\[0\]@(\d+): Deleted: (\d+) below", said)


@pytest.mark.parametrize("below", [50, 100], ids=["some", "all"])
def test_messages_that_kafka_deleted_are_told_and_end_with_6(
    kafka: Cluster, topic: NewTopic, kqworker: Command, below: int
) -> None:
    name = topic()
    (kqworker.folder / "app.py").write_text(APP.format(group=name, topic=name))
    command = ["run", "app:app", "-w", "1", "--until-caught-up", "-b", kafka.bootstrap]
    produce(kafka, name, [b"x"] * 10)
    assert kqworker(*command).code == 0
    produce(kafka, name, [b"x"] * 90)
    delete_below(kafka, name, below)

    ran = kqworker(*command)
    again = kqworker(*command)

    assert ran.code == 6, ran
    assert lost(ran.err) == [("10", str(below - 10))]
    assert f"{100 - below} handled" in ran.err
    assert (again.code, lost(again.err)) == (0, [])


def test_a_new_group_has_lost_nothing_of_what_retention_took_before(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    name = topic()
    (kqworker.folder / "app.py").write_text(APP.format(group=name, topic=name))
    produce(kafka, name, [b"x"] * 20)
    delete_below(kafka, name, 5)

    ran = kqworker("run", "app:app", "-w", "1", "--until-caught-up", "-b", kafka.bootstrap)

    assert (ran.code, lost(ran.err)) == (0, []), ran
    assert "15 handled" in ran.err
