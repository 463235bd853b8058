"""When a run counts as ready."""

from __future__ import annotations

from kqworker.core.snapshot import Snapshot
from kqworker.readiness import Readiness

UP = Snapshot(workers_ready=1)
GIVEN = Snapshot(workers_ready=1, partitions=2)


def test_it_is_ready_once_when_workers_are_up_and_partitions_are_given() -> None:
    readiness = Readiness(10.0, 30.0, expects=True)

    assert readiness.look(Snapshot(partitions=2), 11.0) is None
    assert readiness.look(UP, 12.0) is None
    assert readiness.look(GIVEN, 13.0) == 3.0
    assert readiness.look(GIVEN, 14.0) is None
    assert readiness.lasted(20.0) == 7.0


def test_a_member_that_is_given_nothing_is_ready_after_its_patience() -> None:
    readiness = Readiness(10.0, 30.0, expects=True)

    assert readiness.look(UP, 40.0) is None
    assert readiness.look(UP, 40.5) == 30.5


def test_where_there_are_no_partitions_yet_workers_are_enough() -> None:
    assert Readiness(10.0, 30.0, expects=False).look(UP, 10.5) == 0.5


def test_a_run_that_was_never_ready_lasted_from_its_beginning() -> None:
    assert Readiness(10.0, 30.0, expects=True).lasted(15.0) == 5.0
