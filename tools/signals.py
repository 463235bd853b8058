"""Writes docs/reference/signals.md from the catalogue of what an operator may see.

Run it after a change of the catalogue: `.venv/bin/python tools/signals.py`.
tests/docs/test_signals.py fails while the page says something else.
"""

# ruff: noqa: E501 - the lines are those of the page

from __future__ import annotations

from pathlib import Path

from kqworker.core.signals import INCIDENTS, NUMBERS, OTHERS

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "signals.md"

INTRO = """\
# What can be seen

Everything that a run shows of itself. `tools/signals.py` makes this page from the catalogue in `kqworker/core/signals.py`, and a test
compares both. What each log line says in full, with its remedy: [errors](errors.md#in-the-log-while-it-runs).
"""

NUMBERS_INTRO = """
## Numbers

On the status line, and with `--log-format json` as fields of the line `status`. A counter only grows; a gauge says how it is now.

| name | kind | unit | it moves when | what to do |
|---|---|---|---|---|
"""

EVENTS_INTRO = """
## Events

The field `event` of a log line (`--log-format json`). The other fields say what it happened to; where one does not apply, it is missing.

| event | fields | it is told when | what to do |
|---|---|---|---|
"""


def page() -> str:
    """Return docs/reference/signals.md."""
    rows = [f"| `{n.name}` | {n.kind} | {n.unit} | {n.moves} | {n.remedy} |\n" for n in NUMBERS]
    events = [
        f"| `{e.name}` | {', '.join(f'`{label}`' for label in e.labels)} | {e.moves} | {e.remedy} |\n"
        for e in (*INCIDENTS.values(), *OTHERS)
    ]
    return "".join([INTRO, NUMBERS_INTRO, *rows, EVENTS_INTRO, *events])


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
