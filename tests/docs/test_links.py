"""What the pages point at is there: links, files, tests, benchmarks, decision records."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page, as GitHub makes it from the headings."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@cache
def names_of_tests() -> frozenset[str]:
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
    return frozenset(found)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text_of(page))):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    rooms = r"(?:tests|kqworker|benchmarks|tools|docs|examples)"
    for name in re.findall(rf"`({rooms}/[\w./-]*)(?:::\w+)?`", text_of(page)):
        assert (ROOT / name).exists(), name


@every_page
def test_tests_that_are_named_exist(page: Path) -> None:
    for path, name in re.findall(r"`([\w/]+\.py::)?(test_\w+)`", text_of(page)):
        if path:
            assert f"def {name}(" in text_of(ROOT / path.removesuffix("::")), name
        assert name in names_of_tests(), name


@every_page
def test_benchmarks_that_are_named_exist(page: Path) -> None:
    for module in re.findall(r"python -m benchmarks[. ](\w+)", text_of(page)):
        assert (ROOT / "benchmarks" / f"{module}.py").exists(), module


def records() -> list[Path]:
    return sorted(DECISIONS.glob("[0-9]*.md"))


def test_the_index_has_every_decision_with_its_title() -> None:
    index = text_of(DECISIONS / "README.md")
    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", index, re.MULTILINE)

    titles = [text_of(record).splitlines()[0] for record in records()]
    assert [f"# {number} {title}" for number, _, title in rows] == titles
    assert [name for _, name, _ in rows] == [record.name for record in records()]


@pytest.mark.parametrize("record", records(), ids=lambda r: r.stem)
def test_a_decision_has_its_four_parts_on_one_page(record: Path) -> None:
    text = text_of(record)
    parts = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert parts == ["Context", "Decision", "Rejected", "Evidence"]
    assert len(text.splitlines()) <= 70
