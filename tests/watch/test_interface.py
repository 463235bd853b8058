"""Several watchers of one run."""

from __future__ import annotations

from typing import Any

from kqworker.watch.interface import Several, Watch

# What a watcher is told, with an argument for each.
CALLS = ("started", "ready", "tick", "report", "stopping", "finished")


class Recorder:
    def __init__(self, name: str, heard: list[tuple[str, str, object]]) -> None:
        self._name = name
        self._heard = heard

    def __getattr__(self, call: str) -> Any:  # any of CALLS
        return lambda argument: self._heard.append((self._name, call, argument))


def test_each_watcher_is_told_everything_in_their_order() -> None:
    heard: list[tuple[str, str, object]] = []
    several: Any = Several(Recorder("a", heard), Recorder("b", heard))
    told = [name for name in vars(Watch) if not name.startswith("_")]
    assert sorted(told) == sorted(CALLS)
    for number, call in enumerate(CALLS):
        getattr(several, call)(number)

    assert heard == [(name, call, n) for n, call in enumerate(CALLS) for name in "ab"]


def test_without_a_watcher_nobody_is_told() -> None:
    nobody: Any = Several()

    assert [getattr(nobody, call)(None) for call in CALLS] == [None] * len(CALLS)
