"""What a dead letter looks like."""

from __future__ import annotations

from kqworker.core.deadletter import dead_letter, shortened
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
    assert letter(earlier).headers == (("a", b"1"), *TOLD)


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
