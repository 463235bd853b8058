"""Which handler a topic belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.core.routing import Routes, Step, circle
from kqworker.errors import BugError
from tests.core.supervised import policy


def routes(*topics: str) -> Routes:
    return Routes([policy(topic=topic) for topic in topics])


def test_a_topic_goes_to_the_handler_of_its_name() -> None:
    assert [routes("a", "b").handler(topic) for topic in ("b", "a")] == [1, 0]


def test_a_name_comes_before_a_pattern_that_stands_before_it() -> None:
    assert routes("^orders.*", "orders").handler("orders") == 1


def test_the_first_pattern_that_matches_has_the_topic() -> None:
    found = routes("^orders-eu", "^orders", "^.*")
    assert [found.handler(topic) for topic in ("orders-eu", "orders-us", "x")] == [0, 1, 2]


def test_a_pattern_need_not_match_to_the_topics_end() -> None:
    assert routes("^orders").handler("orders-eu") == 0


def test_a_pattern_matches_from_the_topics_start_only() -> None:
    with pytest.raises(BugError, match="'old-orders' was assigned, but no handler asked for it"):
        routes("^orders").handler("old-orders")


def test_a_caret_holds_for_its_own_alternative_as_in_librdkafka() -> None:
    found = routes("^orders|legacy", "^.*")
    assert [found.handler(topic) for topic in ("eu-legacy", "eu-orders")] == [0, 1]


def test_a_name_is_no_pattern() -> None:
    found = routes("a.b")
    assert found.handler("a.b") == 0
    with pytest.raises(BugError):
        found.handler("axb")


def test_an_answer_stays_the_same() -> None:
    found = routes("^a", "^ab")
    assert [found.handler("abc") for _ in range(3)] == [0, 0, 0]


# What comes round

Handlers = Sequence[tuple[str, str | None, str | None]]


def way(*handlers: tuple[str, str | None, str | None]) -> list[Step]:
    """The circle of handlers, each given as topic, dead letters and output."""
    policies = [policy(topic=topic, dead_letter=dead) for topic, dead, _ in handlers]
    return circle(policies, [output for _, _, output in handlers])


def test_what_no_handler_reads_does_not_come_round() -> None:
    assert way(("a", "a.dlq", "b"), ("c", "a.dlq", "b")) == []


def test_what_another_handler_reads_and_does_not_send_back_does_not_come_round() -> None:
    assert way(("a", "a.dlq", "b"), ("b", None, "c"), ("^.*dlq$", None, None)) == []


def test_a_handler_that_reads_its_own_results_is_a_circle() -> None:
    assert way(("a", None, "a")) == [Step(0, "output", "a", 0)]
    assert way(("x", None, None), ("^a", None, "a.done")) == [Step(1, "output", "a.done", 1)]


def test_a_pattern_reads_nothing_that_another_handler_names() -> None:
    assert way(("^a", None, "a.done"), ("a.done", None, None)) == []


def test_handlers_whose_dead_letters_meet_are_a_circle() -> None:
    assert way(("a", "b", None), ("b", "a", None)) == [
        Step(0, "dead_letter", "b", 1),
        Step(1, "dead_letter", "a", 0),
    ]


def test_the_shortest_circle_is_told() -> None:
    found = way(("a", None, "b"), ("b", None, "c"), ("c", "b", "a"))

    assert found == [Step(1, "output", "c", 2), Step(2, "dead_letter", "b", 1)]


TOPICS = st.sampled_from(["a", "b", "c", "d"])
MAYBE = st.none() | TOPICS


@given(st.lists(st.tuples(TOPICS, MAYBE, MAYBE), max_size=4, unique_by=lambda handler: handler[0]))
def test_a_circle_is_found_if_there_is_one(handlers: Handlers) -> None:
    def reached(topic: str, depth: int) -> set[str]:
        """The topics that something of a topic may come to."""
        found: set[str] = set()
        for own, dead, output in handlers:
            if own == topic and depth:
                for to in (dead, output):
                    found |= {to} | reached(to, depth - 1) if to is not None else set()
        return found

    found = way(*handlers)

    assert bool(found) == any(topic in reached(topic, 4) for topic, _, _ in handlers)
    for step, following in zip(found, [*found[1:], *found[:1]], strict=True):
        assert step.reader == following.handler
