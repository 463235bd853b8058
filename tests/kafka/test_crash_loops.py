"""Workers that die one after the other: when that ends a run, and when it must not."""

from __future__ import annotations

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import read
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import HEAVY, Supervise

pytestmark = HEAVY

RETRY = {"attempts": 3, "first": 0.05}


def test_fifty_messages_in_a_row_that_kill_are_dead_letters_and_the_rest_is_handled(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(), topic()
    produced = produce(kafka, name, [b"exit 1"] * 50 + [b"ok"] * 500)
    supervisor = supervise(kafka, name, "--until-caught-up", retry=RETRY, dead_letter=dead)
    assert supervisor.wait() == 6, supervisor

    attempts = read(supervise.journal)
    assert {attempt.key for attempt in attempts if attempt.ok} == set(produced[50:])
    assert len(consume(kafka, dead)) == 50
    tries = checker.by_key(attempts)
    assert all(len(tries[key]) == 3 for key in produced[:50])


def test_a_handler_that_kills_on_every_message_ends_the_run_after_200_of_them(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(), topic()
    produce(kafka, name, [b"exit 1"] * 1000)
    policy = {"retry": {"attempts": 1}, "dead_letter": dead}
    supervisor = supervise(kafka, name, "--until-caught-up", **policy)
    assert supervisor.wait() == 5, supervisor

    killed = {attempt.key for attempt in read(supervise.journal)}
    # Both workers may be on one when the last of them is counted.
    assert 200 <= len(killed) <= 202
    assert len(consume(kafka, dead)) <= len(killed)


def test_a_start_hook_that_takes_too_long_ends_the_first_start_and_names_the_setting(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    supervisor = supervise(
        kafka,
        topic(),
        *("--startup-timeout", "2"),
        app="tests.kafka.starts:app",
        environment={"STARTS_THAT_END": "0"},
    )
    assert supervisor.wait(20.0) == 2, supervisor
    assert "startup_timeout" in supervisor.out
    assert "Traceback" not in supervisor.out
