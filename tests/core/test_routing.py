"""Which handler a topic belongs to."""

from __future__ import annotations

import pytest

from kqworker.core.routing import Routes
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
