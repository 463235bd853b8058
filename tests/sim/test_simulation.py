"""The core against thousands of simulated worlds, and what these must have reached."""

from __future__ import annotations

import os

import pytest

from kqworker.core import commands as c
from kqworker.core.ending import PHASES
from kqworker.core.pool import TRANSITIONS
from tests.sim.runner import Result, run_many, run_one

SEEDS = int(os.environ.get("KQWORKER_SIM_SEEDS", "500"))


@pytest.fixture(scope="module")
def result() -> Result:
    return run_many(0, SEEDS)


@pytest.mark.timeout(120 + SEEDS)
def test_no_seed_breaks_a_promise(result: Result) -> None:
    assert not result.failures, "\n".join(text for _, text in result.failures)
    assert result.seeds == SEEDS


def test_every_row_of_every_state_table_is_reached(result: Result) -> None:
    if SEEDS < 500:
        pytest.skip("500 seeds reach them all; KQWORKER_SIM_SEEDS asks for fewer")
    phases = {(phase, following) for phase, (following, _) in PHASES.items()}
    assert set(TRANSITIONS) - result.visited["pool"] == set()
    assert phases - result.visited["ending"] == set()


def test_every_command_is_given(result: Result) -> None:
    if SEEDS < 500:
        pytest.skip("500 seeds give them all; KQWORKER_SIM_SEEDS asks for fewer")
    assert result.seen == {kind.__name__ for kind in c.Command.__args__}


def test_a_seed_is_the_same_each_time() -> None:
    stories = []
    for _ in range(2):
        world, error = run_one(7, tell=True)
        assert error is None
        stories.append(world.story)
    assert stories[0] == stories[1]
    assert stories[0] and len(stories[0]) > 100
