"""When a run that is to catch up has done so: never while something may be left."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from tests.core.supervised import OTHER, TP, Supervised, running, those


def stops(commands: list[c.Command]) -> bool:
    """Whether the drain begins with these commands."""
    return c.Fetching(False) in commands


def done(*offsets: int) -> Supervised:
    """A supervisor that has handled these offsets of partition 0."""
    supervisor = running()
    supervisor.fetch(*offsets)
    while supervisor.core.snapshot().in_flight:
        supervisor.accept(supervisor.seen_task(), seconds=0.0001)
    return supervisor


def test_it_ends_when_all_targets_are_finished() -> None:
    supervisor = running()
    supervisor.fetch(0)
    assert not stops(supervisor.on(e.CatchUp({TP: 1})))

    assert stops(supervisor.accept(supervisor.seen_task()))


def test_without_targets_it_ends_at_once() -> None:
    supervisor = Supervised()
    assert stops(supervisor.on(e.CatchUp({})))


def test_what_is_behind_the_targets_does_not_keep_it() -> None:
    supervisor = done(0)
    supervisor.fetch(1)
    assert stops(supervisor.on(e.CatchUp({TP: 1})))


def test_a_partition_between_two_members_is_not_finished() -> None:
    supervisor = done(0)
    supervisor.assign(OTHER, member=0)
    supervisor.on(e.CatchUp({TP: 1, OTHER: 1}))

    moved = supervisor.revoke(OTHER)
    assert not stops([*moved, *supervisor.tick(100.0)])
    assert not stops(supervisor.assign(OTHER, member=1))
    supervisor.fetch(0, partition=OTHER)
    assert stops(supervisor.accept(supervisor.seen_task()))


def test_nothing_is_finished_by_being_lost() -> None:
    supervisor = done(0)
    supervisor.on(e.CatchUp({TP: 2}))

    lost = supervisor.on(e.Lost(0, (TP,)))
    assert not stops([*lost, *supervisor.tick(100.0)])
    assert supervisor.core.snapshot().remaining is None


def test_a_group_that_takes_long_to_give_partitions_has_not_caught_up() -> None:
    supervisor = Supervised()
    supervisor.boot(1)
    supervisor.on(e.CatchUp({TP: 1}))
    assert not stops(supervisor.tick(100.0))


def test_what_others_have_finished_is_left_out_by_newer_targets() -> None:
    supervisor = done(0)
    assert not stops(supervisor.on(e.CatchUp({TP: 1, OTHER: 5})))
    assert supervisor.core.snapshot().elsewhere == 1

    assert stops(supervisor.on(e.CatchUp({TP: 1})))


def test_targets_after_the_end_has_begun_change_nothing() -> None:
    supervisor = done(0)
    supervisor.stop()
    assert those(supervisor.on(e.CatchUp({OTHER: 5})), c.Fetching) == []
