"""Partitions that cannot be read on, and messages that Kafka has deleted."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.completion import Completion, encode
from kqworker.core.epochs import METADATA_BUDGET
from kqworker.types import Failure
from tests.core.supervised import OTHER, TP, Supervised, notes, running, those

TEXT = "damaged: CRC"


def stops(commands: list[c.Command]) -> bool:
    """Whether the drain begins with these commands."""
    return c.Fetching(False) in commands


def handle_all(supervisor: Supervised) -> list[c.Command]:
    """Accept whatever is in flight; return what that led to."""
    said: list[c.Command] = []
    while supervisor.core.snapshot().in_flight:
        said += supervisor.accept(supervisor.seen_task(), seconds=0.0001)
    return said


def unreadable(offset: int = 5, member: int = 0) -> e.Unreadable:
    return e.Unreadable(member, TP, offset, TEXT)


def test_a_partition_that_cannot_be_read_is_told_each_time_and_counted_once() -> None:
    supervisor = running()
    expected = c.Report(
        c.ReportKind.UNREADABLE, partition=TP, offset=5, failure=Failure("Unreadable", TEXT)
    )
    for _ in range(2):
        assert those(supervisor.on(unreadable()), c.Report) == [expected]
    assert supervisor.core.snapshot().stalled == 1


def test_whatever_is_read_of_it_ends_the_stall() -> None:
    supervisor = running()
    for event in (e.Positions({TP: 6}, 0), e.Gone({TP: 7}, 0)):
        supervisor.on(unreadable())
        supervisor.on(event)
        assert supervisor.core.snapshot().stalled == 0
    supervisor.on(unreadable())
    supervisor.fetch(8)
    assert supervisor.core.snapshot().stalled == 0


def test_what_another_member_cannot_read_any_more_is_no_stall() -> None:
    supervisor = running()
    assert not supervisor.on(unreadable(member=1))
    supervisor.revoke(TP)
    assert not those(supervisor.on(unreadable()), c.Report)
    assert supervisor.core.snapshot().stalled == 0


def test_a_run_that_catches_up_ends_when_all_that_can_be_read_is_handled() -> None:
    supervisor = running()
    supervisor.assign(OTHER)
    supervisor.on(e.CatchUp({TP: 10, OTHER: 1}))
    supervisor.fetch(0, 1)
    assert not stops(supervisor.on(unreadable(2)))
    assert not stops(handle_all(supervisor))

    supervisor.fetch(0, partition=OTHER)
    assert stops(handle_all(supervisor))
    assert supervisor.core.snapshot().remaining == 8
    assert supervisor.core.unreadable() == {TP: 2}


def test_a_run_that_catches_up_waits_for_what_runs_of_an_unreadable_partition() -> None:
    supervisor = running()
    supervisor.on(e.CatchUp({TP: 10}))
    supervisor.fetch(0, 1)
    assert not stops([*supervisor.on(unreadable(2)), *supervisor.tick(100.0)])

    assert stops(handle_all(supervisor))


def test_a_run_that_catches_up_may_end_at_a_partition_that_cannot_be_read_at_all() -> None:
    supervisor = running()
    supervisor.on(e.CatchUp({TP: 10}))

    assert stops(supervisor.on(unreadable(-1)))


def test_what_was_deleted_is_told_with_its_number_and_passed_over() -> None:
    supervisor = running()
    supervisor.assign(start=10)
    commands = supervisor.on(e.Gone({TP: 50}, 0))

    (report,) = those(commands, c.Report)
    assert (report.kind, report.partition, report.offset) == (c.ReportKind.GONE, TP, 10)
    assert report.failure == Failure("Deleted", "40 below offset 50")
    assert supervisor.core.snapshot().gone == 40
    supervisor.fetch(50)
    handle_all(supervisor)
    assert supervisor.tick(2.0)[0] == c.Commit({TP: c.Mark(51, "")})


def test_what_was_finished_before_is_not_lost_with_what_was_deleted() -> None:
    metadata = encode(0, Completion(((1, 4), (5, 9))), METADATA_BUDGET)
    assert metadata is not None
    supervisor = Supervised()
    supervisor.assign(start=0, metadata=metadata)

    (report,) = those(supervisor.on(e.Gone({TP: 6}, 0)), c.Report)
    assert report.failure is not None and report.failure.text == "2 below offset 6"


def test_a_start_above_nothing_that_is_known_is_no_loss() -> None:
    supervisor = running()
    supervisor.assign(start=None)
    assert not notes(supervisor.on(e.Gone({TP: 50}, 0)))
    assert not notes(supervisor.on(e.Gone({TP: 40}, 0)))
    assert not notes(supervisor.on(e.Gone({TP: 60}, 1)))
    assert supervisor.core.snapshot().gone == 0


def test_what_is_deleted_while_a_partition_is_given_back_is_its_next_owners_to_tell() -> None:
    supervisor = running()
    supervisor.assign(start=10)
    supervisor.fetch(10)
    supervisor.revoke(TP)

    assert not notes(supervisor.on(e.Gone({TP: 50}, 0)))
    assert supervisor.core.snapshot().gone == 0
