"""What handlers produce says how many came before it in a row, so that it ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from kqworker.core.circles import EVERY, MOST, PUSHES, RESULTS, TOLD, Circles
from kqworker.core.commands import Command, Produce, Report, ReportKind
from kqworker.core.deadletter import dead_letter
from kqworker.core.events import Fetched
from kqworker.types import Headers, Output, Records
from tests.core.lived import Life
from tests.core.supervised import BOOM, TP, notes, policy, records, the

RESULT = Output("out", b"x", returned=True)
PUSH = Output("out", b"x")


def one(headers: Headers | None) -> Records:
    return replace(records(7), headers=None if headers is None else [headers])


NOTHING = one(None)


def row(results: int = 0, pushes: int = 0) -> Records:
    """A message that comes of so many in a row."""
    return one(((RESULTS, b"%d" % results), (PUSHES, b"%d" % pushes)))


def begun() -> Circles:
    """One that has the first of both kinds count that comes now."""
    circles = Circles(Random(1))
    for _ in range(EVERY - 1):
        circles.count("on_test", NOTHING, [PUSH, RESULT])
    return circles


def counted(circles: Circles, message: Records, *outputs: Output) -> list[Headers]:
    found, told, over = circles.count("on_test", message, outputs)
    assert told is over is None
    assert [replace(x, headers=()) for x in found] == [replace(x, headers=()) for x in outputs]
    return [output.headers for output in found]


def test_one_of_many_begins_to_count_results_and_pushes_apart() -> None:
    circles = Circles(Random(1))
    for output, first in (PUSH, PUSHES), (RESULT, RESULTS):
        seen = [counted(circles, NOTHING, output) for _ in range(20 * EVERY)]

        own = [at for at, headers in enumerate(seen, 1) if headers != [()]]
        assert own[0] == EVERY
        gaps = {here - before for before, here in itertools.pairwise(own)}
        assert min(gaps) >= EVERY and max(gaps) < 2 * EVERY and len(gaps) > 5
        assert seen[EVERY - 1] == [((first, b"1"),)]


def test_what_says_nothing_is_passed_on_as_it_is() -> None:
    whole = Output("out", b"x", headers=(("a", b"1"),), returned=True)
    (found,), _, _ = Circles(Random(1)).count("on_test", NOTHING, [whole])
    assert found is whole


def test_numbers_of_somebody_else_are_none() -> None:
    for headers in (None, (), (("trace", b"1"), (RESULTS, b"x"), (PUSHES, None))):
        assert counted(Circles(Random(1)), one(headers), PUSH, RESULT) == [(), ()]
        assert counted(begun(), one(headers), PUSH, RESULT) == [
            ((PUSHES, b"1"),),
            ((RESULTS, b"1"),),
        ]


def test_what_comes_of_one_that_counts_counts_on_and_a_push_begins_a_new_row_of_results() -> None:
    circles = Circles(Random(1))
    for _ in range(2):
        assert counted(circles, row(results=7, pushes=3), PUSH, RESULT) == [
            ((PUSHES, b"4"),),
            ((RESULTS, b"8"), (PUSHES, b"3")),
        ]
    assert counted(circles, row(results=7), PUSH) == [()]
    assert counted(circles, row(pushes=3), RESULT) == [((PUSHES, b"3"),)]


def test_what_an_output_has_stays_and_numbers_that_a_handler_has_copied_do_not() -> None:
    own = (("a", b"1"), (RESULTS, b"0"), ("a", None))
    whole = Output("out", None, b"k", own, 3, 5, True)
    a = ("a", b"1"), ("a", None)

    assert counted(Circles(Random(1)), row(results=1), whole) == [(*a, (RESULTS, b"2"))]
    assert counted(Circles(Random(1)), row(pushes=1), whole) == [(*a, (PUSHES, b"1"))]
    assert counted(Circles(Random(1)), NOTHING, whole) == [a]


def test_a_dead_letter_keeps_the_numbers_of_its_record() -> None:
    letter = dead_letter("letters", row(results=7, pushes=3), 0, 1, "on_test", BOOM)

    assert counted(Circles(Random(1)), one(letter.headers), RESULT) == [
        ((RESULTS, b"8"), (PUSHES, b"3"))
    ]


def test_a_way_is_told_when_a_row_of_twice_as_many_takes_it() -> None:
    for output, by in (PUSH, "pushes"), (RESULT, "returns"):
        circles, seen = Circles(Random(1)), {}
        for before in range(MOST):
            message = row(results=before) if output.returned else row(pushes=before)
            for _ in range(2):
                _, told, _ = circles.count("on_test", message, [output])
                if told is not None:
                    seen[before + 1] = told
        assert list(seen) == [TOLD, 2 * TOLD]
        assert seen[TOLD].text == f"at least 50 in a row: on_test reads test and {by} to out"


def test_each_way_is_told_for_itself() -> None:
    circles = Circles(Random(1))
    other = replace(PUSH, topic="other")
    found = [
        circles.count(handler, row(pushes=TOLD), outputs)[1]
        for handler in ("a", "b")
        for outputs in ([PUSH, other], [PUSH, other], [PUSH, other])
    ]

    ways = [told.text.partition("row: ")[2] if told else None for told in found]
    a, b = ([f"{h} reads test and pushes to {to}" for to in ("out", "other")] for h in "ab")
    assert ways == [*a, None, *b, None]


def test_one_result_more_than_a_row_may_have_is_refused_and_names_both() -> None:
    circles = Circles(Random(1))
    assert circles.count("on_test", row(results=MOST - 1), [RESULT])[2] is None
    _, _, over = circles.count("on_test", row(results=MOST), [PUSH, RESULT])

    assert over is not None and over.type == "Circle"
    assert over.text == "more than 100 results in a row: on_test reads test and returns to out"


@given(st.lists(st.sampled_from("rrrrrp"), max_size=400), st.integers(0, 3))
def test_a_row_of_results_ends_and_a_row_of_pushes_does_not(steps: Sequence[str], at: int) -> None:
    """One record goes round among others, and is a dead letter between two steps."""
    circles, message = Circles(Random(1)), NOTHING
    results = pushes = None
    for step in steps:
        for _ in range(at):
            circles.count("other", NOTHING, [PUSH, RESULT])
        output = PUSH if step == "p" else RESULT
        (found,), _, over = circles.count("on_test", message, [output])
        letter = dead_letter("letters", one(found.headers), 0, 1, "on_test", BOOM)
        message = one(letter.headers)
        ours = dict(found.headers)
        if step == "p":
            assert over is None
            results, pushes = None, pushes and pushes + 1
        else:
            results = results and results + 1
        seen = [int(ours.get(name) or 0) or None for name in (RESULTS, PUSHES)]
        # What counts goes on to count; what does not may begin.
        assert seen[0] == results or (results is None and seen[0] == 1)
        assert seen[1] == pushes or (pushes is None and seen[1] == 1)
        results, pushes = seen
        assert (over is not None) == (step == "r" and (results or 0) > MOST)
        if over is not None:
            return


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(0, 130), st.integers(0, 1000))
def test_whatever_goes_round_comes_to_its_end(many: int, others: int, seed: int) -> None:
    circles, going, rounds = Circles(Random(seed)), [NOTHING] * many, 0
    while going:
        for _ in range(others):
            circles.count("other", NOTHING, [RESULT])
        found = [circles.count("on_test", message, [RESULT]) for message in going]
        going = [one(outputs[0].headers) for outputs, _, over in found if over is None]
        rounds += 1
        assert rounds < 40 * EVERY


# What becomes of the message


def settled(life: Life, headers: Headers | None, *outputs: Output) -> list[Command]:
    life.messages.fetched(Fetched((one(headers),), 0))
    life.out()
    return life.push(life.take(), *outputs)


def test_a_message_that_leads_to_one_result_too_many_fails_for_good_with_all_that_it_led_to() -> (
    None
):
    life = Life(policy(dead_letter="letters"))
    commands = settled(life, [(RESULTS, b"%d" % MOST)], PUSH, RESULT)

    assert notes(commands) == [ReportKind.CIRCLE]
    letter = the(commands, Produce)
    headers = dict(letter.output.headers)
    assert (letter.output.topic, headers["kqworker-attempts"]) == ("letters", b"1")
    assert headers["kqworker-error-type"] == b"Circle" and headers[RESULTS] == b"100"
    assert life.epoch.attempts == {7: 1}
    life.delivered(letter.ticket)
    assert life.counts == (0, 1, 0) and life.nothing_is_held()


def test_without_a_dead_letter_topic_it_is_dropped() -> None:
    life = Life()
    commands = settled(life, [(RESULTS, b"%d" % MOST)], RESULT)

    assert notes(commands) == [ReportKind.CIRCLE, ReportKind.GAVE_UP]
    assert life.counts == (0, 1, 0) and life.nothing_is_held()


def test_a_long_row_of_pushes_is_told_and_produced() -> None:
    life = Life()
    commands = settled(life, [(PUSHES, b"5000")], PUSH)

    report, produced = the(commands, Report), the(commands, Produce)
    assert (report.kind, report.partition, report.offset) == (ReportKind.CIRCLE, TP, 7)
    assert report.failure is not None
    assert report.failure.text == "at least 5,001 in a row: on_test reads test and pushes to out"
    assert dict(produced.output.headers) == {PUSHES: b"5001"}
    life.delivered(produced.ticket)
    assert life.counts == (1, 0, 0)
