"""The architecture page names what is there, and the diagrams are those of the tables."""

from __future__ import annotations

import re
from pathlib import Path

from kqworker.core.pool import Signal, State
from kqworker.core.shutdown import Phase
from tools import diagrams

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "kqworker"


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def named_modules() -> list[str]:
    """Return the modules of the table of rooms, as dotted names."""
    _, table = ARCHITECTURE.read_text(encoding="utf-8").split("| room | what it does | modules |")
    table, _ = table.split("## Where do I change")
    found = []
    for line in table.splitlines():
        if line.startswith("| `"):
            _, room, _, modules, _ = line.split("|")
            (package,) = in_backticks(room)
            found += [f"{package}.{module}" for module in in_backticks(modules)]
    return found


def modules_of_the_tree() -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    ]


def test_every_module_is_in_the_table_of_rooms_once_and_nothing_else_is() -> None:
    assert sorted(named_modules()) == sorted(modules_of_the_tree())


def test_every_package_is_a_room() -> None:
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")
    }
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert packages == set(re.findall(r"^\| `(kqworker[\w.]*)` \|", text, re.MULTILINE))


def test_what_is_to_be_changed_is_where_the_page_says() -> None:
    _, table = ARCHITECTURE.read_text(encoding="utf-8").split("## Where do I change")
    rows = [line.split("|") for line in table.splitlines() if "`" in line]
    assert rows
    for _, _, where, tests, _ in rows:
        places = [PACKAGE / name for name in in_backticks(where) if name.endswith((".py", "/"))]
        assert places, where
        for place in [*places, *(ROOT / name for name in in_backticks(tests))]:
            assert place.exists(), place


def test_the_pages_diagrams_are_made_from_the_state_tables() -> None:
    written = diagrams.PAGE.read_text(encoding="utf-8")

    assert written == diagrams.page(), "run: .venv/bin/python tools/diagrams.py"


def test_every_state_signal_and_phase_has_its_meaning() -> None:
    assert set(diagrams.STATES) == set(State)
    assert set(diagrams.SIGNALS) == set(Signal)
    assert set(diagrams.PHASE_MEANINGS) == set(Phase)
