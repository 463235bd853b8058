"""The switch-over from go-queue to kqworker under load, and the way back.

kafka-go and librdkafka cannot read each other's group metadata, so the two never share the
work: the first kqworker member takes every partition, and the original's members idle until
it leaves. Who owned what is recorded over time, by the broker's own account, and printed.

The original runs with one fetcher and one handler: with more it commits past what is still
being handled (test_kills.py), and what it lost so would say nothing of the switch-over.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core.completion import decode
from tests.interop.groups import Record, State
from tests.interop.programs import Program, Programs
from tests.kafka import records
from tests.kafka.checker import some
from tests.kafka.cluster import Cluster
from tests.kafka.feed import Feed
from tests.kafka.supervisors import HEAVY

pytestmark = HEAVY

COUNT = 50_000
PARTITIONS = 6
ALL = set(range(PARTITIONS))
# The last ones come only when the other side is alone.
HELD = 5_000
# How many each side handles under load before the next thing happens.
SHARE = 5_000
ONE_BY_ONE = {"Consumers": 1, "Processors": 1, "Shutdown": {"WrapUpTime": "100ms"}}
# What the guide tells to set for the switch-over.
RANGE = {"Kqworker": {"assignor": "range"}}


def feed(cluster: Cluster, topic: str, programs: Sequence[Program]) -> Feed:
    """Produce under load: as fast as they handle, and never far ahead of them."""
    return Feed(
        cluster,
        topic,
        [f"{number} ok".encode() for number in range(COUNT)],
        partitions=PARTITIONS,
        handled=lambda: sum(program.count("handled") for program in programs),
        ahead=5_000,
        held=HELD,
        rate=4_000,
    )


def nothing_is_lost(programs: Sequence[Program]) -> int:
    """Every number was handled by somebody; returns how many were handled by both sides."""
    one, other = (set(program.numbers()) for program in programs)
    lost = sorted(set(range(COUNT)) - one - other)
    told = ", ".join(f"{program.name} {program.count('handled')}" for program in programs)
    print(f"of {COUNT} messages lost {some(lost)}; by both {len(one & other)}; handled by {told}")
    assert not lost, some(lost)
    return len(one & other)


def finished_above(cluster: Cluster, group: str, first: dict[int, int]) -> int:
    """How many messages kqworker's last commits name as done above their offsets.

    Its last one may name none: then what an earlier one named counts no more.

    Args:
        first: Where the other side began, by partition; all that it commits is above that.
    """
    history = records.commits(cluster, group)
    last = {c.partition: c for c in history if c.offset <= first[c.partition]}
    assert {partition: commit.offset for partition, commit in last.items()} == first
    maps = [decode(commit.metadata, commit.offset) for commit in last.values()]
    return sum(end - begin for found in maps if found for begin, end in found.done)


def lowest(load: Feed, numbers: Sequence[int]) -> dict[int, int]:
    """The lowest offset of some messages, by partition."""
    found: dict[int, int] = {}
    for key in (load.placed[number] for number in numbers):
        found[key.partition] = min(key.offset, found.get(key.partition, key.offset))
    return found


def shared(states: Sequence[State]) -> list[State]:
    """The moments at which both sides owned something; there are none."""
    return [s for s in states if s.stable and s.owned_by("go") and s.owned_by("py")]


def test_kqworker_takes_over_from_go_queue_under_load_and_nothing_is_lost(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(PARTITIONS)
    running = [programs.go(kafka, topic, Conns=2, **ONE_BY_ONE)]
    (go,) = running

    with Record(kafka, programs.group) as record, feed(kafka, topic, running) as load:
        go.handled(SHARE)
        go.until(lambda: record.now.stable and record.now.owned_by("go") == ALL, "Go owns all")
        py = programs.queue(kafka, topic, **RANGE)
        running.append(py)
        py.until(
            lambda: (
                record.now.stable and record.now.owned_by("py") == ALL and record.now.count("go")
            ),
            "kqworker owns all, and Go members idle",
        )
        idle = go.count("handled")
        py.handled(SHARE)
        assert go.stop() == 0, go
        load.finish()
        py.until(lambda: COUNT - 1 in py.numbers(), "the last one handled")
        py.until(
            lambda: sum(c.offset for c in kafka.committed(programs.group, topic).values()) == COUNT,
            "all committed",
        )
        assert py.stop() == 0, py

    print(record)
    nothing_is_lost(running)
    assert not shared(record.states), record
    # What was in its hands at the take-over, and no more.
    assert go.count("handled") - idle < 5_000


def test_go_queue_takes_over_from_kqworker_under_load_and_nothing_is_lost(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(PARTITIONS)
    running = [programs.queue(kafka, topic, **RANGE)]
    (py,) = running

    with Record(kafka, programs.group) as record, feed(kafka, topic, running) as load:
        py.handled(SHARE)
        go = programs.go(kafka, topic, Conns=2, **ONE_BY_ONE)
        running.append(go)
        py.until(
            lambda: record.now.stable and record.now.count("go") == 2, "Go members are in the group"
        )
        py.handled(py.count("handled") + SHARE)
        assert record.now.owned_by("py") == ALL, record
        assert not go.count("begun"), "a Go member was given a partition beside kqworker"
        assert py.stop() == 0, py
        go.until(lambda: record.now.stable and record.now.owned_by("go") == ALL, "Go owns all")
        load.finish()
        go.until(lambda: COUNT - 1 in go.numbers(), "the last one handled")
        go.until(
            lambda: sum(c.offset for c in kafka.committed(programs.group, topic).values()) == COUNT,
            "all committed",
        )
        assert go.stop() == 0, go

    print(record)
    repeated = nothing_is_lost(running)
    assert not shared(record.states), record
    # All that kqworker had handled was committed before it left, but Go does not read which
    # messages above the offset are among it, and handles those again: they and no others.
    # (What it handles twice itself, where a rebalance takes its commits from it, is its own.)
    assert len(py.numbers()) == len(set(py.numbers()))
    first = lowest(load, go.numbers())
    assert repeated == finished_above(kafka, programs.group, first)


def test_with_another_assignor_kqworker_does_not_get_into_go_queues_group(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(PARTITIONS)
    with Record(kafka, programs.group) as record:
        go = programs.go(kafka, topic, **ONE_BY_ONE)
        go.until(lambda: record.now.stable and record.now.owned_by("go") == ALL, "Go owns all")
        ours = programs.queue(kafka, topic)
        ours.until(lambda: "do not assign partitions by" in ours.out, "the broker's answer")
        assert record.now.owned_by("go") == ALL, record
        # It goes on asking, and can be stopped.
        assert ours.process.poll() is None
        ours.close()


def test_further_kqworker_members_share_at_once_while_go_members_idle(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(PARTITIONS)
    with Record(kafka, programs.group) as record:
        go = programs.go(kafka, topic, Conns=2, **ONE_BY_ONE)
        go.until(lambda: record.now.stable and record.now.owned_by("go") == ALL, "Go owns all")
        first = programs.queue(kafka, topic, **RANGE)
        first.until(lambda: record.now.stable and record.now.owned_by("py") == ALL, "the first")
        second = programs.queue(kafka, topic, **RANGE)
        second.until(
            lambda: (
                record.now.stable
                and record.now.owned_by("py") == ALL
                and [len(m.partitions) for m in record.now.members if m.program == "py"] == [3, 3]
            ),
            "both share",
        )
        go.until(lambda: record.now.stable and record.now.count("go") == 2, "Go is back, and idle")
        assert record.now.owned_by("go") == set(), record
    print(record)


def test_when_go_is_gone_another_assignor_takes_one_stop_of_all(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(PARTITIONS)
    batch = 60
    for number, own in enumerate((RANGE, {}, {"Kqworker": {"assignor": "consumer"}})):
        numbers = range(number * batch, (number + 1) * batch)
        records.produce(kafka, topic, [b"%d ok" % n for n in numbers], partitions=PARTITIONS)
        ours = programs.queue(kafka, topic, **own).handled(batch)
        assert ours.stop() == 0, ours
        assert sorted(ours.numbers()) == list(numbers)
