"""How a run ends: the steps, the time of each, and who may shorten it."""

from __future__ import annotations

import pytest

from kqworker.core.commands import End
from kqworker.core.ending import (
    COMMIT_SECONDS,
    DEATH_SECONDS,
    DISMISS_SECONDS,
    PHASES,
    Ending,
    Phase,
)
from kqworker.core.epochs import Epochs
from kqworker.core.events import Start
from kqworker.types import Failure
from tests.core.supervised import BOOM, OTHER, TP

CRASH = Failure("WorkerDied", "signal 9")


def in_phase(phase: Phase, *, grace: float = 30.0, now: float = 0.0) -> Ending:
    ending = Ending()
    if phase is not Phase.RUNNING:
        ending.begin(End.CLEAN, None, grace, now)
    while ending.phase is not phase:
        ending.advance(now)
    return ending


def owning(watermark: int) -> Epochs:
    """Epochs with partition 0, finished up to here."""
    epochs = Epochs()
    epochs.begin(0, TP, 0, Start(watermark))
    return epochs


# -- the steps


def test_the_steps_come_in_their_order_each_with_its_time() -> None:
    ending = Ending()
    assert (ending.phase, ending.deadline) == (Phase.RUNNING, None)
    ending.begin(End.CLEAN, None, grace=30.0, now=1.0)
    seen = [(ending.phase, ending.deadline)]
    for now in (2.0, 3.0, 4.0):
        ending.advance(now)
        seen.append((ending.phase, ending.deadline))
    assert seen == [
        (Phase.DRAINING, 31.0),
        (Phase.COMMITTING, 2.0 + COMMIT_SECONDS),
        (Phase.DISMISSING, 3.0 + DISMISS_SECONDS),
        (Phase.OVER, None),
    ]
    assert ending.visited == {(phase, following) for phase, (following, _) in PHASES.items()}
    assert (ending.end, ending.failure) == (End.CLEAN, None)


def test_every_way_leads_to_the_end() -> None:
    phase, steps = Phase.RUNNING, set()
    while phase is not Phase.OVER:
        steps.add(phase)
        phase = PHASES[phase][0]
    assert steps == set(Phase) - {Phase.OVER}


# -- requests


def test_only_the_first_request_begins_the_end() -> None:
    ending = Ending()
    assert ending.begin(End.CLEAN, None, 30.0, now=0.0)
    assert not ending.begin(End.CLEAN, None, 30.0, now=1.0)


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.DISMISSING])
def test_a_later_request_can_shorten_the_time_and_not_stretch_it(phase: Phase) -> None:
    ending = in_phase(phase)
    deadline = ending.deadline
    ending.begin(End.CLEAN, None, grace=1000.0, now=1.0)
    assert ending.deadline == deadline
    ending.begin(End.CLEAN, None, grace=2.0, now=1.0)
    assert ending.deadline == 3.0


def test_a_later_request_leaves_the_commits_their_time() -> None:
    ending = in_phase(Phase.COMMITTING)
    ending.begin(End.CLEAN, None, grace=0.0, now=1.0)
    assert ending.deadline == COMMIT_SECONDS


def test_a_later_request_leaves_a_kill_its_time() -> None:
    ending = in_phase(Phase.DRAINING, grace=0.0)
    assert ending.late(1.0)
    ending.begin(End.CLEAN, None, grace=0.0, now=2.0)
    assert ending.deadline == 1.0 + DEATH_SECONDS


def test_a_request_after_the_end_is_nothing() -> None:
    ending = in_phase(Phase.OVER)
    assert not ending.begin(End.CLEAN, None, 0.0, now=1.0)
    assert (ending.phase, ending.deadline) == (Phase.OVER, None)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_failure_outweighs_a_clean_end_whenever_it_comes(phase: Phase) -> None:
    ending = in_phase(phase)
    ending.begin(End.CRASH_LOOP, CRASH, 30.0, now=1.0)
    assert (ending.end, ending.failure) == (End.CRASH_LOOP, CRASH)


def test_the_first_failure_is_told() -> None:
    ending = Ending()
    ending.begin(End.BOOT_FAILED, BOOM, 30.0, now=0.0)
    ending.begin(End.CRASH_LOOP, CRASH, 30.0, now=1.0)
    ending.begin(End.CLEAN, None, 30.0, now=2.0)
    ending.abandoned("something")
    assert (ending.end, ending.failure) == (End.BOOT_FAILED, BOOM)


def test_work_left_undone_makes_a_clean_end_unclean() -> None:
    ending = in_phase(Phase.DRAINING)
    ending.abandoned("first")
    ending.abandoned("second")
    assert (ending.end, ending.failure) == (End.ABANDONED, Failure("Abandoned", "first"))


# -- time


def test_a_phase_is_late_from_its_deadline_on() -> None:
    ending = in_phase(Phase.DRAINING, grace=30.0)
    assert [ending.late(now) for now in (29.9, 30.0, 30.1)] == [False, True, True]


def test_a_run_is_never_late() -> None:
    assert not Ending().late(1e9)


def test_who_outlasts_a_kill_is_waited_for_so_long() -> None:
    ending = in_phase(Phase.DRAINING, grace=30.0)
    ending.late(30.0)
    assert ending.deadline == 30.0 + DEATH_SECONDS
    ending.late(30.0 + DEATH_SECONDS - 0.1)
    assert not ending.hopeless

    assert ending.late(30.0 + DEATH_SECONDS)
    assert ending.hopeless
    assert ending.deadline is None
    assert ending.late(1e9)


def test_each_phase_has_its_own_patience() -> None:
    ending = in_phase(Phase.DRAINING, grace=0.0)
    ending.late(0.0)
    ending.late(DEATH_SECONDS)
    ending.advance(DEATH_SECONDS)
    assert not ending.hopeless
    assert not ending.late(DEATH_SECONDS)
    assert ending.deadline == DEATH_SECONDS + COMMIT_SECONDS


# -- catching up


def test_a_run_without_targets_never_catches_up() -> None:
    assert not Ending().caught_up(owning(5))
    assert Ending().remaining(owning(5)) is None


def test_a_run_has_caught_up_when_every_target_is_reached() -> None:
    ending = Ending()
    ending.catch_up({TP: 5})
    assert not ending.caught_up(owning(4))
    assert ending.caught_up(owning(5))
    assert ending.caught_up(owning(6))


def test_a_target_that_is_not_owned_is_not_reached() -> None:
    ending = Ending()
    ending.catch_up({TP: 5, OTHER: 0})
    assert not ending.caught_up(owning(5))
    assert ending.remaining(owning(3)) == 2


def test_newer_targets_replace_the_older() -> None:
    ending = Ending()
    ending.catch_up({TP: 5, OTHER: 1})
    ending.catch_up({TP: 6})
    assert ending.remaining(owning(5)) == 1
    assert ending.caught_up(owning(6))


def test_what_remains_is_unknown_while_nothing_is_owned() -> None:
    ending = Ending()
    ending.catch_up({TP: 5})
    assert ending.remaining(Epochs()) is None


def test_of_no_targets_nothing_remains() -> None:
    ending = Ending()
    ending.catch_up({})
    assert ending.remaining(Epochs()) == 0
    assert ending.caught_up(Epochs())


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.RUNNING])
def test_what_ends_already_does_not_end_for_having_caught_up(phase: Phase) -> None:
    ending = in_phase(phase)
    ending.catch_up({})
    assert not ending.caught_up(Epochs())
