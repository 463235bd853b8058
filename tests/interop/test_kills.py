"""The whole process is killed while a slow message is open: what is lost, there and here.

Both get the same messages, the same handler times, the same number of kills, and each kill
at the same moment: many of a round's fast messages are handled, a commit was made after that,
and the slow one that came before them is still being handled. The original's commit is past
it; ours is not, and has the others in its metadata.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.interop.programs import Program, Programs
from tests.kafka import records
from tests.kafka.cluster import Cluster
from tests.kafka.supervisors import HEAVY

pytestmark = HEAVY

KILLS = 4
ROUND = 500
MANY = 200
COUNT = KILLS * ROUND
# Longer than a round takes up to its kill, by far.
SLOW_SECONDS = 6
# A broker's clock is read to the millisecond.
CLOCK_SLACK = 0.005


def value(number: int) -> bytes:
    """The first message of each round is slow, the others take no time."""
    return f"{number} {f'sleep {SLOW_SECONDS}' if number % ROUND == 0 else 'ok'}".encode()


def lost_in_kills(
    cluster: Cluster, programs: Programs, start: Callable[[str, str], Program]
) -> list[int]:
    """Run the rounds and one life more; return the numbers that nobody has ever handled."""
    topic = cluster.new_topic()
    group = f"kills-of-{topic}"
    lives: list[Program] = []
    for kill in range(KILLS):
        lives.append(start(topic, group))
        run_until_the_kill(cluster, topic, group, lives[-1], kill * ROUND)
        programs.evict(cluster, group)
    last = start(topic, group)
    lives.append(last)
    # One more message shows that it has joined, and has fetched all before it.
    records.produce(cluster, topic, [value(COUNT + 1)])
    last.until(lambda: COUNT + 1 in last.numbers(), "the last one handled")
    (end,) = cluster.end_offsets(topic).values()
    last.until(lambda: cluster.committed(group, topic)[0].offset == end, "all committed")
    last.until(lambda: last.count("begun") == last.count("handled"), "all begun are handled")
    assert last.stop() == 0, last
    handled = {number for life in lives for number in life.numbers()}
    return sorted(set(range(COUNT)) - handled)


def run_until_the_kill(cluster: Cluster, topic: str, group: str, life: Program, slow: int) -> None:
    """One round: a slow message, fast ones behind it, a commit, SIGKILL."""
    fast = range(slow + 1, slow + ROUND)

    def handled() -> list[float]:
        return sorted(event.at for event in life.events("handled") if event.number in fast)

    records.produce(cluster, topic, [value(slow)])
    life.until(lambda: slow in life.numbers("begun"), "the slow one has begun")
    records.produce(cluster, topic, map(value, fast))
    life.until(lambda: len(handled()) >= MANY, f"{MANY} fast ones handled")
    enough = handled()[MANY - 1]
    life.until(
        lambda: any(c.at + CLOCK_SLACK >= enough for c in records.commits(cluster, group)),
        "a commit after that",
    )
    life.kill()
    assert slow not in life.numbers(), "this machine is too slow: it has been handled"


def test_the_original_loses_in_kills_what_kqworker_keeps(
    kafka: Cluster, programs: Programs
) -> None:
    def original(topic: str, group: str) -> Program:
        return programs.go(kafka, topic, group=group, Shutdown={"WrapUpTime": "100ms"})

    def ours(topic: str, group: str) -> Program:
        # After a kill ours would handle what was open one message at a time, so that the next
        # round's slow one could not be killed beside fast ones.
        own = {"isolate_suspects": False}
        return programs.queue(kafka, topic, group=group, Kqworker=own)

    lost_there = lost_in_kills(kafka, programs, original)
    lost_here = lost_in_kills(kafka, programs, ours)

    print(f"{COUNT} messages, {KILLS} kills: go-queue lost {lost_there}, kqworker {lost_here}")
    assert {kill * ROUND for kill in range(KILLS)} <= set(lost_there)
    assert lost_here == []
