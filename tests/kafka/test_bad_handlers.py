"""Handlers that hang, crash, leak, raise the unspeakable: their message pays, nobody else."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from kqworker.core.completion import decode
from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Key, read
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import HEAVY, Supervise

pytestmark = HEAVY

ATTEMPTS = 3
RETRY = {"attempts": ATTEMPTS, "first": 0.05}


def dead_letters(cluster: Cluster, topic: str) -> dict[Key, dict[str, str]]:
    """The headers of each dead letter, by where its message came from; none is there twice."""
    found: dict[Key, dict[str, str]] = {}
    for message in consume(cluster, topic):
        pairs = message.headers() or []
        told = {name.removeprefix("kqworker-"): (value or b"").decode() for name, value in pairs}
        key = Key(told["topic"], int(told["partition"]), int(told["offset"]))
        assert key not in found, f"twice among the dead letters: {key}"
        found[key] = told
    return found


def numbers(supervise: Supervise, key: Key) -> list[int]:
    """The attempts of a message, as its handler was told."""
    return [attempt.attempt for attempt in checker.by_key(read(supervise.journal))[key]]


def test_bad_messages_among_ten_thousand_good_ones_pay_alone(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(partitions=4), topic()
    # What is bad, and what its dead letters call it.
    kinds = {
        b"hang": "TimeLimitExceeded",
        b"exit 0": "WorkerCrashed",
        b"exit 3": "WorkerCrashed",
        b"segfault": "WorkerCrashed",
        b"die SIGKILL": "WorkerCrashed",  # as the system does it that has no memory left
        b"leak": "MemoryError",
        b"leave early": "SystemExit",
    }
    values = [b"spin 0.00005"] * 10_000
    for number, kind in enumerate(kinds):
        values.insert(1000 + 1100 * number, kind)
    produced = produce(kafka, name, values, partitions=4)
    bad = {k: v for k, v in zip(produced, values, strict=True) if v in kinds}

    supervisor = supervise(
        kafka, name, "--until-caught-up", retry=RETRY, dead_letter=dead, time_limit=1.0
    )
    # It is told that messages failed.
    assert supervisor.wait() == 6, supervisor

    letters = dead_letters(kafka, dead)
    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts, letters)
    assert set(letters) == set(bad)
    tries = checker.by_key(attempts)
    for key, kind in bad.items():
        assert letters[key]["error-type"] == kinds[kind], letters[key]
        assert letters[key]["attempts"] == str(ATTEMPTS)
        assert [attempt.attempt for attempt in tries[key]] == [1, 2, 3], kind
    # Nobody else was tried twice, whatever frame it shared with whom.
    assert {key for key, of_it in tries.items() if len(of_it) > 1} == set(bad)
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))


@pytest.mark.parametrize("ordering", ["key", "partition"])
def test_bad_messages_keep_their_place_in_the_order(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, ordering: str
) -> None:
    name, dead = topic(partitions=2), topic()
    kinds = {17: b"exit 1", 40: b"fail 2", 61: b"hang", 63: b"fail 1", 90: b"fail 9"}
    values = [kinds.get(number, b"spin 0.0001") for number in range(400)]
    keys = [b"%d" % (number % 7) for number in range(400)]
    produced = produce(kafka, name, values, keys)
    key_of = dict(zip(produced, keys, strict=True))

    supervisor = supervise(
        kafka,
        name,
        "--until-caught-up",
        retry={"attempts": ATTEMPTS, "first": 0.2},
        dead_letter=dead,
        time_limit=0.5,
        ordering=ordering,
    )
    assert supervisor.wait() == 6, supervisor

    letters = dead_letters(kafka, dead)
    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts, letters)
    assert set(letters) == {produced[number] for number in (17, 61, 90)}
    final = {key: of_it[-1] for key, of_it in checker.by_key(attempts).items()}
    for attempt in attempts:
        # Dead-lettered is through, too; and a worker that dies says no end.
        if attempt.key in letters and attempt is final[attempt.key]:
            attempt.failed = False

    def lane(key: Key) -> object:
        return (key.partition, key_of[key]) if ordering == "key" else key.partition

    checker.in_order(attempts, lane)


def test_whatever_a_handler_does_is_a_failed_attempt_or_none(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(), topic()
    kinds = {
        b"unpicklable": ("tests.kafka.handlers.Unpicklable", ATTEMPTS),
        b"leave 3": ("SystemExit", ATTEMPTS),
        b"reject because": ("kqworker.errors.Reject", 1),
        b"nonsense": ("ValueError", ATTEMPTS),
        b"print 5000000": None,
        b"fork": None,
        b"die SIGTERM": None,  # a worker is ended by its supervisor alone
        b"die SIGINT": None,
        b"ok": None,
    }
    produced = produce(kafka, name, kinds)
    supervisor = supervise(kafka, name, "--until-caught-up", retry=RETRY, dead_letter=dead)
    assert supervisor.wait() == 6, supervisor
    # The forked child that sleeps for ten minutes has gone with its worker.
    supervisor.leaves_nobody()

    letters = dead_letters(kafka, dead)
    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts, letters)
    for key, expected in zip(produced, kinds.values(), strict=True):
        if expected is None:
            assert [attempt.ok for attempt in attempts if attempt.key == key] == [True]
        else:
            told = letters[key]
            assert (told["error-type"], told["attempts"]) == (expected[0], str(expected[1]))
    assert letters[produced[2]]["error-text"] == "because"
    assert "nor this" not in letters[produced[0]]["error-text"]
    # To both streams, which are one pipe: others' lines may come between, but nothing is missing.
    runs = re.findall("x{100,}", supervisor.out)
    assert sum(map(len, runs)) == 2 * 5_000_000


def test_a_dead_letter_is_the_record_as_it_came(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(partitions=3), topic()
    (key,) = produce(kafka, name, [b"fail 9 and \xc3\xa9"], keys=[b"\xff\x00key"])
    supervisor = supervise(kafka, name, "--until-caught-up", retry=RETRY, dead_letter=dead)
    assert supervisor.wait() == 6, supervisor

    (letter,) = consume(kafka, dead)
    assert (letter.key(), letter.value()) == (b"\xff\x00key", b"fail 9 and \xc3\xa9")
    told = dead_letters(kafka, dead)[key]
    assert told["handler"] == "tests.kafka.handlers.work"
    assert told["error-type"] == "RuntimeError"
    assert told["error-text"] == "attempt 3 was to fail"
    assert "in work" in told["error-traceback"]
    assert int(told["timestamp"]) > 1_600_000_000_000


@pytest.mark.parametrize("end", ["TERM", "KILL"])
def test_a_poison_message_has_its_attempts_in_all_across_restarts(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, end: str
) -> None:
    name, dead = topic(), topic()
    poison, good = produce(kafka, name, [b"exit 1", b"ok"])
    retry = {"attempts": 6, "first": 0.5, "factor": 1.0}
    policy = {"retry": retry, "dead_letter": dead}
    # A static member is back at once.
    static = ("-X", "group.instance.id=one")

    for life in range(2):
        supervisor = supervise(kafka, name, *static, **policy)
        # The second attempt of this life has ended.
        supervisor.until(lambda s=supervisor: len(s.events("retrying")) == 2, "two attempts")
        if end == "TERM":
            assert supervisor.stop() == 0, supervisor
        else:
            # They are committed at once; whoever is killed before has them again.
            had = 2 * life + 2
            supervisor.until(
                lambda had=had: attempts_committed(kafka, supervise.group, poison) == had,
                "its attempts are committed",
            )
            supervisor.kill()
    last = supervise(kafka, name, *static, "--until-caught-up", **policy)
    assert last.wait() == 6, last

    assert numbers(supervise, poison) == [1, 2, 3, 4, 5, 6]
    assert dead_letters(kafka, dead)[poison]["attempts"] == "6"
    assert numbers(supervise, good) == [1]


def attempts_committed(cluster: Cluster, group: str, key: Key) -> int:
    """The attempts of a message that a successor would know of."""
    told = cluster.committed(group, key.topic).get(key.partition)
    found = decode(told.metadata, told.offset) if told is not None else None
    return found.attempts.get(key.offset, 0) if found is not None else 0


def test_without_a_dead_letter_topic_a_bad_message_is_told_and_accepted(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produced = produce(kafka, name, [b"fail 9", b"ok"])
    supervisor = supervise(kafka, name, "--until-caught-up", retry=RETRY)
    assert supervisor.wait() == 6, supervisor

    (line,) = supervisor.events("gave_up")
    expected: Mapping[str, object] = {"topic": name, "partition": 0, "offset": 0, "attempt": 3}
    assert all(f" {field}={value} " in f"{line} " for field, value in expected.items()), line
    assert numbers(supervise, produced[0]) == [1, 2, 3]
    assert kafka.committed(supervise.group, name)[0].offset == 2


def test_a_dead_letter_that_cannot_be_delivered_stalls_visibly_and_drops_nothing(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    # The topic takes no record as large as this one.
    name, dead = topic(), topic(config={"max.message.bytes": "1000"})
    bad, good = produce(kafka, name, [b"fail 9 " + b"x" * 5000, b"ok"])
    kept = {"dead_letter": dead, "dead_letter_overflow": "stall"}
    supervisor = supervise(kafka, name, retry={"attempts": 1}, **kept).handled(2)
    supervisor.until(lambda: supervisor.events("stalled"), "it is held")

    (line,) = supervisor.events("stalled")
    assert f"offset={bad.offset}" in line
    assert f"undeliverable to '{dead}': 1" in line
    # A stop gives up waiting, and says so; the message is not committed.
    supervisor.interrupt()
    supervisor.until(lambda: supervisor.events("stopping"), "it drains")
    supervisor.interrupt()
    assert supervisor.wait() == 4, supervisor
    told = kafka.committed(supervise.group, name).get(0)
    assert told is None or told.offset == bad.offset
    assert good
