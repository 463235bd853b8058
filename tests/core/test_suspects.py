"""What a supervisor that did not end in order was on: who is suspected, runs alone, is charged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core import suspects, wards
from kqworker.core.retry import Retry
from kqworker.types import Ordering, Outcome, Output, Verdict
from tests.core.supervised import BOOM, OTHER, TP, notes, offsets_of, policy, tasks, the, those
from tests.core.suspecting import Suspecting, after_an_unclean_end, said, suspects_first

pytestmark = pytest.mark.usefixtures(suspects_first.__name__)

# -- the first commit


def test_messages_wait_until_the_first_commit_is_confirmed() -> None:
    supervisor = Suspecting()
    supervisor.assign(metadata=said(clean=True))
    assert tasks(supervisor.fetch(0, 1)) == []
    assert not supervisor.told(supervisor.asked.marks[TP]).clean
    assert [offsets_of(task) for task in tasks(supervisor.confirm())] == [[0], [1]]


def test_a_group_without_commits_makes_its_first_before_its_first_message() -> None:
    supervisor = Suspecting()
    supervisor.assign(start=None)
    assert supervisor.fetch(5) == [supervisor.asked]
    assert supervisor.asked.marks[TP].offset == 5
    assert [offsets_of(task) for task in tasks(supervisor.confirm())] == [[5]]


def test_a_first_commit_that_keeps_failing_keeps_no_message_waiting_for_ever() -> None:
    supervisor = Suspecting()
    supervisor.assign(metadata=said(handed=3))
    supervisor.fetch(0, 1, 2, 3)
    for _ in range(suspects.TRIES - 1):
        assert tasks(supervisor.confirm("no coordinator")) == []
        supervisor.tick(supervisor.now + suspects.AGAIN_SECONDS)
    commands = supervisor.confirm("no coordinator")
    assert [offsets_of(task) for task in tasks(commands)] == [[0], [1]]


def test_a_commit_without_room_for_a_name_is_taken_as_it_is() -> None:
    supervisor = Suspecting()
    supervisor.assign(metadata="")
    while (mark := supervisor.asked.marks[TP]).metadata:  # the limit is found by halving
        supervisor.on(e.Committed({TP: mark}, "too large", too_large=True))
        supervisor.tick(supervisor.now + suspects.AGAIN_SECONDS)
        if not supervisor.core.snapshot().partitions:
            break
        if those(supervisor.seen, c.Commit)[-1].marks.get(TP) is mark:
            break
    supervisor.fetch(0)
    supervisor.tick(supervisor.now + 5.0)
    assert supervisor.sent() == [[0]]


# -- who is suspected


def test_suspects_run_alone_each_named_in_a_commit_before_and_the_last_one_first() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2, 3, 4)
    assert (supervisor.sent(), supervisor.names()) == ([], (2,))
    supervisor.confirm()
    assert supervisor.sent() == [[2]]
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert (supervisor.sent(), supervisor.names()) == ([[2]], (1,))
    supervisor.confirm()
    supervisor.accept_alone()
    assert supervisor.sent() == [[2], [1], [0]]
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    # That the last one has got through is confirmed, too, before anything else may end it all.
    assert (supervisor.sent()[3:], supervisor.names()) == ([], ())
    supervisor.confirm()
    assert supervisor.sent()[3:] == [[3], [4]]


@pytest.mark.parametrize(
    "metadata",
    ["", said(clean=True, handed=3), said(owner=0, handed=3), "2unreadable"],
    ids=["none", "in order", "without an owner", "unreadable"],
)
def test_nobody_is_suspected_where_no_owner_ended_out_of_order(metadata: str) -> None:
    supervisor = Suspecting()
    supervisor.assign(metadata=metadata)
    supervisor.confirm()
    supervisor.fetch(0, 1, 2)
    assert supervisor.sent() == [[0], [1]]


def test_what_comes_back_to_its_living_owner_is_not_suspected() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2)
    supervisor.confirm()
    mark = supervisor.asked.marks[TP]
    assert supervisor.told(mark).begun == (2,)
    supervisor.on(e.Lost(0, (TP,)))
    supervisor.on(e.Assigned(0, {TP: e.Start(*mark)}))
    supervisor.confirm()
    supervisor.fetch(0, 1, 2)
    supervisor.accept(supervisor.tasks()[0])  # which nobody waits for any more
    assert c.ReportKind.CHARGED not in notes(supervisor.seen)
    assert [offsets_of(task) for task in supervisor.tasks()[1:]] == [[0], [1]]


def test_where_nothing_is_known_of_how_far_it_had_come_some_are_suspected() -> None:
    supervisor = after_an_unclean_end(handed=0)
    supervisor.fetch(*range(suspects.UNKNOWN + 2))
    assert supervisor.names() == (suspects.UNKNOWN - 1,)


def test_what_is_fetched_late_is_not_suspected() -> None:
    supervisor = after_an_unclean_end()
    supervisor.tick(wards.FETCH_SECONDS)
    assert [offsets_of(task) for task in tasks(supervisor.fetch(0, 1))] == [[0], [1]]


def test_of_a_partition_and_in_all_so_many_are_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "PER_PARTITION", 3)
    monkeypatch.setattr(suspects, "IN_ALL", 4)
    supervisor = Suspecting(workers=1)
    for partition in (TP, OTHER):
        supervisor.assign(partition, metadata=said(handed=5))
        supervisor.confirm()
    supervisor.fetch(0, 1, 2, 3, 4)
    assert supervisor.names() == (1,)
    supervisor.fetch(0, 1, 2, 3, 4, partition=OTHER)
    supervisor.confirm()
    for _ in range(4):
        supervisor.accept_alone()
    # Two of each, and what may have begun beside them comes behind all suspects of its partition.
    assert supervisor.sent() == [[1], [1], [0], [0], [2], [2]]


def test_the_order_of_a_partition_is_kept_among_suspects() -> None:
    supervisor = after_an_unclean_end(policy(ordering=Ordering.PARTITION))
    supervisor.fetch(0, 1, 2)
    assert supervisor.names() == (0,)


def test_the_order_of_a_key_is_kept_among_suspects() -> None:
    supervisor = after_an_unclean_end(policy(ordering=Ordering.KEY))
    supervisor.fetch(0, 1, 2, keys=[None, b"k", b"k"])
    assert supervisor.names() == (1,)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=2), st.integers(1, 4))
def test_suspects_of_all_partitions_come_before_what_stands_lower_in_its_own(
    starts: list[int], count: int
) -> None:
    """Wherever the offsets of a partition begin: its oldest are among the last of all."""
    supervisor = Suspecting()
    partitions = dict(zip((TP, OTHER), starts, strict=True))
    ends = {
        partition: e.Start(start, said(start, handed=start + count))
        for partition, start in partitions.items()
    }
    supervisor.members.update(dict.fromkeys(ends, 0))
    supervisor.on(e.Assigned(0, ends))
    # Nothing is chosen before the answer to the first commit: then all are there.
    for partition, start in partitions.items():
        supervisor.fetch(*range(start, start + count), partition=partition)
    supervisor.confirm()
    for _ in range(2 * count):
        supervisor.confirm()
        supervisor.accept(supervisor.seen_task(), seconds=0.01)
        supervisor.confirm()

    ran = [segment.records for task in supervisor.tasks() for segment in task.segments]
    places = [records.offsets[0] - partitions[records.partition] for records in ran]
    assert places == sorted(places, reverse=True)


# -- who is charged


def test_who_ran_alone_when_its_supervisor_ended_is_charged_and_comes_last() -> None:
    supervisor = after_an_unclean_end(begun=(1,))
    report = those(supervisor.seen, c.Report)[-1]
    assert (report.kind, report.offset, report.attempt) == (c.ReportKind.CHARGED, 1, 1)
    assert supervisor.told(supervisor.asked.marks[TP]).attempts == {1: 1}
    supervisor.fetch(0, 1, 2)
    supervisor.confirm()
    supervisor.accept_alone()
    supervisor.accept_alone()
    assert supervisor.sent() == [[2], [0], [1]]
    assert [segment.attempt for segment in supervisor.seen_task().segments] == [2]


def test_among_those_that_had_as_many_attempts_who_is_charged_comes_last() -> None:
    supervisor = after_an_unclean_end(begun=(2,), attempts={0: 1})
    supervisor.fetch(0, 2)
    supervisor.confirm()  # of a commit that names nobody yet
    supervisor.confirm()
    supervisor.accept_alone()
    assert supervisor.sent() == [[0], [2]]


def test_who_has_no_attempt_left_is_a_dead_letter_and_never_runs() -> None:
    kept = policy(dead_letter="letters", retry=Retry(attempts=1))
    supervisor = after_an_unclean_end(kept, begun=(1,))
    letter = the(supervisor.fetch(1), c.Produce).output
    assert b"its supervisor ended" in dict(letter.headers)["kqworker-error-text"]  # type: ignore[operator]
    assert supervisor.sent() == []


# -- what becomes of one


def test_a_suspect_that_fails_is_tried_again_as_any_other() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(2, 3)
    supervisor.confirm()
    supervisor.fail(supervisor.seen_task())
    supervisor.confirm()
    assert supervisor.sent() == [[2], [3]]
    supervisor.tick(supervisor.now + 1.0)
    assert supervisor.sent() == [[2], [3], [2]]


def test_what_must_wait_for_a_suspect_that_fails_is_suspected_all_the_same() -> None:
    supervisor = after_an_unclean_end(policy(ordering=Ordering.KEY), handed=4)
    supervisor.fetch(0, 1, 2, keys=[b"a", b"a", b"b"])
    supervisor.confirm()
    supervisor.accept_alone()
    supervisor.fail(supervisor.seen_task())
    supervisor.confirm()
    supervisor.fetch(3, 4, keys=[b"a", b"c"])  # of its lane, too, though it comes later
    supervisor.confirm()
    assert supervisor.sent() == [[2], [0], [4]]
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    supervisor.tick(supervisor.now + 1.0)
    assert (supervisor.sent()[3:], supervisor.names()) == ([[0]], ())
    supervisor.confirm_all()
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert (supervisor.sent()[3:], supervisor.names()) == ([[0]], (1,))
    supervisor.confirm()
    supervisor.accept_alone()
    assert supervisor.sent()[3:] == [[0], [1], [3]]


def test_a_suspect_that_was_not_begun_is_named_again() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    supervisor.accept(supervisor.seen_task(), unstarted=(0,))
    supervisor.confirm()
    assert supervisor.sent() == [[2], [2]]


def test_a_worker_that_dies_of_a_suspect_charges_it_as_ever() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(2)
    supervisor.confirm()
    commands = supervisor.die(1, supervisor.seen_task())
    assert c.ReportKind.RETRYING in notes(commands)


def test_commits_that_fail_while_a_suspect_runs_acquit_nobody() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(0, 1, 2)
    supervisor.confirm()
    produced = the(supervisor.push(supervisor.seen_task(), Output("out", b"x")), c.Produce)
    supervisor.confirm()
    supervisor.confirm()
    assert supervisor.sent() == [[2], [1]]
    supervisor.delivered(produced.ticket)
    for _ in range(suspects.TRIES):
        supervisor.tick(supervisor.now + 1.0)
        assert supervisor.told(supervisor.asked.marks[TP]).done
        supervisor.confirm("no coordinator")
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    assert (supervisor.sent(), supervisor.names()) == ([[2], [1]], (0,))


# -- with others at work


def at_work(seconds: float = 0.0) -> Suspecting:
    """A worker has a message of another partition when suspects come."""
    supervisor = Suspecting()
    supervisor.assign(OTHER, metadata=said(clean=True))
    supervisor.confirm()
    supervisor.fetch(0, partition=OTHER)
    supervisor.assign(TP, metadata=said(handed=3))
    supervisor.confirm()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    return supervisor


def test_a_suspect_waits_for_what_runs_already() -> None:
    supervisor = at_work()
    supervisor.fetch(1, partition=OTHER)
    assert supervisor.sent() == [[0]]
    # Should this supervisor end now, what runs has ended it, and nobody else is charged.
    assert supervisor.names() == ()
    supervisor.accept(supervisor.seen_task())
    assert (supervisor.sent(), supervisor.names()) == ([[0]], (2,))
    supervisor.confirm()
    assert supervisor.sent() == [[0], [2]]


def test_what_runs_for_long_holds_up_nobody_for_longer_than_that() -> None:
    supervisor = at_work()
    supervisor.tick(suspects.ALONE_SECONDS)
    supervisor.tick(suspects.ALONE_SECONDS + 1.0)
    assert supervisor.sent() == [[0], [1]]


def test_a_suspect_waits_for_a_worker() -> None:
    supervisor = Suspecting(workers=1)
    supervisor.die(1)
    supervisor.assign(metadata=said(handed=3))
    supervisor.confirm()
    supervisor.fetch(2)
    supervisor.confirm()
    assert (supervisor.sent(), supervisor.names()) == ([], ())
    supervisor.boot(2)
    supervisor.confirm()
    assert supervisor.sent() == [[2]]


# -- giving back


def test_a_revoke_takes_the_name_away_at_once() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    supervisor.revoke()
    assert (supervisor.names(), supervisor.sent()) == ((), [[2]])
    release = the(supervisor.accept(supervisor.seen_task()), c.Release)
    assert supervisor.told(release.marks[TP]).clean


def test_a_revoke_that_comes_before_the_answer_takes_the_name_away_behind_it() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    naming = supervisor.asked
    assert supervisor.names() == (1,)
    supervisor.fetch(5, 6)
    supervisor.assign(OTHER, metadata=said(clean=True))
    supervisor.revoke(seconds=10.0)
    assert supervisor.sent() == [[2]]
    assert the(supervisor.seen, c.Release).partitions == (TP,)
    assert supervisor.committed(naming) == []


def test_a_name_that_is_confirmed_while_its_partition_is_given_back_is_taken_away_at_once() -> None:
    supervisor = after_an_unclean_end(policy(dead_letter="dead"))
    supervisor.fetch(1, 2)
    supervisor.confirm()
    reject = Outcome(0, Verdict.REJECT, BOOM)
    supervisor.accept(supervisor.seen_task(), outcomes=(reject,))
    naming = supervisor.asked
    assert supervisor.names() == (1,)
    supervisor.revoke()  # its dead letter is still under way
    assert supervisor.asked is naming
    supervisor.committed(naming)
    assert (supervisor.names(), supervisor.sent()) == ((), [[2]])


def test_a_stop_takes_the_name_away_and_ends_in_order() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    supervisor.stop()
    assert supervisor.names() == ()
    supervisor.confirm()
    supervisor.accept(supervisor.seen_task())
    assert supervisor.told(supervisor.asked.marks[TP]).clean


@pytest.mark.parametrize("late", [False, True], ids=["all committed", "its work is not"])
def test_a_stop_whose_clean_mark_is_not_confirmed_has_abandoned_no_work(late: bool) -> None:
    supervisor = Suspecting(workers=1)
    supervisor.assign(metadata=said(clean=True))
    supervisor.confirm()
    supervisor.fetch(0)
    supervisor.accept(supervisor.seen_task(), seconds=0.01)
    if not late:
        supervisor.tick(supervisor.now + 2.0)
        supervisor.confirm()
    supervisor.stop()
    supervisor.tick(supervisor.now + 6.0)  # Kafka answers no more

    stopped = the(supervisor.die(1, cause=e.Cause.STOPPED), c.Stopped)

    assert stopped.end is (c.End.ABANDONED if late else c.End.CLEAN)


def test_what_is_given_while_a_run_ends_keeps_what_its_former_owner_has_said() -> None:
    supervisor = Suspecting()
    supervisor.assign(OTHER, metadata=said(clean=True))
    supervisor.confirm()
    supervisor.fetch(0, partition=OTHER)
    supervisor.stop()
    supervisor.assign(TP, metadata=said(handed=3, begun=(2,)))
    supervisor.accept(supervisor.seen_task())
    assert TP not in supervisor.asked.marks


def test_a_suspect_whose_partition_is_lost_before_it_begins_never_does() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.on(e.Lost(0, (TP,)))
    supervisor.confirm()
    assert supervisor.sent() == []


def test_nobody_is_named_for_ever_whose_commit_keeps_failing() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    for _ in range(suspects.TRIES):
        supervisor.confirm("no coordinator")
        supervisor.tick(supervisor.now + suspects.AGAIN_SECONDS)
    assert supervisor.sent() == [[1], [2]]


def test_a_suspect_that_was_not_begun_when_it_is_given_back_is_the_next_owners() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    supervisor.revoke()
    release = the(supervisor.accept(supervisor.seen_task(), unstarted=(0,)), c.Release)
    assert supervisor.told(release.marks[TP]).done == ()
    assert supervisor.sent() == [[2]]


def test_a_suspect_that_loses_its_partition_while_it_runs_names_nobody() -> None:
    supervisor = after_an_unclean_end()
    supervisor.fetch(1, 2)
    supervisor.confirm()
    supervisor.on(e.Lost(0, (TP,)))
    supervisor.fail(supervisor.seen_task())
    assert c.ReportKind.RETRYING not in notes(supervisor.seen)
