"""The life of a message, one fact each: what becomes of it, when, and who waits with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kqworker.core.commands import Produce, Report, ReportKind
from kqworker.core.completion import Completion
from kqworker.core.deadletter import ROUNDS
from kqworker.core.epochs import Epoch
from kqworker.core.events import Fetched, Start
from kqworker.core.in_flight import InFlightTask
from kqworker.core.retry import Retry
from kqworker.types import Failure, Ordering, Outcome, Segment, Task, Verdict
from tests.core.lived import ONCE, OUT, A, B, Life, keyed, told
from tests.core.supervised import BOOM, OTHER, TP, notes, policy, records, the, those

# -- accepted


def test_what_is_accepted_is_finished_and_no_longer_held() -> None:
    life = Life()
    life.fetch(0, 1)
    assert (life.backpressure.held, life.backpressure.held_bytes) == (2, 20)
    flight = life.take()
    assert life.epoch.busy == 2

    assert life.settle(flight) == []

    assert life.watermark == 2
    assert life.nothing_is_held()
    assert life.counts == (2, 0, 0)


def test_what_is_not_owned_draining_or_seen_is_passed_over() -> None:
    life = Life()
    life.messages.fetched(Fetched((records(0, partition=OTHER),), 0))
    life.messages.fetched(Fetched((records(0),), 1))
    life.fetch(0, 1)
    life.fetch(0, 1)
    life.fetch(1, 2)
    assert life.ready == 3

    life.messages.drain([life.epoch])
    life.fetch(3)
    assert life.ready == 0
    # They stay open: nobody has handled them.
    assert (life.epoch.offsets.watermark, life.epoch.offsets.runs_done()) == (0, [])


def test_tasks_are_numbered_and_never_twice() -> None:
    life = Life()
    life.fetch(0, 1)
    assert [life.take(1).task.id for _ in range(2)] == [1, 2]


# -- tried again


def test_a_failed_message_waits_for_its_delay() -> None:
    life = Life()
    life.fetch(0)
    report = the(life.fail(life.take()), Report)
    assert (report.kind, report.attempt, report.delay, report.failure) == (
        ReportKind.RETRYING,
        1,
        1.0,
        BOOM,
    )
    assert (report.handler, report.partition, report.offset) == ("on_test", TP, 0)
    assert life.messages.deadline() == 1.0

    life.at(0.9)
    assert life.ready == 0
    life.at(1.0)
    assert told(life.take()) == [(0, 2)]
    assert life.messages.deadline() is None


def test_the_second_delay_is_longer() -> None:
    life = Life()
    life.fetch(0)
    life.fail(life.take())
    life.at(1.0)
    life.fail(life.take())
    assert life.messages.deadline() == 3.0


def test_the_delay_that_a_handler_asks_for_goes_before_the_policys() -> None:
    life = Life()
    life.fetch(0, 1)
    life.fail(life.take(1), delay=7.0)
    assert life.messages.deadline() == 7.0
    life.fail(life.take(1), delay=0.0)
    life.at(0.0)
    assert told(life.take()) == [(1, 2)]


def test_those_that_wait_come_in_the_order_of_their_times() -> None:
    life = Life()
    life.fetch(0, 1, 2)
    for delay in (3.0, 1.0, 2.0):
        life.fail(life.take(1), delay=delay)
    order = []
    for now in (1.0, 2.0, 3.0):
        life.at(now)
        order += told(life.take())
    assert order == [(1, 2), (2, 2), (0, 2)]


def test_a_failure_keeps_the_watermark_and_not_its_neighbours() -> None:
    life = Life()
    life.fetch(0, 1, 2)
    life.fail(life.take(), 1)
    assert life.watermark == 1
    assert life.epoch.offsets.runs_done() == [(2, 3)]
    assert (life.epoch.stock.held, life.epoch.busy) == (1, 0)
    assert life.epoch.attempts == {1: 1}
    assert life.counts == (2, 0, 1)


def test_outcomes_are_counted_through_all_segments_of_a_task() -> None:
    life = Life()
    life.fetch(0, 1)
    life.fetch(2, 3)
    flight = life.take()
    assert len(flight.task.segments) == 2
    life.settle(flight, Outcome(3, Verdict.RELEASE, BOOM), unstarted=(2,))
    assert life.watermark == 2
    assert life.epoch.attempts == {3: 1}
    assert told(life.take()) == [(2, 1)]


def test_the_message_that_a_worker_died_on_has_had_an_attempt() -> None:
    life = Life()
    life.fetch(0, 1, 2)
    commands = life.settle(life.take(), Outcome(1, Verdict.RELEASE, BOOM), unstarted=(2,))
    assert notes(commands) == [ReportKind.RETRYING]
    assert life.watermark == 1
    assert told(life.take()) == [(2, 1)]
    life.at(1.0)
    assert told(life.take()) == [(1, 2)]


def test_a_failure_without_a_reason_says_so() -> None:
    life = Life()
    life.fetch(0)
    report = the(life.settle(life.take(), Outcome(0, Verdict.RELEASE)), Report)
    assert report.failure == Failure("Unknown", "the worker gave no reason")


# -- lanes


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.PARTITION])
def test_a_lane_waits_with_its_failed_message(ordering: Ordering) -> None:
    life = keyed(A, A, ordering=ordering)
    life.settle(life.take(), Outcome(0, Verdict.RELEASE, BOOM), unstarted=(1,))
    assert life.ready == 0

    life.at(1.0)
    assert told(life.take()) == [(0, 2), (1, 1)]


def test_other_keys_do_not_wait() -> None:
    life = keyed(A, B, A)
    life.settle(life.take(), Outcome(0, Verdict.RELEASE, BOOM), unstarted=(1, 2))
    assert told(life.take()) == [(1, 1)]


def test_by_partition_all_keys_wait() -> None:
    life = keyed(A, B, ordering=Ordering.PARTITION)
    life.settle(life.take(), Outcome(0, Verdict.RELEASE, BOOM), unstarted=(1,))
    assert life.ready == 0


def test_what_is_handed_back_comes_again_on_the_same_attempt_at_once() -> None:
    life = keyed(A, A)
    assert life.settle(life.take(), unstarted=(1,)) == []
    assert told(life.take()) == [(1, 1)]
    assert life.counts == (1, 0, 0)


def test_a_lane_goes_on_when_its_message_is_out_of_attempts() -> None:
    life = Life(policy(ordering=Ordering.KEY, retry=ONCE))
    life.fetch(0, 1, keys=[A, A])
    life.fail(life.take(1))
    assert told(life.take()) == [(1, 1)]


# -- out of attempts


def test_without_a_dead_letter_topic_it_is_accepted_and_said() -> None:
    life = Life(policy(retry=ONCE))
    life.fetch(0)
    report = the(life.fail(life.take()), Report)
    assert (report.kind, report.attempt, report.failure) == (ReportKind.GAVE_UP, 1, BOOM)
    assert life.watermark == 1
    assert life.nothing_is_held()
    assert life.counts == (0, 1, 0)


def test_it_is_finished_when_its_dead_letter_is_in_the_log() -> None:
    life = Life(policy(retry=ONCE, dead_letter="letters"))
    life.fetch(0)
    produce = the(life.fail(life.take()), Produce)
    assert produce.output.topic == "letters"
    assert (life.watermark, life.epoch.busy, life.messages.settling.delivering) == (0, 1, True)

    report = the(life.delivered(produce.ticket), Report)

    assert (report.kind, report.attempt, report.failure) == (ReportKind.DEAD_LETTERED, 1, BOOM)
    assert (life.watermark, life.messages.settling.delivering) == (1, False)
    assert life.nothing_is_held()
    assert life.counts == (0, 1, 0)


def test_a_rejected_message_has_no_further_attempt() -> None:
    life = Life(policy(retry=Retry(attempts=10), dead_letter="letters"))
    life.fetch(0)
    commands = life.settle(life.take(), Outcome(0, Verdict.REJECT, BOOM))
    assert the(commands, Produce).output.topic == "letters"


def test_the_last_attempt_is_the_last() -> None:
    life = Life(policy(retry=Retry(attempts=2, first=0.0), dead_letter="letters"))
    life.fetch(0)
    assert notes(life.fail(life.take())) == [ReportKind.RETRYING]
    life.at(0.0)
    letter = the(life.fail(life.take()), Produce).output
    assert dict(letter.headers)["kqworker-attempts"] == b"2"
    assert life.ready == 0
    assert life.messages.deadline() is None


def test_a_record_that_comes_round_is_told_and_at_last_given_up() -> None:
    life = Life(policy(retry=ONCE, dead_letter="letters"))
    seen = {}
    for offset, before in enumerate((3, 4, ROUNDS)):
        of_it = records(offset)
        headers = [(("kqworker-topic", b"test"), ("kqworker-round", b"%d" % (before - 1)))]
        life.messages.fetched(Fetched((replace(of_it, headers=headers),), 0))
        life.out()
        commands = life.fail(life.take())
        notes = [command.kind for command in commands if isinstance(command, Report)]
        seen[before] = notes, sum(isinstance(command, Produce) for command in commands)

    assert seen == {3: ([], 1), 4: ([ReportKind.CIRCLE], 1), ROUNDS: ([ReportKind.BROKE_CIRCLE], 0)}
    assert life.messages.settling.failed == 1


def test_a_dead_letter_that_kafka_refuses_is_tried_for_ever() -> None:
    life = Life(policy(retry=ONCE, dead_letter="letters"))
    life.fetch(0)
    produce = the(life.fail(life.take()), Produce)
    for _ in range(20):
        life.delivered(produce.ticket, BOOM, retriable=False)
        assert life.messages.settling.stalled == 1
        due = life.messages.deadline()
        assert due is not None and due > life.now
        assert life.at(due) == [produce]
    assert life.watermark == 0
    life.delivered(produce.ticket)
    assert (life.watermark, life.messages.settling.stalled) == (1, 0)


def test_that_a_topic_takes_no_record_is_told_now_and_then_however_often_it_is_tried() -> None:
    life = Life(policy(retry=ONCE, dead_letter="letters"))
    life.fetch(0, 1, 2)
    tickets = [produce.ticket for produce in those(life.fail(life.take(), 0, 1, 2), Produce)]
    refused = Failure("INVALID_RECORD", "no key")

    first = [report for ticket in tickets for report in life.delivered(ticket, refused)]
    tries = 0
    while life.now < 60.0:
        due = life.messages.deadline()
        assert due is not None
        again = those(life.at(due), Produce)
        tries += len(again)
        later = [report for one in again for report in life.delivered(one.ticket, refused)]
        assert notes(later) == ([ReportKind.STALLED] if life.now >= 60.0 else [])

    assert tries > 15
    (report,) = those(first, Report)
    assert (report.kind, report.partition, report.offset) == (ReportKind.STALLED, TP, 0)
    assert report.failure is not None
    assert report.failure.text == "no key; undeliverable to 'letters': 1"
    assert [r.failure and r.failure.text for r in those(later, Report)] == [
        "no key; undeliverable to 'letters': 3"
    ]


def test_another_reason_and_another_topic_are_told_at_once() -> None:
    life = Life()
    life.fetch(0)
    other = replace(OUT, topic="elsewhere")
    first, second = those(life.push(life.take(), OUT, other), Produce)
    assert notes(life.delivered(first.ticket, Failure("A", "a"))) == [ReportKind.STALLED]
    assert notes(life.delivered(second.ticket, Failure("A", "a"))) == [ReportKind.STALLED]
    life.at(0.5)
    assert notes(life.delivered(first.ticket, Failure("A", "a"))) == []
    assert notes(life.delivered(second.ticket, Failure("B", "b"))) == [ReportKind.STALLED]


# -- outputs


def test_a_message_waits_for_all_its_outputs() -> None:
    life = Life()
    life.fetch(0)
    first, second = those(life.push(life.take(), OUT, OUT), Produce)
    assert life.delivered(second.ticket) == []
    assert (life.watermark, life.counts) == (0, (0, 0, 0))

    assert life.delivered(first.ticket) == []
    assert (life.watermark, life.counts) == (1, (1, 0, 0))
    assert life.nothing_is_held()


def test_its_lane_does_not_wait_with_it() -> None:
    life = keyed(A, A)
    life.push(life.take(1), OUT)
    assert told(life.take()) == [(1, 1)]


def test_an_answer_that_comes_twice_counts_once() -> None:
    life = Life()
    life.fetch(0)
    first, _ = those(life.push(life.take(), OUT, OUT), Produce)
    life.delivered(first.ticket)
    life.delivered(first.ticket)
    life.delivered(999)
    assert life.watermark == 0


def test_an_output_that_may_succeed_later_is_produced_again() -> None:
    life = Life()
    life.fetch(0)
    produce = the(life.push(life.take(), OUT), Produce)
    report = the(life.delivered(produce.ticket, BOOM), Report)
    failure = Failure("ValueError", "boom; undeliverable to 'out': 1")
    assert (report.kind, report.failure) == (ReportKind.STALLED, failure)
    assert life.at(0.4) == []
    assert life.at(0.5) == [produce]


def test_an_output_that_kafka_refuses_for_good_is_its_messages_failure() -> None:
    life = Life(policy(dead_letter="letters"))
    life.fetch(0)
    produce = the(life.push(life.take(), OUT), Produce)

    letter = the(life.delivered(produce.ticket, BOOM, retriable=False), Produce)

    assert letter.output.topic == "letters"
    assert dict(letter.output.headers)["kqworker-error-text"] == b"boom"
    assert life.epoch.attempts == {0: 1}
    life.delivered(letter.ticket)
    assert (life.watermark, life.counts) == (1, (0, 1, 0))
    assert life.nothing_is_held()


def test_the_other_outputs_of_a_refused_message_are_nobodys_any_more() -> None:
    life = Life()
    life.fetch(0)
    refused, stalled, late = those(life.push(life.take(), OUT, OUT, OUT), Produce)
    life.delivered(stalled.ticket, BOOM)
    assert notes(life.delivered(refused.ticket, BOOM, retriable=False)) == [ReportKind.GAVE_UP]

    assert life.at(10.0) == []  # the stalled one is not produced again
    assert life.messages.settling.stalled == 0
    assert life.delivered(late.ticket, BOOM, retriable=False) == []
    assert life.counts == (0, 1, 0)
    assert life.nothing_is_held()


# -- attempts that are carried over a restart


def test_attempts_go_on_where_a_former_owner_stopped() -> None:
    life = Life(attempts={1: 2})
    life.fetch(0, 1, 2)
    assert told(life.take()) == [(0, 1), (1, 3), (2, 1)]


@pytest.mark.parametrize("at", [0, 2])
def test_the_first_and_the_last_of_a_batch_may_have_been_tried(at: int) -> None:
    life = Life(attempts={at: 1})
    life.fetch(0, 1, 2)
    assert sorted(told(life.take())) == sorted([(o, 2 if o == at else 1) for o in range(3)])


def test_what_a_former_owner_used_up_goes_to_no_worker() -> None:
    life = Life(policy(dead_letter="letters"), attempts={1: 3})
    produce = the(life.fetch(0, 1, 2), Produce)
    assert dict(produce.output.headers)["kqworker-error-type"] == b"AttemptsUsed"
    assert dict(produce.output.headers)["kqworker-attempts"] == b"3"
    life.settle(life.take())
    assert life.watermark == 1
    life.delivered(produce.ticket)
    assert life.watermark == 3
    assert life.nothing_is_held()


def test_a_crash_on_the_last_attempt_over_a_restart_is_the_last() -> None:
    life = Life(attempts={0: 2})
    life.fetch(0)
    report = the(life.settle(life.take(), Outcome(0, Verdict.RELEASE, BOOM)), Report)
    assert (report.kind, report.failure) == (ReportKind.GAVE_UP, BOOM)
    assert (report.partition, report.offset, report.attempt) == (TP, 0, 3)
    assert life.watermark == 1


# -- flights


def flight_of(*sizes: int) -> InFlightTask:
    epoch = Epoch(1, 0, TP, 0, Start(0), Completion())
    parts, first = [], 0
    for size in sizes:
        parts.append((epoch, Segment(records(*range(first, first + size)))))
        first += size
    task = Task(1, 0, Ordering.UNORDERED, tuple(segment for _, segment in parts))
    return InFlightTask(task, parts, [])


def test_a_message_of_a_task_is_found_in_its_segment() -> None:
    flight = flight_of(2, 1, 3)
    found = []
    for index in range(6):
        epoch, segment, i = flight.locate(index)
        assert (epoch, segment) in flight.parts
        found.append(segment.records.offsets[i])
    assert found == [0, 1, 2, 3, 4, 5]


def test_a_message_behind_the_task_is_none_of_it() -> None:
    with pytest.raises(IndexError):
        flight_of(2, 1).locate(3)
