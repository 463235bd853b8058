"""How many partitions a topic had when a group began to read it, by the group's commits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kqworker.core.completion import Completion, encode
from kqworker.core.events import Start
from kqworker.kafka.firsts import first_counts, others, said
from kqworker.types import TopicPartition


def start(count: int | None, offset: int = 7) -> Start:
    return Start(offset, encode(offset, Completion(partitions=count), 100) or "")


def test_what_a_commit_says_is_read_from_its_map() -> None:
    assert said(start(3)) == 3
    assert said(start(0)) == 0
    assert [said(Start(None)), said(Start(7)), said(Start(7, "x")), said(start(None))] == [None] * 4


@given(
    st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=6),
    st.none() | st.integers(1, 9),
)
def test_the_least_of_all_that_is_known_counts(told: list[int | None], present: int | None) -> None:
    starts = {TopicPartition("t", n): start(count) for n, count in enumerate(told)}
    known = [count for count in told if count is not None]

    counts = first_counts(starts, {} if present is None else {"t": present})

    assert counts == {"t": min([*known, present or 0])}


def test_the_others_are_all_that_may_have_been_there_at_first() -> None:
    given = [TopicPartition("a", 1), TopicPartition("b", 0)]
    asked = others(given, {"a": 4, "b": 1, "c": 9})
    assert asked == [TopicPartition("a", n) for n in (0, 2, 3)]
    assert others([TopicPartition("new", 2)], {}) == [TopicPartition("new", n) for n in (0, 1)]
