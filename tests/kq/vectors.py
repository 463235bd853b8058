"""What kafka-go's balancers choose, as `original balancers` printed it: balancers.jsonl.

tests/interop/test_balancers.py holds the file against kafka-go itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kqworker.kq import CRC32Balancer, Hash, LeastBytes, Murmur2Balancer, RoundRobin
from kqworker.kq.push.balancers import Balancer

FILE = Path(__file__).with_name("balancers.jsonl")

# By the names of tests/interop/go/balancers.go.
HASHES: dict[str, Balancer] = {
    "murmur2": Murmur2Balancer(),
    "murmur2 consistent": Murmur2Balancer(consistent=True),
    "hash": Hash(),
    "crc32": CRC32Balancer(),
    "crc32 consistent": CRC32Balancer(consistent=True),
}
COUNTING: dict[str, RoundRobin | LeastBytes] = {
    "round robin": RoundRobin(),
    "round robin by 3": RoundRobin(chunk_size=3),
    "least bytes": LeastBytes(),
}


@dataclass(frozen=True, slots=True)
class Counted:
    """Messages that a balancer counts, one after the other."""

    balancer: str
    partitions: list[int]
    sizes: list[int]
    chosen: list[int]


def hashed(balancer: str) -> dict[bytes, list[int]]:
    """The partition of each key, of 1, 2, … partitions, for keys that are there."""
    return {
        bytes.fromhex(row["Key"]): row["Chosen"][balancer]
        for row in _rows()
        if "Key" in row and row["Key"] is not None and balancer in row["Chosen"]
    }


def counted() -> list[Counted]:
    """The cases of balancers that count."""
    return [
        Counted(row["Balancer"], row["Partitions"], row["Sizes"], row["Chosen"])
        for row in _rows()
        if "Balancer" in row
    ]


# Any: as JSON has it, which the names above give a form.
def _rows() -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
