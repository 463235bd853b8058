"""Attempts that a former owner has counted, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from kqworker.core import commands as c
from kqworker.core.completion import Completion, decode, encode
from kqworker.core.epochs import Epoch
from tests.core.supervised import TP, Supervised, policy, the


def taken_over(attempts: Mapping[int, int]) -> Supervised:
    """A supervisor whose partition comes with attempts, from offset 0."""
    metadata = encode(0, Completion(attempts=attempts), 4095)
    assert metadata is not None
    supervisor = Supervised(policy())
    supervisor.boot(1)
    supervisor.assign(start=0, metadata=metadata)
    return supervisor


def the_epoch(supervisor: Supervised) -> Epoch:
    (epoch,) = supervisor.core._epochs
    return epoch


def handle_all(supervisor: Supervised) -> list[int]:
    """Accept whatever is sent; return the attempts, one a message."""
    attempts = []
    while supervisor.core.snapshot().in_flight:
        task = supervisor.seen_task()
        attempts += [s.attempt for s in task.segments for _ in s.records.offsets]
        supervisor.accept(task, seconds=0.0001)
    return attempts


def test_attempts_go_on_where_the_former_owner_stopped() -> None:
    supervisor = taken_over({1: 2})
    supervisor.fetch(0, 1, 2)
    assert sorted(handle_all(supervisor)) == [1, 1, 3]


def test_attempts_at_what_was_removed_since_are_forgotten() -> None:
    supervisor = taken_over({1: 2, 7: 1})
    supervisor.fetch(0, 3, 9)
    handle_all(supervisor)
    supervisor.tick(1.0)
    assert the_epoch(supervisor).attempts == {}


def test_attempts_at_what_comes_later_are_committed_again() -> None:
    supervisor = taken_over({7: 2})
    supervisor.fetch(0, 1)
    handle_all(supervisor)

    mark = the(supervisor.tick(1.0), c.Commit).marks[TP]

    assert decode(mark.metadata, mark.offset) == Completion(attempts={7: 2})


def test_what_was_tried_is_forgotten_once_it_is_handled() -> None:
    supervisor = taken_over({})
    supervisor.fetch(0)
    supervisor.fail(supervisor.seen_task())
    assert the_epoch(supervisor).attempts == {0: 1}
    supervisor.tick(1.5)
    handle_all(supervisor)
    assert the_epoch(supervisor).attempts == {}
