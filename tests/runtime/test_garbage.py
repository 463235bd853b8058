"""Collections are rare while a supervisor runs, and as often as before when the last has ended."""

from __future__ import annotations

import gc

from kqworker.runtime.garbage import Collections


def test_collections_are_rare_until_the_last_of_overlapping_runs_has_ended() -> None:
    before = gc.get_threshold()
    collections = Collections()
    first, second = collections.rarely(), collections.rarely()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    meanwhile = gc.get_threshold()
    second.__exit__(None, None, None)

    assert meanwhile[0] > before[0]
    assert gc.get_threshold() == before
