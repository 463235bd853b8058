"""What a dead letter looks like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kqworker.core.deadletter import (
    ROUNDS,
    TOLD_ROUNDS,
    comes_round,
    dead_letter,
    shortened,
    truncated,
)
from kqworker.types import Failure, Headers, Output, Records, TopicPartition

FAILURE = Failure("ValueError", "boom", "Traceback …")
TOLD = (
    ("kqworker-topic", b"test"),
    ("kqworker-partition", b"3"),
    ("kqworker-offset", b"8"),
    ("kqworker-timestamp", b"1700000000001"),
    ("kqworker-handler", b"on_test"),
    ("kqworker-attempts", b"5"),
    ("kqworker-error-type", b"ValueError"),
    ("kqworker-error-text", b"boom"),
    ("kqworker-error-traceback", "Traceback …".encode()),
)


def letter(
    headers: Headers | None = None,
    *,
    index: int = 1,
    keyed: bool = True,
    failure: Failure = FAILURE,
) -> Output:
    batch = Records(
        TopicPartition("test", 3),
        (7, 8),
        (b"seven", None),
        (None, b"key") if keyed else None,
        (1700000000000, 1700000000001),
        (None, headers) if headers is not None else None,
        8,
    )
    return dead_letter("letters", batch, index, 5, "on_test", failure)


def test_a_dead_letter_is_the_record_as_it_came_and_why() -> None:
    assert letter() == Output("letters", value=None, key=b"key", headers=TOLD)


def test_each_message_of_a_batch_has_its_own_value_key_and_place() -> None:
    first = letter([("a", b"1")], index=0)
    assert (first.value, first.key) == (b"seven", None)
    assert dict(first.headers)["kqworker-offset"] == b"7"
    assert dict(first.headers)["kqworker-timestamp"] == b"1700000000000"
    assert "a" not in dict(first.headers)


def test_a_record_of_a_batch_without_keys_has_none() -> None:
    assert letter(keyed=False).key is None


def test_its_own_headers_come_first_in_their_order_doubles_and_nulls_included() -> None:
    own = (("b", b"2"), ("a", None), ("b", b""))
    assert letter(own).headers == own + TOLD


def test_the_headers_of_an_earlier_dead_letter_are_dropped() -> None:
    earlier = (("kqworker-topic", b"older"), ("a", b"1"), ("kqworker-error-text", b"old"))
    assert letter(earlier).headers == (("a", b"1"), *TOLD, ("kqworker-round", b"1"))


def test_it_goes_to_whatever_partition_its_key_says() -> None:
    assert letter().partition is None
    assert letter().timestamp is None


def test_text_that_is_no_unicode_is_told_all_the_same() -> None:
    told = dict(letter(failure=Failure("ValueError", "\udc80!")).headers)
    assert told["kqworker-error-text"] == b"?!"


def test_a_shortened_one_lacks_its_errors_text_and_traceback_alone() -> None:
    whole = letter([("a", b"1")])
    short = shortened(whole)
    assert short.headers == (("a", b"1"), *TOLD[:-2])
    assert (short.topic, short.value, short.key) == (whole.topic, whole.value, whole.key)


def batch(headers: Headers | None) -> Records:
    return Records(TopicPartition("test", 0), (7,), (b"",), None, (0,), (headers,), 8)


def test_a_dead_letter_counts_how_often_its_record_was_one_before() -> None:
    headers: Headers | None = None
    counts = []
    for _ in range(3):
        headers = dead_letter("letters", batch(headers), 0, 5, "on_test", FAILURE).headers
        counts.append(dict(headers).get("kqworker-round"))

    assert counts == [None, b"1", b"2"]


def test_a_record_that_comes_round_is_told_now_and_then_and_at_last_comes_no_more() -> None:
    headers: Headers | None = None
    told = {}
    for before in range(ROUNDS + 1):
        circle, over = comes_round(batch(headers), 0, "me (test) to letters")
        if circle is not None:
            told[before] = circle
        assert over == (before == ROUNDS)
        headers = dead_letter("letters", batch(headers), 0, 5, "on_test", FAILURE).headers

    assert list(told) == [TOLD_ROUNDS, 8, 16, ROUNDS]
    assert told[8] == Failure(
        "Circle",
        "a dead letter 8 times before: the last time from on_test (test), "
        "now from me (test) to letters",
    )


def test_headers_of_somebody_else_are_not_counted() -> None:
    own = (("kqworker-round", b"99"), ("round", b"99"), ("kqworker-topic", None))

    for headers in (None, (), own[:2], (("kqworker-round", b"x"), own[2])):
        assert comes_round(batch(headers), 0, "") == (None, False)
    circle, over = comes_round(batch((own[0], own[2])), 0, "")
    assert over and circle is not None and "from ? (?)" in circle.text


def test_a_cut_one_keeps_all_but_the_rest_of_its_value_and_says_how_much_there_was() -> None:
    whole = replace(letter([("a", b"1")]), value=b"0123456789")
    cut = truncated(whole)
    assert cut == replace(
        whole, value=b"01234", headers=(*whole.headers, ("kqworker-truncated", b"10"))
    )
    assert truncated(cut) == replace(cut, value=b"01")


@pytest.mark.parametrize("value", [None, b""])
def test_what_has_no_value_cannot_be_cut(value: bytes | None) -> None:
    assert truncated(Output("letters", value)) is None
