"""A table of times, against a plain dict."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kqworker.core.timers import LEAST, STALE, Deadlines

NAMES = st.sampled_from("abcdef")
TIMES = st.sampled_from([0.5, 1.0, 1.5, 2.0, 7.0])


class Histories(RuleBasedStateMachine):
    """Whatever is set, cleared and taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Deadlines[str] = Deadlines()
        self.model: dict[str, float] = {}

    @rule(what=NAMES, due=TIMES)
    def set(self, what: str, due: float) -> None:
        self.table.set(what, due)
        self.model[what] = due

    @rule(what=NAMES)
    def clear(self, what: str) -> None:
        self.table.clear(what)
        self.model.pop(what, None)

    @rule(now=TIMES)
    def due(self, now: float) -> None:
        found = list(self.table.due(now))
        expected = {what: at for what, at in self.model.items() if at <= now}
        assert set(found) == expected.keys() and len(found) == len(expected)
        assert [expected[what] for what in found] == sorted(expected.values())
        self.model = {what: at for what, at in self.model.items() if at > now}

    @invariant()
    def it_is_as_the_model(self) -> None:
        assert self.table.first == min(self.model.values(), default=None)
        for what in "abcdef":
            assert (self.table.get(what), what in self.table) == (
                self.model.get(what),
                what in self.model,
            )


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=100, deadline=None)


def test_what_may_be_taken_out_as_others_are_set() -> None:
    table: Deadlines[str] = Deadlines()
    table.set("a", 1.0)
    for what in table.due(1.0):
        assert what == "a"
        table.set("a", 2.0)
    assert table.first == 2.0


def test_times_that_are_set_again_and_again_take_no_room() -> None:
    table: Deadlines[int] = Deadlines()
    for n in range(10_000):
        table.set(n % 3, 600.0 + n)
    assert len(table._timers) <= STALE * 3 + LEAST + 1
    assert table.first == 600.0 + 9997
