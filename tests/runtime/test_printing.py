"""What is printed on a terminal stands above the status line, whole; and where it is lost."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from kqworker.cli.terminal import StatusLine
from kqworker.runtime.printing import (
    Above,
    Lost,
    finish_streams,
    flush_or_drop,
    lost_by,
    print_nowhere,
    take_streams,
)
from kqworker.watch import logs

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
    take_streams(status_line=True)
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

    take_streams(status_line=True)
    print("one")
    log("two")

    assert not isinstance(sys.stdout, Above)
    assert b"\x1b" not in file.getvalue()


def test_json_lines_on_a_terminal_are_json_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = with_status_line(monkeypatch)
    terminal.truncate(terminal.seek(0))

    log("two", format="json")

    assert terminal.getvalue().startswith(b'{"time"')


# -- when it cannot be written

NOBODY = Lost(1, "nobody reads standard output any more")
FULL = Lost(1, "standard output cannot be written: No space left on device")
LOGGER = logging.getLogger("kqworker.test")


@contextmanager
def outputs(to: int, fd: int = 1) -> Iterator[None]:
    """A standard stream goes to a file, which is closed here; the streams are a worker's."""
    name = "stdout" if fd == 1 else "stderr"
    before, originally, kept = getattr(sys, name), getattr(sys, f"__{name}__"), os.dup(fd)
    os.dup2(to, fd)
    os.close(to)
    stream = open(fd, "w", closefd=False)  # noqa: SIM115 - it shares its buffer
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)
    try:
        take_streams(status_line=False)
        yield
        finish_streams(LOGGER)
    finally:
        print_nowhere(fd)
        getattr(sys, name).flush()
        setattr(sys, name, before)
        setattr(sys, f"__{name}__", originally)
        os.dup2(kept, fd)
        os.close(kept)


@contextmanager
def piped() -> Iterator[int]:
    """Standard output is a pipe; this is the end to read from, for the test to close."""
    reader, writer = os.pipe()
    with outputs(writer):
        yield reader


def full(fd: int = 1) -> AbstractContextManager[None]:
    """A standard stream goes to a full disk."""
    return outputs(os.open("/dev/full", os.O_WRONLY), fd)


def failed(write: Callable[[], object]) -> OSError:
    with pytest.raises(OSError) as raised:
        write()
    return raised.value


def failed_print() -> OSError:
    return failed(lambda: print("x", flush=True))


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

        assert lost_by(error) == NOBODY
        assert lost_by(caused(error)) == NOBODY
        assert lost_by(failed(lambda: os.write(1, b"x"))) == NOBODY
        assert lost_by(ValueError()) is None
        assert lost_by(FileNotFoundError(errno.ENOENT, "no file")) is None
        assert lost_by(Liar()) is None


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_print_on_a_full_disk_says_so(size: int) -> None:
    with full():
        assert lost_by(failed(lambda: print("x" * size, flush=True))) == FULL


@pytest.mark.parametrize(
    "write",
    [
        lambda: os.write(1, b"x"),
        lambda: sys.stdout.buffer.write(b"x" * 100_000),
        lambda: print("x", file=sys.__stdout__, flush=True),
        lambda: caused(failed_print()) and failed_print(),
    ],
)
def test_what_is_written_past_the_stream_to_a_full_disk_says_so_too(
    write: Callable[[], object],
) -> None:
    with full():
        try:
            write()
        except OSError as error:
            assert lost_by(error) == FULL


def test_standard_error_on_a_full_disk_is_told_from_it() -> None:
    with full(2):
        error = failed(lambda: print("x", file=sys.stderr, flush=True))

    assert lost_by(error) == Lost(2, "standard error cannot be written: No space left on device")


def test_an_output_that_was_closed_says_so() -> None:
    with piped() as reader:
        kept = os.dup(1)
        os.close(1)
        error = failed_print()
        lost = lost_by(error), lost_by(failed(lambda: os.write(1, b"x")))
        os.dup2(kept, 1)
        os.close(kept)
        os.close(reader)

    assert lost == (Lost(1, "standard output cannot be written: Bad file descriptor"),) * 2


def test_a_limit_on_the_size_of_files_says_so(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with outputs(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            error = failed(lambda: print("x" * 100_000, flush=True))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert lost_by(error) == Lost(1, "standard output cannot be written: File too large")


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(errno.EPIPE, "a connection"),
        OSError(errno.ENOSPC, "a file"),
        OSError(errno.EIO, "a device"),
        OSError(errno.EBADF, "a file that was closed"),
    ],
)
def test_a_connection_or_a_file_of_the_handlers_own_is_no_lost_output(error: OSError) -> None:
    with piped() as reader:
        assert lost_by(error) is None
        assert lost_by(caused(error)) is None
        os.close(reader)


def test_a_full_disk_of_the_handlers_own_is_no_lost_output() -> None:
    with piped() as reader, Path("/dev/full").open("w") as own:
        own.write("x")
        error = failed(own.flush)
        assert lost_by(error) is None
        os.close(reader)
        print_nowhere(own.fileno())


def test_what_is_printed_to_nowhere_fails_no_more() -> None:
    with piped() as reader:
        os.close(reader)
        failed_print()

        print_nowhere()

        print("y", flush=True)
        assert lost_by(BrokenPipeError(errno.EPIPE, "a connection")) is None


def test_what_nobody_reads_is_dropped_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with piped() as reader:
        print("x", end="")
        os.close(reader)

        finish_streams(LOGGER)

        sys.stdout.flush()
    assert not caplog.records


def test_what_a_full_disk_does_not_take_at_the_end_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with full():
        print("x", end="")

        finish_streams(LOGGER)

        sys.stdout.flush()
    (record,) = caplog.records
    assert record.getMessage() == f"{FULL.reason}; what is printed last is lost"


@pytest.mark.parametrize("fd", [1, 2])
def test_what_cannot_be_written_can_be_dropped_without_leading_the_stream_elsewhere(
    fd: int,
) -> None:
    with full(fd):
        stream = {1: sys.stdout, 2: sys.stderr}[fd]
        stream.write("x")

        flush_or_drop()

        stream.flush()
        stream.write("y")
        assert lost_by(failed(stream.flush)) is not None


def test_what_was_printed_before_its_descriptor_was_closed_is_nobodys_failure() -> None:
    with piped() as reader:
        print("x", end="")
        kept = os.dup(1)
        os.close(1)
        flush_or_drop()
        os.dup2(kept, 1)
        os.close(kept)

        print("y", end="", flush=True)
        assert os.read(reader, 100) == b"xy"
        os.close(reader)


def test_what_can_be_written_is_not_dropped() -> None:
    with piped() as reader:
        print("x", end="")

        flush_or_drop()

        assert os.read(reader, 100) == b"x"
        os.close(reader)


def test_what_is_read_is_printed_to_the_end() -> None:
    with piped() as reader:
        finish_streams(LOGGER)

        print("x", end="", flush=True)
        assert os.read(reader, 100) == b"x"
        os.close(reader)
