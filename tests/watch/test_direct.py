"""What is written past a stream's buffer."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from kqworker.watch import direct


def test_text_comes_behind_what_is_buffered_and_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="latin-1", errors="replace") as stream:
        stream.write("one, ")
        direct.write(stream, "two ü ✓")

        assert (tmp_path / "log").read_bytes() == b"one, two \xfc ?"


def test_of_what_a_full_disk_does_not_take_nothing_stays_behind() -> None:
    with Path("/dev/full").open("w") as stream:
        with pytest.raises(OSError, match="No space left"):
            direct.write(stream, "text")

        stream.flush()


def test_text_of_any_length_is_written_whole() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as pipe, os.fdopen(writer, "w") as stream:
        size = 8192  # more than is written at once where one is waited for
        direct.write(stream, "x" * size)
        assert pipe.read(size) == "x" * size


def test_a_pipe_that_is_full_and_may_not_block_says_so() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as stream:
        os.set_blocking(writer, False)
        with pytest.raises(BlockingIOError):
            direct.write(stream, "x" * (1 << 20))

        stream.flush()


def test_what_stands_in_for_a_stream_is_written_to_as_such() -> None:
    stream = io.StringIO()
    direct.write(stream, "text")
    assert stream.getvalue() == "text"


def test_a_stream_that_is_closed_says_so(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        pass
    with pytest.raises(ValueError, match="closed"):
        direct.write(stream, "text")
