"""What `kqworker push` reads: an argument, a file, or standard input, as payloads.

Decides what one message is: all bytes of a line before its line feed, unchanged. `notes` or an
error reports what is read and not pushed. Knows nothing of Kafka.
Tested by tests/cli/test_inputs.py.
"""

from __future__ import annotations

import codecs
import os
import select
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

from kqworker.errors import ConfigError

CHUNK = 256 * 1024
STANDARD_INPUT = "standard input"
MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Input(Protocol):
    """Payloads, read once."""

    def prepare(self, longest: int) -> int | None:
        """Check what can be checked before anything is pushed.

        Args:
            longest: Bytes that one message may have.

        Returns:
            How many payloads there are; None if only reading can tell.

        Raises:
            ConfigError: There are none, or one of them cannot be pushed.
        """
        ...

    def payloads(self) -> Iterator[bytes]:
        """Yield them.

        Raises:
            ConfigError: It cannot be read to its end, there are none, or one of them cannot
                be pushed.
        """
        ...

    def notes(self) -> list[str]:
        """Return what the user should know of the input, once all of it was read."""
        ...


class Argument:
    """One payload, from the command line."""

    def __init__(self, payload: str) -> None:
        self._payload = payload

    def prepare(self, longest: int) -> int | None:
        """Return 1: an empty argument is an empty message."""
        return 1

    def payloads(self) -> Iterator[bytes]:
        """Yield it, byte for byte as the shell gave it."""
        yield os.fsencode(self._payload)

    def notes(self) -> list[str]:
        """Return nothing."""
        return []


class Lines:
    """The lines of a file or a stream.

    A regular file is read twice, so that nothing of it is pushed if a later line has a mistake.
    Other input, such as a pipe, is checked line by line as it is pushed.

    Args:
        fd: The descriptor to read, from its position.
        name: Its name in messages.
        json: Each line must be valid JSON, and blank lines are left out.
    """

    def __init__(self, fd: int, name: str, json: bool) -> None:
        self._fd = fd
        self._name = name
        self._json = json
        self._longest = 0
        self._start = 0
        # Of the first of two readings: the number of bytes, and their checksum.
        self._checked: tuple[int, int] | None = None
        self._grown = False
        self._forget()

    def prepare(self, longest: int) -> int | None:
        """Read a file to its end, and go back to the position before."""
        self._longest = longest
        if not self._json or not stat.S_ISREG(os.fstat(self._fd).st_mode):
            return None
        self._start = os.lseek(self._fd, 0, os.SEEK_CUR)
        count = sum(1 for _ in self._read(None))
        self._checked = self._size, self._sum
        os.lseek(self._fd, self._start, os.SEEK_SET)
        return count

    def payloads(self) -> Iterator[bytes]:
        """Yield all lines; if the file was read before, only the lines of that reading."""
        if self._checked is None:
            yield from self._read(None)
            return
        yield from self._read(self._checked[0])
        if (self._size, self._sum) != self._checked:
            raise ConfigError(f"{self._name} was changed by somebody while it was pushed")
        self._grown = bool(os.read(self._fd, 1))

    def notes(self) -> list[str]:
        """Return which lines were not pushed, and which were pushed in an unexpected form."""
        notes = []
        if self._blank:
            lines = "1 blank line" if self._blank == 1 else f"{self._blank:,} blank lines"
            notes.append(f"{lines} of {self._name} not pushed: a blank line is no JSON")
        if self._returns:
            lines = "1 line" if self._returns == 1 else f"{self._returns:,} lines"
            notes.append(
                f"{lines} of {self._name} pushed with a carriage return at the end: "
                "a message is all that stands before the line feed"
            )
        if self._grown:
            notes.append(f"{self._name} has grown since it was read: what was added is not pushed")
        return notes

    def _forget(self) -> None:
        self._size = self._sum = self._blank = self._returns = 0

    def _read(self, size: int | None) -> Iterator[bytes]:
        self._forget()
        check = _json_check() if self._json else None
        found = False
        for number, line in enumerate(self._lines(size), 1):
            if len(line) > self._longest:
                self._refuse_length(number)
            if check is not None and not line.strip():
                self._blank += 1
                continue
            # A second reading of the same bytes needs no check.
            if check is not None and size is None and (fault := check(line)) is not None:
                raise ConfigError(
                    f"{self._name}:{number}: each line is one message, and this {fault}"
                )
            self._returns += line.endswith(b"\r")
            found = True
            yield line
        if not found and size is None:
            only = " but blank lines" if self._blank else ""
            raise ConfigError(f"nothing to push: {self._name} holds nothing{only}")

    def _lines(self, size: int | None) -> Iterator[bytes]:
        begun: list[bytes] = []
        length = number = 0
        for chunk in self._chunks(size):
            *whole, rest = chunk.split(b"\n")
            if whole:
                whole[0] = b"".join((*begun, whole[0]))
                number += len(whole)
                yield from whole
                begun.clear()
                length = 0
            begun.append(rest)
            length += len(rest)
            # Not only at the end of the line, which may never come.
            if length > self._longest:
                self._refuse_length(number + 1)
        if length:
            yield b"".join(begun)

    def _chunks(self, size: int | None) -> Iterator[bytes]:
        """Yield chunks as soon as they are there; so many bytes at most."""
        while size is None or self._size < size:
            try:
                chunk = os.read(self._fd, CHUNK if size is None else min(CHUNK, size - self._size))
            except BlockingIOError:
                # Another process that shares the pipe or terminal may have made it non-blocking.
                select.select([self._fd], [], [])
                continue
            except OSError as error:
                raise ConfigError(f"cannot read {self._name}: {error.strerror}") from None
            if not chunk:
                return
            self._size += len(chunk)
            self._sum = zlib.crc32(chunk, self._sum)
            yield chunk

    def _refuse_length(self, number: int) -> NoReturn:
        raise ConfigError(
            f"{self._name}:{number}: the line is longer than {self._longest:,} bytes, which is "
            "all that a message may have (-X message.max.bytes=…)"
        )


def _json_check() -> Callable[[bytes], str | None]:
    """Return a function that says why a line is not JSON, or returns None."""
    from msgspec import DecodeError
    from msgspec.json import decode

    def check(line: bytes) -> str | None:
        try:
            decode(line)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            if line.startswith(MARKS):
                return "begins with a byte order mark: save the file as UTF-8 without one"
            return f"is not valid JSON: {error}"
        return None

    return check


def file_lines(path: str) -> Lines:
    """Open a file of JSON lines; `-` stands for standard input.

    Raises:
        ConfigError: It cannot be opened.
    """
    if path == "-":
        return Lines(0, STANDARD_INPUT, json=True)
    try:
        # It stays open until the process ends: there is only one.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise ConfigError(f"cannot read {path}: it is a directory")
    return Lines(fd, path, json=True)


def input_lines() -> Lines:
    """Return the lines of standard input, whatever they are."""
    return Lines(0, STANDARD_INPUT, json=False)
