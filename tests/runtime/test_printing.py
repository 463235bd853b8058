"""What the log and handlers print on a terminal stands above the status line, whole."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kqworker import logs
from kqworker.cli.terminal import StatusLine
from kqworker.runtime.printing import (
    Above,
    nobody_reads,
    print_above,
    print_nowhere,
    print_nowhere_unless_read,
)

STATUS = "1,234 handled · 99/s · 2 in flight · 2/2 workers busy"


class Terminal(io.BytesIO):
    """What a terminal of so many columns shows of the bytes that it was sent."""

    columns = 60

    def isatty(self) -> bool:
        return True

    def rows(self) -> list[str]:
        rows, y, x = [""], 0, 0
        for part in re.findall(r"\x1b\[\d*[A-Z]|.", self.getvalue().decode(), re.S):
            match part:
                case "\r":
                    x = 0
                case "\n":
                    y, x = y + 1, 0
                case "\x1b[1A":
                    y -= 1
                case "\x1b[J":
                    rows[y:] = [rows[y][:x]]
                case _:
                    if x == self.columns:
                        y, x = y + 1, 0
                    row = rows[y] if y < len(rows) else ""
                    rows[y:] = [row[:x].ljust(x) + part + row[x + 1 :], *rows[y + 1 :]]
                    x += 1
            rows += [""] * (y + 1 - len(rows))
        return [row.rstrip() for row in rows]


def open_streams(monkeypatch: pytest.MonkeyPatch, file: io.BytesIO) -> None:
    # In the test itself: pytest sets up streams of its own after the fixtures.
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(file, "utf-8", line_buffering=True)
        monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(sys, f"__{name}__", stream)


def with_status_line(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that shows a status line, and is standard output and error."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(Terminal.columns))
    terminal = Terminal()
    open_streams(monkeypatch, terminal)
    draw()
    return terminal


def draw() -> None:
    StatusLine(sys.stderr).draw(STATUS)


def log(*lines: str, format: str = "text") -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        logs.configure("info", format)
        for line in lines:
            logging.getLogger("kqworker.test").warning("%s", line)
    finally:
        root.handlers = before


def test_prints_one_after_the_other_and_long_ones_show_nothing_of_the_status_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = with_status_line(monkeypatch)
    print_above()
    print("one", 1)
    print("two")
    print("x" * 65, file=sys.stderr)
    print()
    draw()

    assert terminal.rows() == ["one 1", "two", "x" * 60, "x" * 5, "", "", STATUS]


def test_log_lines_show_nothing_of_the_status_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = with_status_line(monkeypatch)
    log("a" * 40, "b", "several\nlines")
    draw()

    rows = "\n".join(terminal.rows())
    assert rows.count("handled") == 1
    assert rows.endswith(f"several\nlines\n\n{STATUS}")


def test_without_it_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = with_status_line(monkeypatch)
    print("one")
    print("two")

    assert terminal.rows()[:2] == ["one", "two" + STATUS[3:]]


def test_a_stream_that_is_no_terminal_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    open_streams(monkeypatch, file)

    print_above()
    print("one")
    log("two")

    assert not isinstance(sys.stdout, Above)
    assert b"\x1b" not in file.getvalue()


def test_json_lines_on_a_terminal_are_json_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = with_status_line(monkeypatch)
    terminal.truncate(terminal.seek(0))

    log("two", format="json")

    assert terminal.getvalue().startswith(b'{"time"')


# -- when nobody reads it


@contextmanager
def piped() -> Iterator[int]:
    """Standard output is a pipe; this is the end to read from, for the test to close."""
    before, kept = sys.stdout, os.dup(1)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    try:
        with open(1, "w", closefd=False) as sys.stdout:
            yield reader
            print_nowhere_unless_read()
    finally:
        sys.stdout = before
        os.dup2(kept, 1)
        os.close(kept)


def failed_print() -> BaseException:
    with pytest.raises(BrokenPipeError) as raised:
        print("x", flush=True)
    return raised.value


def caused(by: BaseException) -> BaseException:
    with pytest.raises(RuntimeError) as raised:
        try:
            raise by
        except OSError as error:
            raise RuntimeError("cannot tell") from error
    return raised.value


class Liar(Exception):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise ValueError("no class")


def test_a_print_that_fails_says_that_nobody_reads() -> None:
    with piped() as reader:
        os.close(reader)
        error = failed_print()

        assert nobody_reads(error)
        assert nobody_reads(caused(error))
        assert not nobody_reads(ValueError())
        assert not nobody_reads(Liar())


def test_a_connection_that_breaks_is_no_closed_output() -> None:
    with piped() as reader:
        assert not nobody_reads(BrokenPipeError())
        assert not nobody_reads(caused(BrokenPipeError()))
        os.close(reader)


def test_what_is_printed_to_nowhere_fails_no_more() -> None:
    with piped() as reader:
        os.close(reader)
        failed_print()

        print_nowhere()

        print("y", flush=True)
        assert not nobody_reads(BrokenPipeError())


def test_what_nobody_reads_is_dropped_at_the_end() -> None:
    with piped() as reader:
        print("x", end="")
        os.close(reader)

        print_nowhere_unless_read()

        sys.stdout.flush()


def test_what_is_read_is_printed_to_the_end() -> None:
    with piped() as reader:
        print_nowhere_unless_read()

        print("x", end="", flush=True)
        assert os.read(reader, 100) == b"x"
        os.close(reader)
