"""Who may change what: the fields of an epoch, a task in flight and a worker have verbs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kqworker.core
from kqworker.core.epochs import Epoch
from kqworker.core.in_flight import InFlightTask
from kqworker.core.pool import Worker

ROOM = Path(kqworker.core.__file__).parent
OWNED = {
    "epochs.py": ("epoch", frozenset(Epoch.__slots__)),
    "in_flight.py": ("flight", frozenset(InFlightTask.__slots__)),
    "pool.py": ("worker", frozenset(Worker.__slots__)),
}


def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield every attribute that is assigned, or an item of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            target: ast.expr = node
            while isinstance(target, ast.Subscript):
                target = target.value
            if isinstance(target, ast.Attribute):
                yield target


def from_outside(source: str, owner: str) -> list[str]:
    """Return the assignments in a module to fields of what `owner` defines."""
    found = []
    for target in assigned(ast.parse(source)):
        holder = target.value
        name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
        whose, fields = OWNED[owner]
        if name == whose and target.attr in fields:
            found.append(ast.unparse(target))
    return found


@pytest.mark.parametrize("owner", OWNED)
def test_only_its_own_module_sets_a_field(owner: str) -> None:
    others = [path for path in ROOM.glob("*.py") if path.name != owner]
    assert len(others) > 20

    found = {path.name: from_outside(path.read_text(), owner) for path in others}
    assert {name: targets for name, targets in found.items() if targets} == {}


@pytest.mark.parametrize(
    "line",
    [
        "epoch.busy += 1",
        "epoch.begun, x = (), 1",
        "self._chosen.epoch.told = ()",
        "epoch.attempts[3] = 1",
        "for epoch.live in x: pass",
        "del epoch.attempts[3]",
    ],
)
def test_each_way_to_set_one_is_seen(line: str) -> None:
    assert len(from_outside(line, "epochs.py")) == 1
