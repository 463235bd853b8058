"""How a run ends: the steps, the time of each, and who may shorten it."""

from __future__ import annotations

import pytest

from kqworker.core.commands import End
from kqworker.core.epochs import Epochs
from kqworker.core.events import Start
from kqworker.core.shutdown import (
    COMMIT_SECONDS,
    DEATH_SECONDS,
    DISMISS_SECONDS,
    PHASES,
    Phase,
    Shutdown,
)
from kqworker.types import Failure
from tests.core.supervised import BOOM, OTHER, TP

CRASH = Failure("WorkerDied", "signal 9")


def in_phase(phase: Phase, *, grace: float = 30.0, now: float = 0.0) -> Shutdown:
    shutdown = Shutdown()
    if phase is not Phase.RUNNING:
        shutdown.begin(End.CLEAN, None, grace, now)
    while shutdown.phase is not phase:
        shutdown.advance(now)
    return shutdown


def owning(watermark: int) -> Epochs:
    """Epochs with partition 0, finished up to here."""
    epochs = Epochs()
    epochs.begin(0, TP, 0, Start(watermark))
    return epochs


# -- the steps


def test_the_steps_come_in_their_order_each_with_its_time() -> None:
    shutdown = Shutdown()
    assert (shutdown.phase, shutdown.deadline) == (Phase.RUNNING, None)
    shutdown.begin(End.CLEAN, None, grace=30.0, now=1.0)
    seen = [(shutdown.phase, shutdown.deadline)]
    for now in (2.0, 3.0, 4.0):
        shutdown.advance(now)
        seen.append((shutdown.phase, shutdown.deadline))
    assert seen == [
        (Phase.DRAINING, 31.0),
        (Phase.COMMITTING, 2.0 + COMMIT_SECONDS),
        (Phase.DISMISSING, 3.0 + DISMISS_SECONDS),
        (Phase.OVER, None),
    ]
    assert shutdown.visited == {(phase, following) for phase, (following, _) in PHASES.items()}
    assert (shutdown.end, shutdown.failure) == (End.CLEAN, None)


def test_every_way_leads_to_the_end() -> None:
    phase, steps = Phase.RUNNING, set()
    while phase is not Phase.OVER:
        steps.add(phase)
        phase = PHASES[phase][0]
    assert steps == set(Phase) - {Phase.OVER}


# -- requests


def test_only_the_first_request_begins_the_end() -> None:
    shutdown = Shutdown()
    assert shutdown.begin(End.CLEAN, None, 30.0, now=0.0)
    assert not shutdown.begin(End.CLEAN, None, 30.0, now=1.0)


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.DISMISSING])
def test_a_later_request_can_shorten_the_time_and_not_stretch_it(phase: Phase) -> None:
    shutdown = in_phase(phase)
    deadline = shutdown.deadline
    shutdown.begin(End.CLEAN, None, grace=1000.0, now=1.0)
    assert shutdown.deadline == deadline
    shutdown.begin(End.CLEAN, None, grace=2.0, now=1.0)
    assert shutdown.deadline == 3.0


def test_a_later_request_leaves_the_commits_their_time() -> None:
    shutdown = in_phase(Phase.COMMITTING)
    shutdown.begin(End.CLEAN, None, grace=0.0, now=1.0)
    assert shutdown.deadline == COMMIT_SECONDS


def test_a_later_request_leaves_a_kill_its_time() -> None:
    shutdown = in_phase(Phase.DRAINING, grace=0.0)
    assert shutdown.late(1.0)
    shutdown.begin(End.CLEAN, None, grace=0.0, now=2.0)
    assert shutdown.deadline == 1.0 + DEATH_SECONDS


def test_a_request_after_the_end_is_nothing() -> None:
    shutdown = in_phase(Phase.OVER)
    assert not shutdown.begin(End.CLEAN, None, 0.0, now=1.0)
    assert (shutdown.phase, shutdown.deadline) == (Phase.OVER, None)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_failure_outweighs_a_clean_end_whenever_it_comes(phase: Phase) -> None:
    shutdown = in_phase(phase)
    shutdown.begin(End.CRASH_LOOP, CRASH, 30.0, now=1.0)
    assert (shutdown.end, shutdown.failure) == (End.CRASH_LOOP, CRASH)


def test_the_first_failure_is_told() -> None:
    shutdown = Shutdown()
    shutdown.begin(End.BOOT_FAILED, BOOM, 30.0, now=0.0)
    shutdown.begin(End.CRASH_LOOP, CRASH, 30.0, now=1.0)
    shutdown.begin(End.CLEAN, None, 30.0, now=2.0)
    shutdown.abandoned("something")
    assert (shutdown.end, shutdown.failure) == (End.BOOT_FAILED, BOOM)


def test_work_left_undone_makes_a_clean_end_unclean() -> None:
    shutdown = in_phase(Phase.DRAINING)
    shutdown.abandoned("first")
    shutdown.abandoned("second")
    assert (shutdown.end, shutdown.failure) == (End.ABANDONED, Failure("Abandoned", "first"))


# -- time


def test_a_phase_is_late_from_its_deadline_on() -> None:
    shutdown = in_phase(Phase.DRAINING, grace=30.0)
    assert [shutdown.late(now) for now in (29.9, 30.0, 30.1)] == [False, True, True]


def test_a_run_is_never_late() -> None:
    assert not Shutdown().late(1e9)


def test_who_outlasts_a_kill_is_waited_for_so_long() -> None:
    shutdown = in_phase(Phase.DRAINING, grace=30.0)
    shutdown.late(30.0)
    assert shutdown.deadline == 30.0 + DEATH_SECONDS
    shutdown.late(30.0 + DEATH_SECONDS - 0.1)
    assert not shutdown.hopeless

    assert shutdown.late(30.0 + DEATH_SECONDS)
    assert shutdown.hopeless
    assert shutdown.deadline is None
    assert shutdown.late(1e9)


def test_each_phase_has_its_own_patience() -> None:
    shutdown = in_phase(Phase.DRAINING, grace=0.0)
    shutdown.late(0.0)
    shutdown.late(DEATH_SECONDS)
    shutdown.advance(DEATH_SECONDS)
    assert not shutdown.hopeless
    assert not shutdown.late(DEATH_SECONDS)
    assert shutdown.deadline == DEATH_SECONDS + COMMIT_SECONDS


# -- catching up


def test_a_run_without_targets_never_catches_up() -> None:
    assert not Shutdown().caught_up(owning(5))
    assert Shutdown().remaining(owning(5)) is None


def test_a_run_has_caught_up_when_every_target_is_reached() -> None:
    shutdown = Shutdown()
    shutdown.catch_up({TP: 5})
    assert not shutdown.caught_up(owning(4))
    assert shutdown.caught_up(owning(5))
    assert shutdown.caught_up(owning(6))


def test_a_target_that_is_not_owned_is_not_reached() -> None:
    shutdown = Shutdown()
    shutdown.catch_up({TP: 5, OTHER: 0})
    assert not shutdown.caught_up(owning(5))
    assert shutdown.remaining(owning(3)) == 2


def test_newer_targets_replace_the_older() -> None:
    shutdown = Shutdown()
    shutdown.catch_up({TP: 5, OTHER: 1})
    shutdown.catch_up({TP: 6})
    assert shutdown.remaining(owning(5)) == 1
    assert shutdown.caught_up(owning(6))


def test_what_remains_is_unknown_while_nothing_is_owned() -> None:
    shutdown = Shutdown()
    shutdown.catch_up({TP: 5})
    assert shutdown.remaining(Epochs()) is None


def test_of_no_targets_nothing_remains() -> None:
    shutdown = Shutdown()
    shutdown.catch_up({})
    assert shutdown.remaining(Epochs()) == 0
    assert shutdown.caught_up(Epochs())


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.RUNNING])
def test_what_ends_already_does_not_end_for_having_caught_up(phase: Phase) -> None:
    shutdown = in_phase(phase)
    shutdown.catch_up({})
    assert not shutdown.caught_up(Epochs())
