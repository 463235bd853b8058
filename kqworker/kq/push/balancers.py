"""Which partition a message goes to: kafka-go's balancers, by their names.

Decides what each balancer asks of librdkafka, whose hashes are kafka-go's own. A balancer
without such a partitioner counts by itself. Pure; a balancer is a plain value, and the pusher
keeps the counts. Tested by tests/kq/test_balancers.py and tests/interop/test_balancers.py
against kafka-go, and by tests/kafka/test_kq_pusher.py on 1 to 12 partitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kqworker.errors import ConfigError

# Takes the bytes of a message's key and value and the number of partitions; returns a partition.
Choose = Callable[[int, int], int]

# kafka-go counts messages in 32 bits.
_COUNTER = 2**32


@dataclass(frozen=True, slots=True)
class Murmur2Balancer:
    """The hash of Java's producer: one key, one partition, the same as from Java.

    Attributes:
        consistent: As in kafka-go. It concerns messages without a key; a pusher sends none.
    """

    consistent: bool = False

    @property
    def partitioner(self) -> str:
        """Its name in librdkafka."""
        return "murmur2" if self.consistent else "murmur2_random"


@dataclass(frozen=True, slots=True)
class Hash:
    """FNV-1a, the hash of Go's Sarama and of kafka-go: one key, one partition."""

    @property
    def partitioner(self) -> str:
        """Its name in librdkafka."""
        return "fnv1a_random"


@dataclass(frozen=True, slots=True)
class CRC32Balancer:
    """The hash of librdkafka's own default: one key, one partition.

    Attributes:
        consistent: Whether messages with an empty key go to one partition, too.
    """

    consistent: bool = False

    @property
    def partitioner(self) -> str:
        """Its name in librdkafka."""
        return "consistent" if self.consistent else "consistent_random"


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """One partition after the other, whatever the key.

    Attributes:
        chunk_size: So many messages go to a partition before the next one; at least 1.
    """

    chunk_size: int = 1

    def __post_init__(self) -> None:
        if type(self.chunk_size) is not int or self.chunk_size < 1:
            raise ConfigError(
                f"RoundRobin(chunk_size={self.chunk_size!r}): must be a whole number of at least 1"
            )

    def chooser(self) -> Choose:
        """Return a function that begins with partition 0.

        >>> choose = RoundRobin().chooser()
        >>> [choose(100, 3) for _ in range(5)]
        [0, 1, 2, 0, 1]
        """
        counter = 0

        def choose(_size: int, partitions: int) -> int:
            nonlocal counter
            chosen = counter // self.chunk_size % partitions
            counter = (counter + 1) % _COUNTER
            return chosen

        return choose


@dataclass(frozen=True, slots=True)
class LeastBytes:
    """The partition that this pusher has sent the fewest bytes to, whatever the key.

    go-queue's default. A key's messages are spread over all partitions.
    """

    def chooser(self) -> Choose:
        """Return a function that has counted nothing yet.

        >>> choose = LeastBytes().chooser()
        >>> [choose(size, 2) for size in (5, 1, 1, 9)]
        [0, 1, 1, 1]
        """
        counters: list[int] = []

        def choose(size: int, partitions: int) -> int:
            nonlocal counters
            if len(counters) != partitions:
                counters = [0] * partitions
            chosen = counters.index(min(counters))
            counters[chosen] += size
            return chosen

        return choose


# Those that librdkafka has a partitioner for, and those that count here.
Hashing = Murmur2Balancer | Hash | CRC32Balancer
Counting = RoundRobin | LeastBytes
Balancer = Hashing | Counting
