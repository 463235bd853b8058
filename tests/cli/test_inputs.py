"""All that is read becomes messages, byte for byte, or it is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kqworker.cli.inputs import CHUNK, Argument, Lines, file_lines
from kqworker.errors import ConfigError

LONGEST = 1000
RETURN = (
    "1 line of it pushed with a carriage return at the end: "
    "a message is all that stands before the line feed"
)


@contextmanager
def piped(*parts: bytes, json: bool = False) -> Iterator[Lines]:
    """Lines of a pipe into which the parts are written one by one."""
    read, write = os.pipe()

    def feed() -> None:
        for part in parts:
            os.write(write, part)
        os.close(write)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield Lines(read, "it", json)
    finally:
        os.close(read)
        thread.join()


Opened = Callable[[Path], Lines]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Lines of JSON of a file, which a command leaves open to its end."""
    with ExitStack() as stack:

        def open_file(path: Path) -> Lines:
            return Lines(stack.enter_context(path.open("rb")).fileno(), "it", json=True)

        yield open_file


@pytest.mark.parametrize(
    ("given", "payloads"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a", [b"a"]),
        (b"\n", [b""]),
        (b"\n\na\n\n", [b"", b"", b"a", b""]),
        (b"a\r\nb\rc\n\r\n\r", [b"a\r", b"b\rc", b"\r", b"\r"]),
        (b" a\t\n \n", [b" a\t", b" "]),
        (b"\x00\xff\x0b\x0c\x1c\xe2\x80\xa8\n", [b"\x00\xff\x0b\x0c\x1c\xe2\x80\xa8"]),
    ],
)
@pytest.mark.parametrize("cut", [1, 2, 1000])
def test_a_payload_is_what_stands_before_a_line_feed(
    given: bytes, payloads: list[bytes], cut: int
) -> None:
    parts = [given[i : i + cut] for i in range(0, len(given), cut)]

    with piped(*parts) as lines:
        assert lines.prepare(LONGEST) is None
        assert list(lines.payloads()) == payloads


def test_a_line_longer_than_a_reading_is_one_payload(opened: Opened, tmp_path: Path) -> None:
    text = b"x" * (2 * CHUNK + 7)
    (tmp_path / "x").write_bytes(text + b"\n" + text)

    with (tmp_path / "x").open("rb") as file:
        lines = Lines(file.fileno(), "it", json=False)
        lines.prepare(10 * CHUNK)

        assert list(lines.payloads()) == [text, text]


@pytest.mark.parametrize("given", [b"a\n" + b"x" * (LONGEST + 1), b"a\n" + b"x" * 5000 + b"\nb\n"])
def test_a_line_that_no_message_can_hold_is_an_error(given: bytes) -> None:
    with piped(given) as lines:
        lines.prepare(LONGEST)
        payloads = lines.payloads()

        assert next(payloads) == b"a"
        with pytest.raises(ConfigError, match=r"^it:2: the line is longer than 1,000 bytes"):
            next(payloads)


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    found: list[bytes] = []
    lines = Lines(read, "it", json=False)
    lines.prepare(LONGEST)
    seen = threading.Event()

    def take() -> None:
        for payload in lines.payloads():
            found.append(payload)
            seen.set()

    thread = threading.Thread(target=take)
    thread.start()
    os.write(write, b"a\n")
    assert seen.wait(10)
    # It has read all there was: the next part is still to come.
    os.write(write, b"b")
    os.close(write)
    thread.join(10)
    os.close(read)

    assert found == [b"a", b"b"]


def test_json_is_pushed_as_it_stands_and_blank_lines_are_told(
    opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b'{"a": 1} \r\n\n \t\r\n [2]\n3')

    lines = opened(tmp_path / "x")

    assert lines.prepare(LONGEST) == 3
    assert list(lines.payloads()) == [b'{"a": 1} \r', b" [2]", b"3"]
    assert lines.notes() == [
        "2 blank lines of it not pushed: a blank line is no JSON",
        RETURN,
    ]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (b"1\n{", r"^it:2: each line is one message, and this is not valid JSON"),
        (b'1\n"\xff"\n', r"^it:2: each line is one message, and this is not valid JSON"),
        (b"1\n\x00\n", r"^it:2: each line is one message, and this is not valid JSON"),
        (b"\xef\xbb\xbf1\n", r"^it:1: each line is one message, and this begins with a byte order"),
        (
            b"\xff\xfe1\x00\n\x00",
            r"^it:1: each line is one message, and this begins with a byte or",
        ),
        (b"1\n" + b"2" * 1001, r"^it:2: the line is longer than 1,000 bytes"),
        (b"", r"^nothing to push: it holds nothing$"),
        (b"\n\n", r"^nothing to push: it holds nothing but blank lines$"),
    ],
)
def test_a_file_with_a_mistake_is_refused_before_anything_is_pushed(
    opened: Opened, tmp_path: Path, given: bytes, error: str
) -> None:
    (tmp_path / "x").write_bytes(given)

    with pytest.raises(ConfigError, match=error):
        opened(tmp_path / "x").prepare(LONGEST)


def test_a_pipe_of_json_is_checked_as_it_is_read() -> None:
    with piped(b"1\n2\n{\n4\n", json=True) as lines:
        assert lines.prepare(LONGEST) is None
        payloads = lines.payloads()

        assert [next(payloads), next(payloads)] == [b"1", b"2"]
        with pytest.raises(ConfigError, match=r"^it:3: .* not valid JSON"):
            next(payloads)


def test_a_pipe_that_holds_nothing_is_an_error() -> None:
    with piped() as lines, pytest.raises(ConfigError, match=r"^nothing to push: it holds nothing$"):
        list(lines.payloads())


def test_what_is_added_to_a_file_is_told_and_not_pushed(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1\n2\n")
    lines = opened(tmp_path / "x")
    lines.prepare(LONGEST)

    with (tmp_path / "x").open("ab") as file:
        file.write(b"3\n")

    assert list(lines.payloads()) == [b"1", b"2"]
    assert lines.notes() == ["it has grown since it was read: what was added is not pushed"]


@pytest.mark.parametrize("changed", [b"1\n", b"1\n3\n", b""])
def test_a_file_that_is_changed_meanwhile_is_an_error(
    opened: Opened, tmp_path: Path, changed: bytes
) -> None:
    (tmp_path / "x").write_bytes(b"1\n2\n")
    lines = opened(tmp_path / "x")
    lines.prepare(LONGEST)

    (tmp_path / "x").write_bytes(changed)

    with pytest.raises(ConfigError, match="was changed by somebody while it was pushed"):
        list(lines.payloads())


def test_a_file_is_read_from_where_its_descriptor_stands(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no JSON\n1\n2\n")
    with (tmp_path / "x").open("rb", buffering=0) as file:
        file.readline()
        lines = Lines(file.fileno(), "it", json=True)

        assert lines.prepare(LONGEST) == 2
        assert list(lines.payloads()) == [b"1", b"2"]


def test_a_reading_that_fails_is_an_error_after_what_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: list[bytes] = [b"1\n2"]

    def read(fd: int, size: int) -> bytes:
        if parts:
            return parts.pop()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", read)
    lines = Lines(0, "it", json=False)
    lines.prepare(LONGEST)
    payloads = lines.payloads()

    assert next(payloads) == b"1"
    with pytest.raises(ConfigError, match=r"^cannot read it: Input/output error$"):
        next(payloads)


@pytest.mark.parametrize(
    ("path", "error"), [("y", "No such file or directory"), (".", "it is a directory")]
)
def test_what_is_no_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, error: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=f"^cannot read {path}: {error}$"):
        file_lines(path)


def test_an_argument_is_one_payload() -> None:
    argument = Argument("\udcff")

    assert argument.prepare(LONGEST) == 1
    assert list(argument.payloads()) == [b"\xff"]
    assert argument.notes() == []
