"""The core against thousands of simulated worlds, and what these must have reached."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kqworker.core import commands as c
from kqworker.core.pool import TRANSITIONS
from kqworker.core.shutdown import PHASES
from tests.sim.directed import SCENES
from tests.sim.planted import ROOT
from tests.sim.runner import Result, replay, run_many, run_one

# Seeds beyond the first few thousand that have found something: run with each of them.
FOUND = {
    7330487: "what a paused partition had held left room for others when it had ended",
    26001610: "a pause came to its member behind the next assignment, and stayed for ever",
    26002720: "the same, where another member had been given the partition",
}
SEEDS = int(os.environ.get("KQWORKER_SIM_SEEDS", "500"))


@pytest.fixture(scope="module")
def result() -> Result:
    return run_many(0, SEEDS)


@pytest.mark.timeout(120 + SEEDS)
def test_no_seed_breaks_a_promise(result: Result) -> None:
    assert not result.failures, "\n".join(text for _, text in result.failures)
    assert result.seeds == SEEDS


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_has_found_something_breaks_no_promise(seed: int) -> None:
    _, error = run_one(seed)
    assert error is None, FOUND[seed]


@pytest.mark.timeout(600)  # some take many seconds even where nothing else runs
@pytest.mark.parametrize("scene", SCENES)
def test_no_scene_breaks_a_promise(scene: str) -> None:
    broken = {replay(n, scene): e for n in range(50) if (e := run_one(n, scene=scene)[1])}
    assert broken == {}


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


STORIES = """
import hashlib
from tests.sim.runner import run_one
for seed in range(60):
    story = "\\n".join(run_one(seed, tell=True)[0].story)
    print(seed, len(story), hashlib.sha256(story.encode()).hexdigest())
"""


def test_a_seed_is_the_same_in_every_process() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", STORIES],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    ]
    assert told[0].splitlines() == told[1].splitlines()
    assert len(told[0].splitlines()) == 60
