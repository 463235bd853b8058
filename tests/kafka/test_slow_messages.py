"""Slow messages among fast ones hold up no others, neither their handling nor their commits."""

from __future__ import annotations

from kqworker.core.completion import decode
from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Attempt, read
from tests.kafka.records import produce
from tests.kafka.supervisors import HEAVY, Supervise, Supervisor

pytestmark = HEAVY

MESSAGES, SLOW = 1400, (1000, 1040)
SECONDS = 20.0
# A third of a second until a message is found to be slow, and what a busy machine needs.
PROMPT = 5.0


def test_slow_messages_hold_up_no_others_and_are_repeated_alone(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=1)
    # Those before them make the frames large.
    values = [b"sleep %g" % SECONDS if i in SLOW else b"ok" for i in range(MESSAGES)]
    produced = produce(kafka, name, values)
    options = ("--workers", "3", "-X", "group.instance.id=one")

    supervisor = supervise(kafka, name, *options)
    supervisor.handled(MESSAGES - len(SLOW))
    slow = running(supervisor)
    assert sorted(attempt.key.offset for attempt in slow) == list(SLOW)
    assert max(attempt.frame for attempt in slow) > 1, "it travelled alone"
    last = max(attempt.end for attempt in supervisor.reader.attempts if attempt.end is not None)
    assert last - min(attempt.start for attempt in slow) < PROMPT

    supervisor.until(lambda: finished(kafka, supervise, name) == MESSAGES - 2, "it commits them")
    assert len(running(supervisor)) == len(SLOW)
    supervisor.kill()

    again = supervise(kafka, name, *options, "--until-caught-up")
    assert again.wait() == 0, again
    assert sorted(attempt.key.offset for attempt in read(again.journal)) == list(SLOW)
    checker.nothing_is_lost(produced, [*read(supervisor.journal), *read(again.journal)])
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))


def running(supervisor: Supervisor) -> list[Attempt]:
    """What handlers are on now."""
    return [attempt for attempt in supervisor.reader.follow().attempts if attempt.end is None]


def finished(kafka: Cluster, supervise: Supervise, topic: str) -> int:
    """How many messages of partition 0 are done, by what is committed."""
    told = kafka.committed(supervise.group, topic).get(0)
    if told is None:
        return 0
    found = decode(told.metadata, told.offset)
    above = () if found is None else found.done
    return told.offset + sum(stop - start for start, stop in above)
