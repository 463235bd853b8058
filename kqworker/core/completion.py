"""The completion map: what is finished above the watermark, as text for a commit's metadata.

Decides the format. A successor that reads the map redelivers only what was not finished;
one that cannot read it ignores it: that repeats messages and never skips one.

The text is the version ("1") and the base64url, without padding, of

    varint base             the offset that the text is committed with
    varint count << 1 | kind
    kind 0: count runs      varint (length - 1) << 1 | more, then, if more, varint gap - 2;
                            the gap to the run before, the first counted from base - 1
    kind 1: count bytes     a bitmap: bit 0 of the first byte is the base; used if shorter
    attempts, to the end    varint distance - 1 to the offset before, the first counted
                            from base - 1; varint attempts - 1
    4 bytes                 crc32 of all before, the version included, little-endian

Varints are LEB128. There is one text for each map; all others are refused.

Pure: no Kafka, no clock, no process.
Tested by tests/core/test_completion.py.
"""

from __future__ import annotations

import base64
import re
import zlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter

from kqworker.core.offsets import Run
from kqworker.errors import BugError

_VERSION = "1"
_HIGHEST = 2**63  # Kafka's offsets are signed 64-bit integers
_VARINT_BITS = 70


@dataclass(frozen=True, slots=True)
class Completion:
    """What is known of the messages at and above the offset that is committed.

    Attributes:
        done: Finished runs, ascending, with at least one offset between two of them.
        attempts: The attempts that messages have had, at least 1 each, so that one that
            crashes its workers keeps its count over a restart.
    """

    done: tuple[Run, ...] = ()
    attempts: Mapping[int, int] = field(default_factory=dict)


def encode(base: int, completion: Completion, budget: int) -> str | None:
    """Return the map as ASCII text.

    >>> encode(7, Completion(done=((8, 10),), attempts={7: 2}), budget=4095)
    '1BwMGAAFxSvut'

    Args:
        base: The offset that the text is committed with.
        completion: The map; none of its runs is below the base. Attempts at messages that
            are finished, and so below the base or in a run, are left out.
        budget: Characters that the text may have; a broker's default limit is 4,095.

    Returns:
        The text, empty if there is nothing to say; None if it does not fit.

    Raises:
        BugError: The map's runs do not ascend from the base, or attempts are below 1.
    """
    done = completion.done
    attempts = _unfinished(base, completion)
    if not done and not attempts:
        return ""
    size = (done[-1][1] - base + 7) // 8 if done else 0
    if min(len(done), size) > budget:
        return None  # a run takes a byte at least, so it need not be tried
    payload = bytearray()
    _put_varint(payload, base)
    runs = _runs(base, done)
    if size < len(runs):
        _put_varint(payload, size << 1 | 1)
        payload += _bitmap(base, done).to_bytes(size, "little")
    else:
        _put_varint(payload, len(done) << 1)
        payload += runs
    before = base - 1
    for offset, had in attempts:
        if had < 1:
            raise BugError(f"{had} attempts at offset {offset} are none to be kept")
        _put_varint(payload, offset - before - 1)
        _put_varint(payload, had - 1)
        before = offset
    payload += _checksum(payload)
    text = _VERSION + base64.urlsafe_b64encode(payload).decode().rstrip("=")
    return text if len(text) <= budget else None


def decode(text: str, base: int) -> Completion | None:
    """Return the map that a text holds.

    Never raises, whatever the text; takes time and memory in proportion to its length.

    >>> decode('1BwMGAAFxSvut', base=7)
    Completion(done=((8, 10),), attempts={7: 2})
    >>> decode('1BwMGAAFxSvut', base=8) is None
    True

    Args:
        text: The metadata of a commit, written by anybody.
        base: The offset that it was committed with.

    Returns:
        The map, empty if the text is; None if the text is of an unknown version, corrupt,
        not in the form that `encode` gives it, or speaks of another base.
    """
    if not text:
        return Completion()
    if not text.startswith(_VERSION):
        return None
    try:
        payload = base64.b64decode(text[1:] + "=" * (-(len(text) - 1) % 4), b"-_", validate=True)
        body = payload[:-4]
        if payload[-4:] != _checksum(body):
            return None
        completion = _read(body, base)
        # There is one text for each map: this also refuses what base64 and varints leave
        # open (bits unused, a needless zero) and runs that leave the range of offsets.
        return completion if encode(base, completion, len(text)) == text else None
    except (ValueError, IndexError):
        return None


def _read(body: bytes, base: int) -> Completion:
    """Parse a body whose checksum is right; ValueError or IndexError if it is malformed."""
    found, at = _get_varint(body, 0)
    if found != base:
        raise ValueError("another base")
    head, at = _get_varint(body, at)
    count = head >> 1
    done: list[Run] = []
    if head & 1:
        # Digits stand with the most significant first: reversed, index 0 is the base.
        bits = f"{int.from_bytes(body[at : at + count], 'little'):b}"[::-1]
        done.extend((base + run.start(), base + run.end()) for run in re.finditer("1+", bits))
        at += count
    else:
        stop = base - 1
        # A count that lies ends with the body: every run takes a byte.
        for _ in range(count):
            length, at = _get_varint(body, at)
            gap = 1
            if length & 1:
                gap, at = _get_varint(body, at)
                gap += 2
            start = stop + gap
            stop = start + (length >> 1) + 1
            done.append((start, stop))
    attempts: dict[int, int] = {}
    offset = base - 1
    while at < len(body):
        distance, at = _get_varint(body, at)
        had, at = _get_varint(body, at)
        offset += distance + 1
        attempts[offset] = had + 1
    if offset >= _HIGHEST or (done and done[-1][1] > _HIGHEST):
        raise ValueError("no offset is so high")
    return Completion(tuple(done), attempts)


def _unfinished(base: int, completion: Completion) -> list[tuple[int, int]]:
    """Return the attempts at messages that are not finished, by offset."""
    done = completion.done
    kept = []
    for offset, had in sorted(completion.attempts.items()):
        # Run number `index` is the last that starts at or below the offset.
        index = bisect_right(done, offset, key=itemgetter(0)) - 1
        if offset >= base and (index < 0 or offset >= done[index][1]):
            kept.append((offset, had))
    return kept


def _runs(base: int, done: tuple[Run, ...]) -> bytearray:
    payload = bytearray()
    before = base - 1
    for start, stop in done:
        if not before < start < stop:
            raise BugError(f"the finished runs {done} do not ascend from offset {base}")
        more = start > before + 1
        _put_varint(payload, (stop - start - 1) << 1 | more)
        if more:
            _put_varint(payload, start - before - 2)
        before = stop
    return payload


def _bitmap(base: int, done: tuple[Run, ...]) -> int:
    digits: list[str] = []
    before = base
    for start, stop in done:
        digits.append("0" * (start - before) + "1" * (stop - start))
        before = stop
    return int("".join(digits)[::-1], 2)


def _put_varint(payload: bytearray, number: int) -> None:
    while number > 0x7F:
        payload.append(number & 0x7F | 0x80)
        number >>= 7
    payload.append(number)


def _get_varint(body: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, _VARINT_BITS, 7):
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("the varint does not end")


def _checksum(body: bytes | bytearray) -> bytes:
    return zlib.crc32(body, zlib.crc32(_VERSION.encode())).to_bytes(4, "little")
