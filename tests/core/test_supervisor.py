"""What the supervisor promises, one fact each: given a state, when this happens, then that."""

from __future__ import annotations

from kqworker.core import commands as c
from kqworker.core import events as e
from tests.core.supervised import TP, running, the


def test_a_position_does_not_commit_past_what_a_draining_epoch_has_passed_over() -> None:
    supervisor = running()
    supervisor.fetch(0)

    supervisor.revoke()
    supervisor.fetch(1, 2)
    supervisor.on(e.Positions({TP: 3}))
    commands = supervisor.accept(supervisor.seen_task())

    assert the(commands, c.Release).marks[TP].offset == 1
