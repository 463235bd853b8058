"""Every error that a user can meet stands on the page of errors, in the code's own words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kqworker.exits import Exit
from kqworker.watch.report_log import LINES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kqworker"
PAGE = ROOT / "docs" / "reference" / "errors.md"

# Calls whose text a user reads, and where that is so only in some modules.
RAISED = {"ConfigError", "BrokerError", "WorkerLost", "UsageError", "DecodeError", "refusal"}
IN_SOME = {
    "TypeError": {
        "app",
        "handler",
        "forms",
        "decoding",
        "encoding",
        "unrun",
        "reading",
        "called",
        "validated",
    },
    "ValueError": {"retry", "settings", "finite"},
    "RuntimeError": {"context"},
    "TimeoutError": {"delivery"},
}
# A user never reads these alone: they guard kqworker against itself, or stand within another.
UNREACHABLE = {
    "the run names no app",
    "what was pickled is a …, not an App",
    "Encoding objects of type … is unsupported",
}


def template(node: ast.expr) -> str:
    """Return a text with … for whatever is not known before."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(map(template, node.values))
        case ast.BinOp(op=ast.Add()):
            return template(node.left) + template(node.right)
    return "…"


def comparable(text: str) -> str:
    """Return what of a text must be the same on the page and in the code."""
    text = " ".join(re.sub(r"(…[,:]? ?)+(?=…)", "", text).split())
    return text.strip("…:;,.` ")


def says_something(text: str) -> bool:
    return len(re.findall(r"[a-z]", text)) > 7


@cache
def in_the_code() -> frozenset[str]:
    """Return every text of the package."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                found.add(comparable(template(node)))
                # Forms that are filled in by other means.
                found.add(comparable(re.sub(r"%s|\{[\w.:]*\}", "…", template(node))))
    return frozenset(found)


def raised() -> Iterator[tuple[str, str]]:
    """Yield where an error is raised, and its text."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in RAISED or path.stem in IN_SOME.get(name, ()):
                text = comparable(template(node.args[0]))
                if says_something(text) and text not in UNREACHABLE:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


@cache
def on_the_page() -> frozenset[str]:
    found = set()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cell = re.split(r"(?<!\\) \| ", line.removeprefix("| "))[0].replace("\\|", "|")
            # A text may itself have a word in backticks.
            found |= {comparable(t) for t in cell.split("`, `")}
    return frozenset(found)


def test_every_error_that_is_raised_is_on_the_page() -> None:
    missing = {where: text for where, text in raised() if text not in on_the_page()}

    assert not missing


def test_what_the_page_quotes_is_in_the_code() -> None:
    quoted = {text for text in on_the_page() if says_something(text)}
    code = in_the_code()

    assert len(quoted) > 80
    assert not {t for t in quoted if t not in code and not any(t in text for text in code)}


def test_every_line_of_the_log_is_on_the_page_with_its_level() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for level, words in LINES.values():
        name = {20: "INFO", 30: "WARNING", 40: "ERROR"}[level]
        assert f"| `{re.sub(r'{[^}]*}', '…', words)}` | {name} |" in page


def test_every_exit_code_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    codes = re.findall(r"^\| (\d) \| ", page, re.MULTILINE)

    assert [int(code) for code in codes] == sorted(Exit)
