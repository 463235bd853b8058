"""A message that takes the whole supervisor with it, and supervisors that end for other reasons."""

from __future__ import annotations

import signal

import pytest

from kqworker.core import suspects
from kqworker.core.completion import decode
from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Key, read
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import HEAVY, Supervise

pytestmark = HEAVY

# A static member is back at once.
STATIC = ("-X", "group.instance.id=one")
FELLED = -signal.SIGKILL


def run_until_it_ends(
    kafka: Cluster, name: str, supervise: Supervise, *options: str, **policy: object
) -> tuple[int, list[set[Key]]]:
    """Restart it as an orchestrator does; return its last exit code, and who was done when."""
    done: list[set[Key]] = []
    for _ in range(9):
        run = supervise(kafka, name, *STATIC, *options, "--until-caught-up", **policy)
        code = run.wait()
        done.append({attempt.key for attempt in read(supervise.journal) if attempt.ok})
        if code != FELLED:
            return code, done
    raise AssertionError(f"it is killed again and again\n{run}")


@pytest.mark.parametrize("place", [0, 40, 96])
def test_a_message_that_kills_its_supervisor_pays_alone_and_holds_back_nobody(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, place: int
) -> None:
    name, dead = topic(), topic()
    values = [b"spin 0.001"] * 97
    values[place] = b"fell"
    produced = produce(kafka, name, values)
    killer = produced[place]
    policy = {"retry": {"attempts": 3, "first": 0.05}, "dead_letter": dead}
    code, done = run_until_it_ends(kafka, name, supervise, **policy)

    assert code == 6
    (letter,) = consume(kafka, dead)
    told = dict(letter.headers() or [])
    assert (told["kqworker-offset"], told["kqworker-attempts"]) == (b"%d" % place, b"3")
    attempts = read(supervise.journal)
    tries = checker.by_key(attempts)
    assert len(tries[killer]) <= 4
    # Nobody else has paid, and at the latest the second restart has handled them all.
    assert {attempt.attempt for attempt in attempts if attempt.key != killer} == {1}
    neighbours = {key for key in produced if key != killer}
    assert done[-1] == neighbours
    assert done[2] == neighbours
    assert kafka.committed(supervise.group, name)[0].offset == 97


def test_a_killer_does_not_hold_back_what_had_not_begun(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, count = topic(2), suspects.PER_PARTITION + 100
    values = [b"spin 0.001"] * 2 * count
    values[0] = b"fell"
    produced = produce(kafka, name, values, partitions=2)
    policy = {"retry": {"attempts": 3, "first": 0.05}, "dead_letter": topic()}
    code, done = run_until_it_ends(kafka, name, supervise, **policy)

    assert code == 6
    assert done[-1] == set(produced[1:])
    # Nobody knows how far the first one had come; so far it had not.
    fresh = {key for key in produced if key.offset >= count - 20}
    assert not fresh & done[0]
    assert fresh <= done[1]


def test_supervisors_that_are_killed_and_ended_otherwise_charge_nobody(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(2)
    produced = produce(kafka, name, [b"spin 0.002"] * 3000, partitions=2)
    once = {"retry": {"attempts": 1}}
    for number, end in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)):
        run = supervise(kafka, name, *STATIC, **once)
        run.handled(100 if end == signal.SIGKILL else 300)
        assert run.stop(end) == (0 if end == signal.SIGTERM else FELLED), (number, run)
    clean = kafka.committed(supervise.group, name)
    found = [decode(told.metadata, told.offset) for told in clean.values()]
    assert all(said is not None and said.clean and not said.begun for said in found)

    last = supervise(kafka, name, *STATIC, "--until-caught-up", **once)
    assert last.wait() == 0, last
    assert not last.events("suspected"), last
    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts)
    assert {attempt.attempt for attempt in attempts} == {1}


def test_where_nobody_is_to_be_suspected_nobody_is(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produce(kafka, name, [b"sleep 60"])
    off = ("--no-isolate-suspects", *STATIC)
    supervise(kafka, name, *off).begun(1).kill()
    second = supervise(kafka, name, *off).begun(1)
    assert not second.events("suspected"), second
    second.kill()
