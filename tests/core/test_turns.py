"""What is not suspected and what is take turns, so that neither holds back the other."""

from __future__ import annotations

from itertools import chain, groupby

import pytest

from kqworker.core import commands as c
from kqworker.core import suspects, wards
from kqworker.types import Ordering
from tests.core.supervised import OTHER, TP, policy, those
from tests.core.suspecting import Suspecting, said


def after_an_unclean_end(*policies: object, workers: int = 2, **what: object) -> Suspecting:
    """The former owner had handed out the offsets 0 to 2 of one partition, and none of another."""
    supervisor = Suspecting(*policies, workers=workers)
    supervisor.assign(TP, metadata=said(**{"handed": 3, **what}))
    supervisor.confirm_all()
    supervisor.assign(OTHER, metadata=said(handed=0, clean=True))
    supervisor.confirm_all()
    return supervisor


def settle(supervisor: Suspecting) -> None:
    supervisor.tick(supervisor.now + wards.SETTLE_SECONDS)
    supervisor.confirm_all()


def test_what_is_not_suspected_is_through_before_a_suspect_begins() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2, 3)
    supervisor.fetch(7, partition=OTHER)
    assert supervisor.sent() == [[3], [7]]
    supervisor.accept(supervisor.tasks()[0], seconds=0.01)
    supervisor.accept(supervisor.tasks()[1], worker=2, seconds=0.01)
    supervisor.confirm_all()
    assert supervisor.sent() == [[3], [7]]
    settle(supervisor)
    assert supervisor.sent() == [[3], [7], [2]]


def test_what_comes_a_little_later_comes_before_suspects_too() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2)
    supervisor.tick(wards.SETTLE_SECONDS / 2)
    supervisor.fetch(7, partition=OTHER)
    assert supervisor.sent() == [[7]]
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    settle(supervisor)
    assert supervisor.sent() == [[7], [2]]


def test_partitions_that_are_assigned_one_by_one_are_waited_for_no_longer_than_a_turn() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2)
    step = wards.SETTLE_SECONDS / 2
    for number in range(int(wards.TURN_SECONDS / step)):
        assert supervisor.sent() == []
        supervisor.tick(number * step)
        supervisor.assign(TP._replace(partition=10 + number), metadata=said(handed=1))
        supervisor.confirm_all()
    supervisor.tick(wards.TURN_SECONDS)
    supervisor.confirm_all()
    assert supervisor.sent() == [[2]]


def test_suspects_and_all_else_take_turns_where_there_is_much_of_both() -> None:
    supervisor = after_an_unclean_end(workers=1, handed=15)
    supervisor.fetch(*range(15))
    supervisor.fetch(*range(20, 60), partition=OTHER)
    for _ in range(39):
        began = supervisor.now
        task = supervisor.seen_task()
        supervisor.tick(began + 1.0)
        supervisor.accept(task, seconds=1.0)
        supervisor.confirm_all()

    turns = groupby(offsets[0] < 15 for offsets in supervisor.sent())
    assert [(theirs, len(list(turn))) for theirs, turn in turns] == [
        (False, 10),
        (True, 10),
        (False, 10),
        (True, 5),
        (False, 5),
    ]


def test_one_that_takes_longer_than_a_turn_gives_the_next_one_up() -> None:
    supervisor = after_an_unclean_end(workers=1)
    supervisor.fetch(0, 1, 2)
    supervisor.fetch(7, 8, partition=OTHER)
    supervisor.tick(wards.TURN_SECONDS)
    supervisor.accept(supervisor.seen_task(), seconds=10.0)
    supervisor.confirm_all()
    assert supervisor.sent() == [[7], [2]]
    supervisor.tick(supervisor.now + wards.TURN_SECONDS)
    supervisor.accept(supervisor.seen_task(), seconds=10.0)
    supervisor.confirm_all()
    assert supervisor.sent() == [[7], [2], [8]]


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.PARTITION])
def test_what_is_behind_a_suspect_in_its_lane_waits_for_it(ordering: Ordering) -> None:
    supervisor = after_an_unclean_end(policy(ordering=ordering))
    supervisor.fetch(0, 1, 2, keys=[b"a", b"b", None])
    supervisor.fetch(3, 4, keys=[b"a", b"c"])
    supervisor.fetch(5, 6, keys=[None, b"b"])
    first = [4, 5] if ordering is Ordering.KEY else []
    assert list(chain(*supervisor.sent())) == first
    for number, task in enumerate(supervisor.tasks(), 1):
        supervisor.accept(task, worker=number, seconds=0.01)
    settle(supervisor)
    for _ in range(3):
        supervisor.accept(supervisor.seen_task(), seconds=0.01)
        supervisor.confirm_all()
    # Suspects have the order of their lane, too: of different ones the last comes first.
    then = [2, 1, 0, 3, 6] if ordering is Ordering.KEY else [0, 1, 2, 3]
    assert list(chain(*supervisor.sent())) == first + then


def test_a_suspect_waits_for_what_began_in_the_turn_before_its_own() -> None:
    """However long that takes, up to a bound that work of any kind should keep to."""
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2, 3)
    supervisor.tick(wards.TURN_SECONDS)
    supervisor.confirm_all()
    supervisor.tick(wards.TURN_SECONDS + suspects.BEFORE_SECONDS + 1.0)
    supervisor.confirm_all()
    assert (supervisor.sent(), supervisor.names()) == ([[3]], ())
    supervisor.tick(supervisor.now + suspects.ALONE_SECONDS)
    supervisor.confirm_all()
    assert supervisor.sent() == [[3], [0]]


@pytest.mark.parametrize("ordering", list(Ordering))
def test_what_may_have_begun_beside_the_suspects_does_not_go_before_them(
    ordering: Ordering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "PER_PARTITION", 2)
    supervisor = after_an_unclean_end(policy(ordering=ordering), handed=5)
    supervisor.fetch(0, 1, 2, 3, 4, 5, keys=[b"a", b"b", b"c", b"d", b"e", b"c"])
    assert list(chain(*supervisor.sent())) == ([5] if ordering is Ordering.UNORDERED else [])
    for task in supervisor.tasks():
        supervisor.accept(task, seconds=0.01)
    settle(supervisor)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.confirm_all()
    begun = list(chain(*supervisor.sent()))
    assert begun[-2:] == ([0, 1] if ordering is Ordering.PARTITION else [1, 0])
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.confirm_all()
    assert set(chain(*supervisor.sent())) - set(begun) >= {2}


def test_the_first_turn_begins_with_the_first_worker() -> None:
    supervisor = Suspecting(workers=1)
    supervisor.die(1)
    supervisor.assign(TP, metadata=said(handed=3))
    supervisor.confirm()
    supervisor.fetch(0, 1, 2, 3)
    supervisor.tick(2 * wards.TURN_SECONDS)
    supervisor.boot(2)
    supervisor.confirm_all()
    assert (supervisor.sent(), supervisor.names()) == ([[3]], ())


def test_a_message_of_an_ordered_partition_has_the_turn_of_any_other() -> None:
    """Nothing else of it is ready meanwhile; yet there is more to come."""
    supervisor = after_an_unclean_end(policy(ordering=Ordering.PARTITION))
    supervisor.fetch(0, 1, 2)
    supervisor.fetch(7, partition=OTHER)
    supervisor.tick(wards.SETTLE_SECONDS + 1.0)
    assert supervisor.sent() == [[7]]
    supervisor.fetch(8, partition=OTHER)
    supervisor.accept(supervisor.seen_task(), seconds=3.0)
    supervisor.confirm_all()
    assert supervisor.sent() == [[7], [8]]


def test_whoever_waits_for_what_runs_for_ever_is_acquitted_with_all_that_wait_for_it() -> None:
    supervisor = Suspecting()
    supervisor.assign(TP, metadata=said(handed=1))
    supervisor.assign(OTHER, metadata=said(handed=1))
    supervisor.confirm_all()
    supervisor.fetch(0, 9)
    supervisor.fetch(0, partition=OTHER)
    assert supervisor.sent() == [[9]]
    supervisor.tick(wards.TURN_SECONDS)
    supervisor.confirm_all()
    supervisor.tick(suspects.ALONE_SECONDS + wards.TURN_SECONDS / 2)
    # One in which there is nothing has nobody to acquit.
    supervisor.assign(TP._replace(partition=9), metadata=said(handed=1))
    supervisor.confirm_all()
    supervisor.tick(wards.TURN_SECONDS + suspects.ALONE_SECONDS)
    supervisor.confirm_all()
    assert supervisor.sent() == [[9], [0]]
    supervisor.accept(supervisor.seen_task(), worker=2, seconds=0.01)
    assert supervisor.sent() == [[9], [0], [0]]


def test_whoever_is_chosen_is_not_named_before_a_worker_can_have_it() -> None:
    supervisor = Suspecting(workers=1)
    supervisor.assign(TP, metadata=said(handed=1))
    supervisor.confirm_all()
    supervisor.fetch(0, 9)
    supervisor.tick(wards.TURN_SECONDS)
    supervisor.confirm_all()
    supervisor.die(1, supervisor.seen_task())
    supervisor.confirm_all()
    assert (supervisor.sent(), supervisor.names()) == ([[9]], ())
    supervisor.boot(2)
    assert (supervisor.sent(), supervisor.names()) == ([[9]], (0,))


def test_a_run_without_suspects_has_no_turns() -> None:
    supervisor = Suspecting()
    supervisor.assign(TP, metadata=said(clean=True))
    supervisor.confirm_all()
    supervisor.fetch(0, 1, 2, 3)
    assert supervisor.sent() == [[0], [1]]
    assert those(supervisor.seen, c.Commit)
