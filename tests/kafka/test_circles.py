"""What apps produce does not come round for ever, on Apache Kafka."""

from __future__ import annotations

import re

from confluent_kafka import Producer

from kqworker.core.circles import EVERY, MOST, RESULTS, TOLD
from kqworker.core.deadletter import ROUNDS
from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import PATIENCE, consume, produce
from tests.kafka.supervisors import Supervise, Supervisor

APP = """\
from kqworker import App, Reject

app = App({group!r})

@app.handler(topic={topic!r}, dead_letter={dead!r})
def refuse(value: bytes) -> None:
    raise Reject("no")
"""


def test_two_apps_that_send_each_other_their_dead_letters_end_the_circle(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    one, other = topic(), topic()
    for name, there in ((one, other), (other, one)):
        text = APP.format(group=name, topic=name, dead=there)
        (kqworker.folder / f"app_{name.replace('-', '_')}.py").write_text(text)
    # It has been round often, so that the test need not wait for it.
    headers = [("kqworker-topic", other.encode()), ("kqworker-handler", b"there")]
    with Producer(kafka.client) as producer:
        producer.produce(one, b"x", headers=[*headers, ("kqworker-round", b"%d" % (ROUNDS - 2))])
        assert producer.flush(PATIENCE) == 0

    ran = []
    for name in (one, other):
        module = f"app_{name.replace('-', '_')}:app"
        ran.append(kqworker("run", module, "-w", "1", "--until-caught-up", "-b", kafka.bootstrap))

    assert [ended.code for ended in ran] == [6, 6], ran
    assert [len(consume(kafka, name)) for name in (one, other)] == [1, 1]
    assert "DROPPED" not in ran[0].err
    (line,) = [
        line for line in ran[1].err.splitlines() if "message DROPPED: its dead letters" in line
    ]
    assert f"{other}[0]@0" in line and f"refuse ({one})" in line and f"to {one}" in line


def test_an_app_whose_dead_letters_meet_does_not_start(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    one, other = topic(), topic()
    both = APP.format(group=one, topic=one, dead=other)
    both += f"""
@app.handler(topic={other!r}, dead_letter={one!r})
def again(value: bytes) -> None:
    pass
"""
    (kqworker.folder / "app.py").write_text(both)

    for command in ("run", "check"):
        ended = kqworker(command, "app:app", "-b", kafka.bootstrap)

        assert ended.code == 2, ended
        assert f"refuse (app.py:5): dead_letter={other!r} is read by app.again" in ended.text
        assert f"app.again (app.py:9): dead_letter={one!r} is read by app.refuse" in ended.text


# What is returned and pushed

CIRCLING = "tests.kafka.circling:app"
# Counting has begun by then, and each has handed on so often that it ends.
ENDLESS = 10 * MOST


def told(run: Supervisor) -> list[str]:
    return [line for line in run.events("circle") if "what handlers produce comes round" in line]


def test_two_apps_that_send_each_other_their_results_are_told_and_end_the_circle(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    one, other, dead = topic(), topic(), topic()
    # It has been round often, so that the test need not wait for it.
    with Producer(kafka.client) as producer:
        producer.produce(one, b"%d" % ENDLESS, headers=[(RESULTS, b"%d" % (MOST - 9))])
        assert producer.flush(PATIENCE) == 0

    both = (one, other), (other, one)
    runs = [
        supervise(kafka, here, group=here, app=CIRCLING, by="output", to=there, dead_letter=dead)
        for here, there in both
    ]
    # The tenth is the other's, and is one too many.
    runs[1].until(lambda: runs[1].events("dead-lettered"), "an end of the circle")

    assert [run.stop() for run in runs] == [0, 0], runs
    ways = [f"hand_on reads {here} and returns to {there}" for here, there in both]
    for run, way in zip(runs, ways, strict=True):
        assert told(run) and f"in a row: tests.kafka.circling.{way}" in told(run)[0], run
    (letter,) = consume(kafka, dead)
    error = dict(letter.headers() or ())["kqworker-error-text"].decode()
    assert error == f"more than {MOST} results in a row: tests.kafka.circling.{ways[1]}"
    assert (len(consume(kafka, one)), len(consume(kafka, other))) == (5, 5)


def test_results_that_an_app_sends_to_its_own_topic_end(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    here = topic()
    produce(kafka, here, [b"%d" % ENDLESS])

    run = supervise(kafka, here, app=CIRCLING, by="choice", to=here)
    run.until(lambda: run.events("gave_up"), "an end of the circle")

    assert run.stop() == 0, run
    assert rows(run) == [TOLD, 2 * TOLD]
    assert f"hand_on reads {here} and returns to {here}" in told(run)[0]
    assert len(consume(kafka, here)) == EVERY + MOST
    (line,) = run.events("gave_up")
    assert f"more than {MOST} results in a row" in line


def test_work_that_an_app_pushes_to_its_own_topic_is_told_and_goes_on(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    here, deep = topic(), EVERY + MOST + 5
    produce(kafka, here, [b"%d" % deep])

    run = supervise(kafka, here, app=CIRCLING, by="push", to=here)
    run.until(lambda: kafka.end_offsets(here) == {0: deep + 1}, "all of them")

    assert run.stop() == 0, run
    assert rows(run) == [TOLD, 2 * TOLD]
    assert f"hand_on reads {here} and pushes to {here}" in told(run)[0]


def rows(run: Supervisor) -> list[int]:
    """How many in a row were told."""
    found = [re.search(r"at least (\d+) in a row", line) for line in told(run)]
    return [int(row[1]) for row in found if row]
