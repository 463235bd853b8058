"""A supervisor that suspects what a former owner was on, in the words of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kqworker.core import commands as c
from kqworker.core import wards
from kqworker.core.completion import Completion, decode, encode
from kqworker.types import TopicPartition
from tests.core.supervised import TP, Supervised, offsets_of, those

FORMER = 7


@pytest.fixture(scope="module")
def suspects_first() -> Iterator[None]:
    """Nothing has a turn before suspects; test_turns.py is about that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wards, "TURN_SECONDS", 0.0)
        yield


def said(base: int = 0, **what: object) -> str:
    """The metadata of a former owner's commit."""
    text = encode(base, Completion(**{"owner": FORMER, **what}), 4095)  # type: ignore[arg-type]
    assert text is not None
    return text


class Suspecting(Supervised):
    """A supervisor that suspects, with workers that are ready; commits are answered by hand."""

    def __init__(self, *policies: object, workers: int = 2, **limits: object) -> None:
        super().__init__(*policies, workers=workers, suspects=True, **limits)  # type: ignore[arg-type]
        self.boot(*range(1, workers + 1))
        self.answered = 0

    @property
    def asked(self) -> c.Commit:
        """The commit that was asked for last."""
        return those(self.seen, c.Commit)[-1]

    def names(self, partition: TopicPartition = TP) -> tuple[int, ...]:
        """Whom the last commit of a partition names as begun."""
        for commit in reversed(those(self.seen, c.Commit)):
            if partition in commit.marks:
                return self.told(commit.marks[partition]).begun
        raise AssertionError("nothing was committed")

    @staticmethod
    def told(mark: c.Mark) -> Completion:
        found = decode(mark.metadata, mark.offset)
        assert found is not None
        return found

    def confirm(self, error: str | None = None) -> list[c.Command]:
        return self.committed(self.asked, error)

    def confirm_all(self) -> None:
        """Answer every commit that was not answered here before, and those that follow."""
        while self.answered < len(commits := those(self.seen, c.Commit)):
            self.answered += 1
            self.committed(commits[self.answered - 1])

    def sent(self) -> list[list[int]]:
        return [offsets_of(task) for task in self.tasks()]

    def accept_alone(self, worker: int = 1) -> list[c.Command]:
        """The suspect that runs is handled; the next one's commit is confirmed."""
        self.accept(self.seen_task(), worker=worker, seconds=0.01)
        return self.confirm()


def after_an_unclean_end(*policies: object, start: int = 0, **what: object) -> Suspecting:
    """Its first commit is confirmed; the former owner had handed out the offsets 0 to 2."""
    supervisor = Suspecting(*policies)
    supervisor.assign(start=start, metadata=said(start, **{"handed": 3, **what}))
    supervisor.confirm()
    return supervisor
