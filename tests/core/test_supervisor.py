"""What the supervisor promises, one fact each: given a state, when this happens, then that."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.types import Output
from tests.core.supervised import OTHER, TP, notes, running, the, those

# -- partitions


def test_a_position_does_not_commit_past_what_a_draining_epoch_has_passed_over() -> None:
    supervisor = running()
    supervisor.fetch(0)

    supervisor.revoke()
    supervisor.fetch(1, 2)
    supervisor.on(e.Positions({TP: 3}))
    commands = supervisor.accept(supervisor.seen_task())

    assert the(commands, c.Release).marks[TP].offset == 1


# -- commits


def test_a_map_that_does_not_fit_is_reported_once() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0, 1)
    _, second = supervisor.tasks()
    supervisor.accept(second, worker=2)
    commit = the(supervisor.tick(1.0), c.Commit)

    again = supervisor.committed(commit, "OFFSET_METADATA_TOO_LARGE", too_large=True)
    later = supervisor.tick(9.0)

    assert notes(again) == [c.Note.COMMIT_FAILED, c.Note.MAP_FULL]
    assert notes(later) == []
    assert those([*again, *later], c.Commit) == []  # 0 with an empty map is what there was


def test_a_map_that_does_not_fit_is_reported_when_its_partition_is_given_back() -> None:
    supervisor = running()
    supervisor.fetch(*range(2_000))
    for _ in range(2_000):  # their attempts are in the map
        supervisor.fail(supervisor.seen_task())

    commands = supervisor.revoke()

    assert notes(commands) == [c.Note.MAP_FULL]
    the(commands, c.Release)


# -- the end


def test_a_stop_commits_what_an_outstanding_commit_held_up() -> None:
    supervisor = running(commit_interval=60.0)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())
    first = the(supervisor.tick(60.0), c.Commit)
    supervisor.fetch(1)
    task = supervisor.seen_task()

    supervisor.stop()
    assert those(supervisor.accept(task), c.Commit) == []
    commands = supervisor.committed(first)

    assert the(commands, c.Commit).marks[TP].offset == 2


def test_a_stop_tries_a_failed_commit_again_before_the_next_interval() -> None:
    supervisor = running(commit_interval=60.0)
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task())

    commit = the(supervisor.stop(), c.Commit)
    assert those(supervisor.committed(commit, "COORDINATOR_LOADING"), c.Commit) == []
    assert the(supervisor.tick(1.0), c.Commit) == commit


def test_a_stop_that_gives_up_waiting_gives_back_what_was_revoked() -> None:
    supervisor = running()
    supervisor.fetch(0)
    supervisor.push(supervisor.seen_task(), Output("out", b"x"))
    supervisor.revoke(seconds=100.0)

    commands = supervisor.stop(grace=0.0)

    assert notes(commands) == [c.Note.DRAIN_EXPIRED]
    the(commands, c.Release)


def test_what_is_revoked_at_the_end_of_a_stop_is_given_back_at_once() -> None:
    supervisor = running()
    supervisor.assign(OTHER)
    supervisor.fetch(0)
    supervisor.push(supervisor.seen_task(), Output("out", b"x"))
    supervisor.stop(grace=0.0)

    the(supervisor.revoke(seconds=100.0), c.Release)
