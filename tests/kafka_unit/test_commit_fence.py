"""What may be committed, held against a broker that accepts everything."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kqworker.core.commands import Mark
from kqworker.core.events import Committed, Start
from kqworker.kafka.commit_fence import BACKWARDS, BEYOND, NOT_OWNED, CommitFence
from kqworker.types import TopicPartition

TP = TopicPartition("t", 0)
OTHER = TopicPartition("t", 1)


def fence(start: int | None = None, reached: int | None = None) -> CommitFence:
    made = CommitFence()
    made.begin(TP, Start(start, "map"))
    if reached is not None:
        made.reach(TP, reached)
    return made


def test_a_mark_within_bounds_is_sent() -> None:
    made = fence(start=5, reached=9)

    assert made.ask({TP: Mark(9, "m")}) == ({TP: Mark(9, "m")}, [])
    assert made.busy
    assert made.answered(TP, Mark(9, "m"), ok=True) is None
    assert not made.busy
    assert made.ask({TP: Mark(9, "m")}) == ({}, [Committed({TP: Mark(9, "m")})])


def test_what_is_out_of_bounds_is_answered_with_the_reason() -> None:
    made = fence(start=5, reached=9)
    _, backwards = made.ask({TP: Mark(4, "")})
    _, beyond = made.ask({TP: Mark(10, "")})
    _, unowned = made.ask({OTHER: Mark(1, "")})

    assert backwards == [Committed({TP: Mark(4, "")}, BACKWARDS)]
    assert beyond == [Committed({TP: Mark(10, "")}, BEYOND)]
    assert unowned == [Committed({OTHER: Mark(1, "")}, NOT_OWNED)]


def test_where_nothing_was_handed_over_nothing_is_committed() -> None:
    assert fence().ask({TP: Mark(0, "")}) == ({}, [Committed({TP: Mark(0, "")}, BEYOND)])


def test_the_same_again_is_answered_and_not_sent() -> None:
    made = fence(start=5, reached=9)

    assert made.ask({TP: Mark(5, "map")}) == ({}, [Committed({TP: Mark(5, "map")})])
    assert made.ask({TP: Mark(5, "other")})[0] == {TP: Mark(5, "other")}


def test_the_same_again_is_sent_after_a_failure() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(9, "")})
    made.answered(TP, Mark(9, ""), ok=False)

    assert made.ask({TP: Mark(9, "")}) == ({TP: Mark(9, "")}, [])


def test_what_failed_may_have_been_done_so_nothing_goes_below_it() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(8, "")})
    made.answered(TP, Mark(8, ""), ok=False)

    assert made.ask({TP: Mark(7, "")}) == ({}, [Committed({TP: Mark(7, "")}, BACKWARDS)])


def test_the_newest_waits_for_what_is_on_its_way() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(1, "")})
    for offset in (2, 3):
        assert made.ask({TP: Mark(offset, "")}) == ({}, [])

    assert made.answered(TP, Mark(7, ""), ok=True) is None, "an answer to something else"
    assert made.answered(TP, Mark(1, ""), ok=True) == Mark(3, "")
    assert made.answered(TP, Mark(3, ""), ok=True) is None


def test_the_same_again_while_it_is_on_its_way_waits_for_its_answer() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(1, "")})

    assert made.ask({TP: Mark(1, "")}) == ({}, [])
    assert made.answered(TP, Mark(1, ""), ok=True) is None


def test_the_next_epoch_waits_for_what_is_on_its_way_of_the_former() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(5, "former")})
    made.end([TP])
    made.begin(TP, Start(3))
    made.reach(TP, 4)

    assert made.ask({TP: Mark(4, "next")}) == ({}, [])
    assert made.answered(TP, Mark(5, "former"), ok=True) == Mark(4, "next")
    made.answered(TP, Mark(4, "next"), ok=True)
    assert made.ask({TP: Mark(4, "next")}) == ({}, [Committed({TP: Mark(4, "next")})])


def test_what_waits_when_the_epoch_ends_is_answered() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(1, "")})
    made.ask({TP: Mark(2, "")})

    assert made.end([TP]) == [Committed({TP: Mark(2, "")}, NOT_OWNED)]
    assert made.answered(TP, Mark(1, ""), ok=True) is None
    assert made.end([TP]) == []


def test_the_last_commit_takes_what_waits_with_it() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(1, "")})
    made.ask({TP: Mark(2, "")})

    assert made.last({}, [TP]) == ({TP: Mark(2, "")}, [])
    assert made.last({TP: Mark(1, "")}, [TP]) == ({}, [Committed({TP: Mark(1, "")}, BACKWARDS)])
    assert made.last({TP: Mark(3, "")}, [TP])[0] == {TP: Mark(3, "")}


def test_the_last_commit_replaces_what_waits() -> None:
    made = fence(reached=9)
    made.ask({TP: Mark(1, "")})
    made.ask({TP: Mark(2, "")})

    assert made.last({TP: Mark(5, "")}, [TP]) == ({TP: Mark(5, "")}, [])
    made.settle(TP, Mark(5, ""), ok=True)
    assert made.answered(TP, Mark(1, ""), ok=True) is None
    assert made.ask({TP: Mark(5, "")}) == ({}, [Committed({TP: Mark(5, "")})])


class OneMember(RuleBasedStateMachine):
    """A broker that takes everything, as Kafka does, and answers late."""

    def __init__(self) -> None:
        super().__init__()
        self.fence = CommitFence()
        self.epoch = 0
        self.owned = False
        self.reached = 0
        self.stored: list[tuple[int, int]] = []  # the epoch that sent it, and the offset
        self.under_way: list[tuple[int, Mark]] = []
        self.unanswered: set[int] = set()

    @precondition(lambda self: not self.owned)
    @rule(start=st.none() | st.integers(0, 3))
    def begin(self, start: int | None) -> None:
        self.epoch += 1
        self.owned = True
        self.floor = self.reached = start or 0
        self.fence.begin(TP, Start(start))
        self.fence.reach(TP, self.reached)

    @precondition(lambda self: self.owned)
    @rule(count=st.integers(1, 5))
    def hand_over(self, count: int) -> None:
        self.reached += count
        self.fence.reach(TP, self.reached)

    @rule(offset=st.integers(0, 20), metadata=st.sampled_from(["", "m"]))
    def ask(self, offset: int, metadata: str) -> None:
        send, answers = self.fence.ask({TP: Mark(offset, metadata)})
        if not answers:
            self.unanswered.add(offset)
        for mark in send.values():
            self.send(mark)

    @precondition(lambda self: self.under_way)
    @rule(ok=st.booleans())
    def answer(self, ok: bool) -> None:
        epoch, mark = self.under_way.pop(0)
        if ok:
            self.stored.append((epoch, mark.offset))
        # The answer to a mark stands for those that it took the place of.
        self.unanswered = {o for o in self.unanswered if o > mark.offset}
        following = self.fence.answered(TP, mark, ok)
        if following is not None:
            self.send(following)

    @precondition(lambda self: self.owned)
    @rule(offset=st.integers(0, 20))
    def release(self, offset: int) -> None:
        send, _ = self.fence.last({TP: Mark(offset, "")}, [TP])
        for mark in send.values():
            self.check(mark)
            # It is waited for, so its answer is there.
            self.unanswered = {o for o in self.unanswered if o > mark.offset}
        self.end()

    @precondition(lambda self: self.owned)
    @rule()
    def end(self) -> None:
        on_its_way = {mark.offset for _, mark in self.under_way}
        for answer in self.fence.end([TP]):
            # This answer, too, stands for those whose place its mark took.
            (mark,) = answer.marks.values()
            self.unanswered = {o for o in self.unanswered if o > mark.offset or o in on_its_way}
        self.owned = False

    def send(self, mark: Mark) -> None:
        self.check(mark)
        self.under_way.append((self.epoch, mark))

    def check(self, mark: Mark) -> None:
        assert self.owned, "a commit of what is not owned"
        assert self.floor <= mark.offset <= self.reached
        self.floor = mark.offset

    @invariant()
    def one_is_on_its_way_at_a_time(self) -> None:
        assert len(self.under_way) <= 1
        assert self.fence.busy == bool(self.under_way)

    @invariant()
    def commits_of_an_epoch_never_go_back(self) -> None:
        assert self.stored == sorted(self.stored)

    @invariant()
    def nothing_stays_unanswered(self) -> None:
        if not self.under_way:
            assert not self.unanswered


TestOneMember = OneMember.TestCase
