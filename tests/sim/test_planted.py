"""A simulator that lets a planted fault live proves nothing: each of them must be caught.

With 2,000 seeds asked for, as `make test` does, all faults are planted, otherwise one for
each invariant. `python -m tests.sim.planted` plants all of them.
"""

from __future__ import annotations

from collections import Counter

import pytest

from kqworker.core import commands as c
from tests.sim.faults import FAULTS, Fault
from tests.sim.planted import CAUGHT, Trial, attempt_all, places
from tests.sim.test_simulation import SEEDS

INVARIANTS = range(1, 16)
EVERY = SEEDS >= 2000
FIRST = {fault.breaks: fault for fault in reversed(FAULTS)}
CHOSEN = FAULTS if EVERY else tuple(FIRST[number] for number in INVARIANTS)


@pytest.fixture(scope="module")
def trials() -> dict[str, Trial]:
    return {trial.fault.name: trial for trial in attempt_all(CHOSEN)}


@pytest.mark.timeout(1200)  # the first of them waits for all
@pytest.mark.parametrize("name", [fault.name for fault in CHOSEN])
def test_a_planted_fault_is_caught(name: str, trials: dict[str, Trial]) -> None:
    assert trials[name].caught, str(trials[name])


def test_two_faults_for_each_invariant_are_caught_by_its_own_check(
    trials: dict[str, Trial],
) -> None:
    if not EVERY:
        pytest.skip("only with all faults planted: KQWORKER_SIM_SEEDS=2000")
    own = Counter(trial.fault.breaks for trial in trials.values() if trial.code == CAUGHT)
    assert {number: own[number] for number in INVARIANTS if own[number] < 2} == {}


def test_there_is_a_fault_for_each_command() -> None:
    commands = {kind.__name__ for kind in c.Command.__args__}
    assert commands - {fault.breaks for fault in FAULTS} == set()


def test_there_are_two_faults_for_each_invariant() -> None:
    planted = Counter(fault.breaks for fault in FAULTS)
    assert {number: planted[number] for number in INVARIANTS if planted[number] < 2} == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_text_of_a_fault_stands_exactly_once(fault: Fault) -> None:
    assert len(places(fault)) == 1
