"""The log of a partition on a broker's disk: its batches, and how one is damaged.

Decides nothing. The layout is Kafka's (https://kafka.apache.org/documentation/#recordbatch).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Offset of the first record, bytes that follow; leader epoch, magic, checksum, attributes,
# and the last record's offset less the first's.
HEADER = struct.Struct(">qiibIhi")
# Behind it: times, the producer, the number of records.
RECORDS = 61


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in a segment.

    Attributes:
        at: Where it begins in the file.
        size: Its bytes.
        first: The offset of its first record.
        last: The offset of its last record.
    """

    at: int
    size: int
    first: int
    last: int


def batches(segment: Path) -> Iterator[Batch]:
    """Every batch of a segment, in order."""
    data, at = segment.read_bytes(), 0
    while at + RECORDS <= len(data):
        first, length, _, _, _, _, delta = HEADER.unpack_from(data, at)
        if length <= 0:
            return
        yield Batch(at, 12 + length, first, first + delta)
        at += 12 + length


def damage(segment: Path, offset: int, byte: int = RECORDS + 8) -> Batch:
    """Flip one bit of the batch that holds an offset, and return the batch.

    The broker may run: it hands out what its file holds.

    Args:
        segment: The file.
        offset: Of any record in the batch.
        byte: Which byte of the batch, the header included.
    """
    (batch,) = [b for b in batches(segment) if b.first <= offset <= b.last]
    with segment.open("r+b") as file:
        file.seek(batch.at + byte)
        (value,) = file.read(1)
        file.seek(batch.at + byte)
        file.write(bytes([value ^ 0x10]))
    return batch
