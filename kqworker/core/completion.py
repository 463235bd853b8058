"""The completion map: what is finished above the watermark, and what else a successor needs, as
text for a commit's metadata.

Decides the format. A successor that reads the map redelivers only what was not finished;
one that cannot read it ignores it: that repeats messages and never skips one.

The text is the version and the base64url, without padding, of

    varint base             the offset that the text is committed with
    version 2 only:
    varint partitions << 1 | clean; the partitions plus 1, 0 if they are unknown
    varint handed           less the base, plus 1; 0 if it is unknown
    varint owner
    varint count            of what was begun, then each: varint distance - 1 to the offset
                            before, the first counted from base - 1
    nothing, or the map (version 1 always has one):
    varint count << 1 | kind
    kind 0: count runs      varint (length - 1) << 1 | more, then, if more, varint gap - 2;
                            the gap to the run before, the first counted from base - 1
    kind 1: count bytes     a bitmap: bit 0 of the first byte is the base; used if shorter
    attempts, to the end    varint distance - 1 to the offset before, the first counted
                            from base - 1; varint attempts - 1
    always
    4 bytes                 crc32 of all before, the version included, little-endian

Varints are LEB128. Version 1 is written where nothing of version 2 is known; who reads version 1
alone drops all others. There is one text for each completion; all others are refused.

Pure: no Kafka, no clock, no process.
Tested by tests/core/test_completion.py.
"""

from __future__ import annotations

import base64
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter

from kqworker.core.offsets import Run
from kqworker.errors import BugError

_MAP, _MORE = "1", "2"  # the versions: the map alone, and with more beside it
_OWNERS = 2**64
_HIGHEST = 2**63  # Kafka's offsets are signed 64-bit integers
_VARINT_BITS = 70


@dataclass(frozen=True, slots=True)
class Completion:
    """What is known of the messages at and above the offset that is committed.

    Attributes:
        done: Finished runs, ascending, with at least one offset between two of them.
        attempts: The attempts that messages have had, at least 1 each, so that one that
            crashes its workers keeps its count over a restart.
        partitions: How many the topic had when the group began to read it; None: unknown.
            Numbers at or above it came later: all that they hold is to be read. 0: the topic
            itself did.
        clean: This is the last commit of an owner that ended, or gave the partition back, in
            order: none of its messages is with a worker. False: nothing is known of that.
        begun: Offsets, ascending, of messages that were to begin only after this commit.
        handed: The highest offset that a worker was handed, plus 1; 0: unknown. An open
            message at or above it was never begun.
        owner: The supervisor that committed, by a number that it drew, below 2**64; 0:
            unknown.
    """

    done: tuple[Run, ...] = ()
    attempts: Mapping[int, int] = field(default_factory=dict)
    partitions: int | None = None
    clean: bool = False
    begun: tuple[int, ...] = ()
    handed: int = 0
    owner: int = 0


def encode(base: int, completion: Completion, budget: int) -> str | None:
    """Return the completion as ASCII text.

    >>> encode(7, Completion(done=((8, 10),), attempts={7: 2}), budget=4095)
    '1BwMGAAFxSvut'
    >>> encode(7, Completion(partitions=4, clean=True), budget=4095)
    '2BwsAAAAUXFGd'

    Args:
        base: The offset that the text is committed with.
        completion: What to say; none of its runs is below the base. Attempts at messages
            that are finished, and so below the base or in a run, are left out, and so is
            what was begun of them.
        budget: Characters that the text may have; a broker's default limit is 4,095.

    Returns:
        The text, empty if there is nothing to say; None if it does not fit.

    Raises:
        BugError: The runs do not ascend from the base, or attempts are below 1.
    """
    begun = _unfinished(base, completion, completion.begun)
    partitions = 0 if completion.partitions is None else completion.partitions + 1
    more = (partitions << 1 | completion.clean, completion.handed, completion.owner)
    version = _MORE if begun or any(more) else _MAP
    payload = bytearray()
    _put_varint(payload, base)
    if version == _MORE:
        _put_varint(payload, more[0])
        _put_varint(payload, max(more[1] - base, 0) + 1 if more[1] else 0)
        _put_varint(payload, more[2])
        _put_varint(payload, len(begun))
        for before, offset in pairwise([base - 1, *begun]):
            _put_varint(payload, offset - before - 1)
    attempts = _unfinished(base, completion, completion.attempts)
    if completion.done or attempts:
        if not _put_map(payload, base, completion, attempts, budget):
            return None
    elif version == _MAP:
        return ""
    payload += _checksum(version, payload)
    text = version + base64.urlsafe_b64encode(payload).decode().rstrip("=")
    return text if len(text) <= budget else None


def decode(text: str, base: int) -> Completion | None:
    """Return the completion that a text holds.

    Never raises, whatever the text; takes time and memory in proportion to its length.

    >>> found = decode('1BwMGAAFxSvut', base=7)
    >>> found == Completion(done=((8, 10),), attempts={7: 2})
    True
    >>> decode('1BwMGAAFxSvut', base=8) is None
    True

    Args:
        text: The metadata of a commit, written by anybody.
        base: The offset that it was committed with.

    Returns:
        The completion, empty if the text is; None if the text is of an unknown version,
        corrupt, not in the form that `encode` gives it, or speaks of another base. What is
        not known, as nearly all of a text of version 1, stands as it does by default.
    """
    if not text:
        return Completion()
    version = text[0]
    if version not in (_MAP, _MORE):
        return None
    try:
        payload = base64.b64decode(text[1:] + "=" * (-(len(text) - 1) % 4), b"-_", validate=True)
        body = payload[:-4]
        if payload[-4:] != _checksum(version, body):
            return None
        completion = _read(version, body, base)
        # There is one text for each: this also refuses what base64 and varints leave open
        # (bits unused, a needless zero) and runs that leave the range of offsets.
        return completion if encode(base, completion, len(text)) == text else None
    except (ValueError, IndexError):
        return None


def _read(version: str, body: bytes, base: int) -> Completion:
    """Parse a body whose checksum is right; ValueError or IndexError if it is malformed."""
    found, at = _get_varint(body, 0)
    if found != base:
        raise ValueError("another base")
    if version == _MAP:
        return Completion(*_read_map(body, at, base))
    partitions, at = _get_varint(body, at)
    handed, at = _get_varint(body, at)
    owner, at = _get_varint(body, at)
    count, at = _get_varint(body, at)
    begun: list[int] = []
    offset = base - 1
    # A count that lies ends with the body.
    for _ in range(count):
        distance, at = _get_varint(body, at)
        offset += distance + 1
        begun.append(offset)
    if offset >= _HIGHEST or handed > _HIGHEST - base + 1 or owner >= _OWNERS:
        raise ValueError("no offset, and no owner, is so high")
    done, attempts = _read_map(body, at, base) if at < len(body) else ((), {})
    return Completion(
        done,
        attempts,
        (partitions >> 1) - 1 if partitions > 1 else None,
        bool(partitions & 1),
        tuple(begun),
        base + handed - 1 if handed else 0,
        owner,
    )


def _read_map(body: bytes, at: int, base: int) -> tuple[tuple[Run, ...], dict[int, int]]:
    """Parse what stands from an index of the body to its end."""
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
    return tuple(done), attempts


def _unfinished(base: int, completion: Completion, offsets: Iterable[int]) -> list[int]:
    """Return those of the offsets whose messages are not finished, ascending."""
    done = completion.done
    kept = []
    for offset in sorted(set(offsets)):
        # Run number `index` is the last that starts at or below the offset.
        index = bisect_right(done, offset, key=itemgetter(0)) - 1
        if offset >= base and (index < 0 or offset >= done[index][1]):
            kept.append(offset)
    return kept


def _put_map(
    payload: bytearray, base: int, completion: Completion, attempts: list[int], budget: int
) -> bool:
    """Append the map, with the attempts at these offsets; return False if it is too long."""
    done = completion.done
    size = (done[-1][1] - base + 7) // 8 if done else 0
    if min(len(done), size) > budget:
        return False  # a run takes a byte at least, so it need not be tried
    runs = _runs(base, done)
    if size < len(runs):
        _put_varint(payload, size << 1 | 1)
        payload += _bitmap(base, done).to_bytes(size, "little")
    else:
        _put_varint(payload, len(done) << 1)
        payload += runs
    before = base - 1
    for offset in attempts:
        had = completion.attempts[offset]
        if had < 1:
            raise BugError(f"{had} attempts at offset {offset} are none to be kept")
        _put_varint(payload, offset - before - 1)
        _put_varint(payload, had - 1)
        before = offset
    return True


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


def _checksum(version: str, body: bytes | bytearray) -> bytes:
    return zlib.crc32(body, zlib.crc32(version.encode())).to_bytes(4, "little")
