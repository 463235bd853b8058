"""The reader of the pages notices what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.console import Session, missing


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(tmp_path, "here:1") as session:
        yield session


def block(mark: str, *lines: str) -> str:
    return "\n".join([f"<!-- {mark} -->", "```console", *lines, "```", ""])


def test_commands_say_what_is_shown_numbers_aside(session: Session) -> None:
    session.follow(
        block("write words.txt", "one 17", "two")
        + block("run", "$ cat words.txt", "one 4,000.5", "…", "$ echo localhost:9092", "here:1")
    )


def test_what_nobody_says_is_noticed(session: Session) -> None:
    with pytest.raises(AssertionError, match="did not say"):
        session.follow(block("run", "$ echo one", "two"))


def test_another_exit_code_is_noticed(session: Session) -> None:
    session.follow(block("run 3", "$ exit 3"))
    with pytest.raises(AssertionError):
        session.follow(block("run", "$ exit 3"))


def test_a_mark_without_its_block_is_noticed(session: Session) -> None:
    with pytest.raises(AssertionError, match="without its block"):
        session.follow(block("run", "$ true") + "<!-- run -->\n\n```\n$ true\n```\n")


def test_a_command_goes_on_while_others_run(session: Session) -> None:
    script = (
        "import time",
        "try: print('ready', flush=True); time.sleep(60)",
        "except KeyboardInterrupt:",
    )
    session.follow(
        block("write wait.py", *script, "    print('ended')")
        + block("start", "$ python wait.py", "ready")
        + block("run", "$ echo one", "one")
        + block("stop", "^C", "ended")
    )


def test_what_is_left_running_is_noticed_and_ended(session: Session) -> None:
    with pytest.raises(AssertionError, match="leaves"):
        session.follow(block("start", "$ sleep 60"))


def test_colours_and_redrawing_do_not_count() -> None:
    assert missing("ready in 2 s", "\x1b[32mready\x1b[0m in\r\x1b[J  ready in 1.5 s\n") == []
    assert missing("ready", "already") == ["ready"]


def test_numbers_may_differ_but_counts_may_not() -> None:
    assert missing("10,000 handled · 0.7 s", "10,000 handled · 12 s") == []
    assert missing("10,000 handled · 0.7 s", "9,000 handled · 0.7 s") == ["10,000 handled · 0 s"]
    assert missing("attempt=3 offset=1", "attempt=2 offset=1") == ["attempt=3 offset=0"]
