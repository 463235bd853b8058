"""How far an epoch may be committed, what the broker's answers change, and what is fenced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kqworker.core.commands import Mark, Report, ReportKind
from kqworker.core.completion import Completion, decode, encode
from kqworker.core.epochs import METADATA_BUDGET, Epoch, Epochs
from kqworker.core.events import Committed, Start
from kqworker.types import Failure
from tests.core.supervised import OTHER, TP, records

ORIGIN = Start(0)


def begun(start: Start = ORIGIN, *, epochs: Epochs | None = None) -> Epoch:
    epoch, report = (Epochs() if epochs is None else epochs).begin(0, TP, 0, start)
    assert report is None
    return epoch


def admit(epoch: Epoch, *offsets: int) -> None:
    epoch.offsets.admit(offsets)


def finish(epoch: Epoch, *offsets: int, tried: bool = False) -> None:
    epoch.finish(records(*offsets), tried)


def scattered(epoch: Epoch, count: int) -> None:
    """Finish every other message, which makes a map of `count` runs."""
    admit(epoch, *range(2 * count))
    finish(epoch, *range(1, 2 * count, 2))


@pytest.fixture
def epochs() -> Epochs:
    return Epochs()


@pytest.fixture
def epoch(epochs: Epochs) -> Epoch:
    return begun(epochs=epochs)


# -- marks


def test_nothing_can_be_committed_before_anything_is_known(epochs: Epochs) -> None:
    epoch = begun(Start(None), epochs=epochs)
    assert epoch.mark() is None
    assert not epoch.unsettled()
    assert epochs.ask(epochs) == ({}, [])

    admit(epoch, 7)
    assert epochs.ask(epochs) == ({TP: Mark(7, "")}, [])


def test_a_mark_says_what_is_finished_above_the_watermark(epoch: Epoch) -> None:
    admit(epoch, 0, 1, 2, 3)
    finish(epoch, 0, 2)

    mark = epoch.mark()

    assert mark is not None and mark.offset == 1
    assert decode(mark.metadata, 1) == Completion(done=((2, 3),))
    assert epoch.used == len(mark.metadata)


def test_a_successor_begins_where_the_mark_says(epoch: Epoch) -> None:
    admit(epoch, 0, 1, 2, 3)
    finish(epoch, 0, 2)
    epoch.attempts[1] = 2
    mark = epoch.mark()
    assert mark is not None

    successor = begun(Start(*mark))

    assert successor.offsets.admit(range(1, 4)) == [0, 2]
    assert (successor.attempts, successor.tried) == ({1: 2}, 1)
    assert not begun(Start(*mark)).unsettled()


def test_where_nobody_tried_anything_no_offset_is_suspect(epoch: Epoch) -> None:
    assert epoch.tried == -1


def test_of_what_is_finished_no_attempts_are_kept(epoch: Epoch) -> None:
    admit(epoch, 0, 1)
    epoch.attempts = {0: 1, 1: 2}
    finish(epoch, 0, tried=True)
    assert epoch.attempts == {1: 2}


def test_a_map_that_does_not_fit_is_left_out_as_a_whole(epoch: Epoch) -> None:
    scattered(epoch, 10)
    epoch.budget = 5
    assert epoch.mark() == Mark(0, "")
    assert epoch.used == 6


def told(epoch: Epoch) -> Completion:
    """What the next commit of an epoch says."""
    mark = epoch.mark()
    assert mark is not None
    found = decode(mark.metadata, mark.offset)
    assert found is not None
    return found


def test_where_not_all_fits_the_finished_runs_go_first_and_the_attempts_next(epoch: Epoch) -> None:
    scattered(epoch, 2_000)
    epoch.attempts = {0: 2}
    epoch.partitions, epoch.owner, epoch.handed, epoch.begun = 100_000, 2**64 - 1, 4_000, (0, 2)
    rest = Completion((), {}, 100_000, False, (0, 2), 4_000, 2**64 - 1)
    epoch.budget = 300
    assert told(epoch) == replace(rest, attempts={0: 2})
    assert epoch.used == 301

    epoch.attempts = dict.fromkeys(range(0, 2000, 2), 1)
    assert told(epoch) == rest
    assert epoch.used == 301


def test_what_stands_beside_the_map_fits_any_budget_that_kafka_has_by_default() -> None:
    epoch = begun(Start(2**62))
    scattered_from = 2**62
    admit(epoch, *range(scattered_from, scattered_from + 20_000))
    finish(epoch, *range(scattered_from + 1, scattered_from + 20_000, 2))
    epoch.partitions, epoch.owner, epoch.clean = 2**31 - 1, 2**64 - 1, True
    epoch.handed = 2**63
    epoch.begun = tuple(range(scattered_from, scattered_from + 2_000, 2))
    said = Completion((), {}, epoch.partitions, True, epoch.begun, epoch.handed, epoch.owner)
    assert told(epoch) == said
    assert epoch.used == METADATA_BUDGET + 1


def test_how_many_partitions_there_were_at_first_is_handed_on(epoch: Epoch) -> None:
    epoch.partitions = 3
    mark = epoch.mark()
    assert mark is not None and mark.offset == 0

    successor = begun(Start(*mark))

    assert told(successor).partitions == 3
    assert not successor.unsettled()


def test_what_a_member_has_learned_of_them_counts_more_than_the_map(epoch: Epoch) -> None:
    epoch.partitions = 3
    mark = epoch.mark()
    assert mark is not None

    assert told(begun(Start(*mark, 2))).partitions == 2
    assert told(begun(Start(*mark, 0))).partitions == 0


def test_that_an_owner_ended_in_order_is_not_said_by_the_next(epoch: Epoch) -> None:
    epoch.clean, epoch.begun, epoch.handed, epoch.owner = True, (0,), 1, 7
    assert told(epoch) == Completion((), {}, None, True, (0,), 1, 7)
    mark = epoch.mark()
    assert mark is not None

    successor = begun(Start(*mark))

    assert successor.mark() == Mark(0, "")
    assert successor.unsettled()  # so that its own death is not taken for an end in order


# -- commits


def test_what_is_committed_already_is_not_asked_for(epochs: Epochs, epoch: Epoch) -> None:
    assert epochs.ask(epochs) == ({}, [])
    assert epochs.settled()


def test_an_epoch_waits_for_one_answer_at_a_time(epochs: Epochs, epoch: Epoch) -> None:
    admit(epoch, 0, 1)
    finish(epoch, 0)
    assert epochs.ask(epochs) == ({TP: Mark(1, "")}, [])
    finish(epoch, 1)
    assert epochs.ask(epochs) == ({}, [])
    assert not epochs.settled()

    assert epochs.answered(Committed({TP: Mark(1, "")})) == []
    assert epochs.ask(epochs) == ({TP: Mark(2, "")}, [])
    epochs.answered(Committed({TP: Mark(2, "")}))
    assert epochs.settled()


def test_an_answer_confirms_who_was_named_when_it_was_asked(epochs: Epochs, epoch: Epoch) -> None:
    epoch.claim(5)
    admit(epoch, 0, 1)
    epoch.name(0)
    marks, _ = epochs.ask(epochs)
    epoch.name(1)
    assert epochs.ask(epochs) == ({}, [])  # else the answer to the first would confirm nothing

    epochs.answered(Committed(marks))

    assert (epoch.told, epoch.committed) == ((0,), marks[TP])
    again, _ = epochs.ask(epochs)
    epochs.answered(Committed(again))
    assert epoch.told == (1,)


def test_an_epoch_does_not_wait_for_the_answer_to_a_former_one(
    epochs: Epochs, epoch: Epoch
) -> None:
    admit(epoch, 0)
    finish(epoch, 0)
    former, _ = epochs.ask(epochs)
    epochs.end([TP])
    again = begun(epochs=epochs)
    admit(again, 0, 1)
    finish(again, 0, 1)

    assert epochs.ask(epochs) == ({TP: Mark(2, "")}, [])
    epochs.answered(Committed(former))
    assert again.awaited == Mark(2, "")


def test_nothing_is_settled_while_a_commit_is_under_way(epochs: Epochs, epoch: Epoch) -> None:
    scattered(epoch, 10)
    epochs.ask(epochs)
    epoch.budget = 5  # without its map the mark is what was committed before
    assert epoch.mark() == epoch.committed
    assert not epochs.settled()


def test_the_commit_of_one_partition_does_not_hold_up_another(epochs: Epochs, epoch: Epoch) -> None:
    other, _ = epochs.begin(0, OTHER, 0, Start(0))
    admit(epoch, 0)
    finish(epoch, 0)
    epochs.ask(epochs)
    admit(other, 0)
    finish(other, 0)
    assert epochs.ask(epochs) == ({OTHER: Mark(1, "")}, [])


def test_a_commit_that_failed_was_none(epochs: Epochs, epoch: Epoch) -> None:
    admit(epoch, 0)
    finish(epoch, 0)
    first = epochs.ask(epochs)

    reports = epochs.answered(Committed({TP: Mark(1, "")}, error="REBALANCE_IN_PROGRESS"))

    failure = Failure("CommitFailed", "REBALANCE_IN_PROGRESS")
    assert reports == [Report(ReportKind.COMMIT_FAILED, partition=TP, offset=1, failure=failure)]
    assert not epochs.settled()
    assert epochs.ask(epochs) == first


def test_a_map_that_is_too_large_for_the_broker_halves_its_budget(
    epochs: Epochs, epoch: Epoch
) -> None:
    scattered(epoch, 40)
    (marks, _) = epochs.ask(epochs)
    size = len(marks[TP].metadata)
    assert epoch.budget == METADATA_BUDGET

    reports = epochs.answered(Committed(marks, error="too large", too_large=True))

    assert [report.kind for report in reports] == [ReportKind.COMMIT_FAILED]
    assert epoch.budget == size // 2
    finish(epoch, 0)
    marks, reports = epochs.ask(epochs)
    assert marks == {TP: Mark(2, "")}
    assert [(report.kind, report.offset) for report in reports] == [(ReportKind.MAP_FULL, 2)]


def test_a_budget_never_vanishes(epochs: Epochs, epoch: Epoch) -> None:
    admit(epoch, 0)
    finish(epoch, 0)
    epochs.ask(epochs)
    epochs.answered(Committed({TP: Mark(1, "")}, error="too large", too_large=True))
    assert epoch.budget == 1


def test_an_answer_that_nobody_waits_for_changes_nothing(epochs: Epochs, epoch: Epoch) -> None:
    assert epochs.answered(Committed({TP: Mark(0, "")})) == []  # not asked for
    assert epochs.answered(Committed({TP: Mark(0, "")}, error="not asked for")) == []
    assert epochs.settled()
    admit(epoch, 0)
    finish(epoch, 0)
    epochs.ask(epochs)
    other = Committed({TP: Mark(5, ""), OTHER: Mark(1, "")}, error="of another epoch")
    assert epochs.answered(other) == []
    assert epochs.ask(epochs) == ({}, [])  # it is under way still


@pytest.mark.parametrize("error", [None, "of another epoch"])
def test_a_late_answer_to_the_same_offset_with_another_map_changes_nothing(
    epochs: Epochs, epoch: Epoch, error: str | None
) -> None:
    admit(epoch, 0, 1, 2)
    finish(epoch, 1)
    former, _ = epochs.ask(epochs)
    epochs.end([TP])
    again = begun(epochs=epochs)
    admit(again, 0, 1, 2)
    finish(again, 1, 2)
    marks, _ = epochs.ask(epochs)
    assert marks[TP].offset == former[TP].offset

    assert epochs.answered(Committed(former, error)) == []

    assert (again.awaited, again.committed) == (marks[TP], Mark(0, ""))
    assert not epochs.settled()
    epochs.answered(Committed(marks))
    assert epochs.settled()


def test_a_former_epochs_failure_to_commit_the_same_mark_costs_one_more_try(
    epochs: Epochs, epoch: Epoch
) -> None:
    admit(epoch, 0)
    finish(epoch, 0)
    former, _ = epochs.ask(epochs)
    epochs.end([TP])
    again = begun(epochs=epochs)
    admit(again, 0)
    finish(again, 0)
    assert epochs.ask(epochs)[0] == former

    epochs.answered(Committed(former, error="of another epoch"))

    assert epochs.ask(epochs)[0] == former
    epochs.answered(Committed(former))
    assert epochs.settled()


def test_a_full_map_is_said_each_time_it_begins(epochs: Epochs, epoch: Epoch) -> None:
    scattered(epoch, 10)
    epoch.budget = 5
    assert [report.kind for report in epochs.due([epoch])[1]] == [ReportKind.MAP_FULL]
    assert epochs.due([epoch]) == ({}, [])

    epoch.budget = METADATA_BUDGET
    assert epochs.due([epoch])[1] == []
    epoch.budget = 5
    assert [report.kind for report in epochs.due([epoch])[1]] == [ReportKind.MAP_FULL]


# -- maps of a former owner


def test_a_map_that_cannot_be_read_is_ignored_and_said(epochs: Epochs) -> None:
    epoch, report = epochs.begin(0, TP, 0, Start(3, "of another program"))

    assert report is not None
    assert (report.kind, report.partition) == (ReportKind.MAP_IGNORED, TP)
    assert report.failure is not None
    assert report.failure.text == "unreadable metadata at offset 3"
    assert epoch.offsets.admit(range(3, 6)) is None  # all of them are handled
    assert epochs.ask(epochs)[0] == {TP: Mark(3, "")}  # the next owner is not to be told so again


def test_a_map_of_no_offset_means_nothing(epochs: Epochs) -> None:
    metadata = encode(0, Completion(attempts={0: 1}), METADATA_BUDGET)
    assert metadata is not None
    assert begun(Start(None, metadata), epochs=epochs).attempts == {}
    assert begun(Start(None, "unreadable"), epochs=epochs).attempts == {}  # and not reported


# -- epochs


def test_an_epoch_owes_what_no_commit_has_confirmed_of_its_work(
    epochs: Epochs, epoch: Epoch
) -> None:
    def confirm() -> None:
        marks, _ = epochs.ask(epochs)
        epochs.answered(Committed(marks))

    unknown = begun(Start(None))
    assert not unknown.owes()
    unknown.offsets.admit([3])
    assert unknown.owes()

    epoch.owner = 5
    admit(epoch, 0, 1, 2, 3)
    confirm()
    assert not epoch.owes()
    epoch.clean = True
    assert epoch.unsettled() and not epoch.owes()

    finish(epoch, 2)
    assert epochs.owing()
    confirm()
    assert not epochs.owing()

    epoch.attempts[1] = 1
    assert epoch.owes()
    confirm()
    finish(epoch, 0, tried=True)
    assert epoch.owes()


def test_an_ended_epoch_is_fenced(epochs: Epochs, epoch: Epoch) -> None:
    assert epochs.end([TP, OTHER]) == [epoch]
    assert not epoch.live
    assert (epochs.get(TP), len(epochs), list(epochs)) == (None, 0, [])
    assert epochs.end([TP]) == []


def test_a_partition_that_comes_back_is_another_epoch(epochs: Epochs, epoch: Epoch) -> None:
    epochs.end([TP])
    again = begun(epochs=epochs)
    assert again.number > epoch.number
    assert epochs.get(TP) is again
    assert (again.live, epoch.live) == (True, False)


def test_an_epoch_belongs_to_one_member(epochs: Epochs, epoch: Epoch) -> None:
    assert epochs.of(0, TP) is epoch
    assert epochs.of(1, TP) is None
    assert epochs.of(0, OTHER) is None


# -- targets


def test_a_target_is_reached_when_all_below_it_is_finished(epochs: Epochs, epoch: Epoch) -> None:
    admit(epoch, 0, 1, 2)
    finish(epoch, 0, 2)
    assert epochs.reached(TP, 1)
    assert not epochs.reached(TP, 2)
    assert not epochs.reached(OTHER, 0)


def test_what_remains_is_counted_in_what_is_owned(epochs: Epochs, epoch: Epoch) -> None:
    admit(epoch, 0, 1, 2)
    finish(epoch, 0)
    assert epochs.remaining({TP: 10, OTHER: 5}) == 9
    assert epochs.remaining({TP: 1}) == 0
    assert epochs.remaining({TP: 0}) == 0  # what is more than reached makes up for nothing


def test_of_an_unknown_start_all_remains() -> None:
    epochs = Epochs()
    begun(Start(None), epochs=epochs)
    assert not epochs.reached(TP, 1)
    assert epochs.reached(TP, 0)
    assert epochs.remaining({TP: 4}) == 4
