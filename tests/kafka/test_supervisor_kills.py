"""The supervisor is killed under load: nothing is lost, nobody is left, little is repeated."""

from __future__ import annotations

import time

import pytest

from kqworker.core.completion import decode
from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Attempt, read
from tests.kafka.records import commits, produce
from tests.kafka.supervisors import HEAVY, LONG, Supervise

pytestmark = HEAVY

MESSAGES, KILLS = (400_000, 200) if LONG else (10_000, 5)
COMMIT_INTERVAL = 1.0  # the default
# From a worker's end of a message to its commit at the broker: the rest of its frame
# (10 ms), the loop's turn, the commit's way.
ON_ITS_WAY = 0.5
# So many are handled between the commit that a kill waits for and the kill.
FURTHER = 300


@pytest.mark.alone
@pytest.mark.parametrize(
    ("options", "wait"),
    [
        # Kafka keeps the dead member's partitions until its session has timed out.
        pytest.param((), 10.0, id="dynamic member"),
        pytest.param(("-X", "group.instance.id=one"), 0.0, id="static member"),
    ],
)
def test_five_killed_supervisors_lose_nothing_and_repeat_what_was_not_committed(
    kafka: Cluster,
    topic: NewTopic,
    supervise: Supervise,
    options: tuple[str, ...],
    wait: float,
) -> None:
    name = topic(partitions=4)
    produced = produce(kafka, name, [b"sleep 0.002"] * MESSAGES, partitions=4)

    # 12 s, or 2 s for a static member (1.0 to 1.6 on two cores with a load of 8); longer only
    # where a start that has nobody to wait for takes more than 1.3 s (there: 1.0).
    within = wait + max(2.0, 1.5 * fresh_start(kafka, supervise, name))

    lives: list[list[Attempt]] = []
    killed_at: list[float] = []
    for number in range(KILLS + 1):
        last = number == KILLS
        supervisor = supervise(kafka, name, *options, *(["--until-caught-up"] if last else []))
        supervisor.begun(1)
        if number:
            first = supervisor.reader.attempts[0]
            assert first.start - supervisor.began <= within, f"life {number}\n{supervisor}"
        if last:
            assert supervisor.wait() == 0, supervisor
        else:
            before = committed(kafka, supervise, name)
            supervisor.until(
                lambda before=before: committed(kafka, supervise, name) > before, "it commits"
            )
            supervisor.handled(supervisor.reader.follow().ended + FURTHER)
            supervisor.kill()
            killed_at.append(time.monotonic())
            supervisor.leaves_nobody(within=1.0)
        lives.append(read(supervisor.journal))

    everything = [attempt for life in lives for attempt in life]
    checker.nothing_is_lost(produced, everything)
    for life in lives:
        checker.one_at_a_time(life)
    for number, at in enumerate(killed_at):
        later = {attempt.key for life in lives[number + 1 :] for attempt in life}
        for attempt in lives[number]:
            # What is handled again was running, or had finished too late for a commit.
            if attempt.key in later and attempt.end is not None:
                age = at - attempt.end
                assert age <= COMMIT_INTERVAL + ON_ITS_WAY, f"life {number}: {age:.2f} s {attempt}"
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))
    history = commits(kafka, supervise.group)
    checker.commits_ascend(history)
    checker.commits_cover(history, produced, checker.done(everything))


def committed(kafka: Cluster, supervise: Supervise, topic: str) -> int:
    """How much the group has done, over all partitions, and what is above a watermark, too.

    That waits for the suspects of the life before.
    """
    count = 0
    for told in kafka.committed(supervise.group, topic).values():
        found = decode(told.metadata, told.offset)
        assert found is not None
        count += told.offset + sum(stop - start for start, stop in found.done)
    return count


def fresh_start(kafka: Cluster, supervise: Supervise, topic: str) -> float:
    """The seconds until the first message, of a group that has nobody to wait for."""
    kafka.committed("another", topic)  # so that its coordinator is there
    supervisor = supervise(kafka, topic, group="another").begun(1)
    supervisor.kill()
    return supervisor.reader.attempts[0].start - supervisor.began
