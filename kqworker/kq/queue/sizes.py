"""What a fetch waits for and holds at most: `MinBytes` and `MaxBytes` as librdkafka takes them.

Decides which defaults of kafka-go a size of 0 means, and where a size is clamped. Pure.
Tested by tests/kq/test_translate.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# kafka-go's, for a size of 0.
NO_MIN, NO_MAX = 1, 1_000_000

# What librdkafka takes: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
HIGHEST_MIN: Final = 100_000_000
HIGHEST_OF_PARTITION: Final = 1_000_000_000
# An answer must be able to hold the largest message (message.max.bytes).
LOWEST_MAX, HIGHEST_MAX = 1_000_000, 2_147_483_135


@dataclass(frozen=True, slots=True)
class FetchSizes:
    """Bytes that librdkafka takes.

    Attributes:
        least: What a fetch waits for.
        most: What an answer holds at most.
        of_partition: What an answer holds of one partition at most.
        warnings: Where it differs from the configuration: the field, and a text.
    """

    least: int
    most: int
    of_partition: int
    warnings: tuple[tuple[str, str], ...]


def fetch_sizes(min_bytes: int, max_bytes: int) -> FetchSizes:
    """Return what two fields become; a small MaxBytes holds for each partition.

    Args:
        min_bytes: `MinBytes`, at least 0.
        max_bytes: `MaxBytes`, at least 0.

    >>> sizes = fetch_sizes(0, 1024)
    >>> sizes.least, sizes.most, sizes.of_partition
    (1, 1000000, 1024)
    """
    warnings: list[tuple[str, str]] = []
    least, most = min_bytes or NO_MIN, max_bytes or NO_MAX
    if least > most:
        # kafka-go panics here; a small MaxBytes with the default of MinBytes is no reason to.
        warnings.append(("MinBytes", f"{least} is more than MaxBytes: {most} is used"))
        least = most
    if least > HIGHEST_MIN:
        text = f"{least} is more than librdkafka waits for: {HIGHEST_MIN}"
        warnings.append(("MinBytes", text))
        least = HIGHEST_MIN
    of_partition = most
    if most < LOWEST_MAX:
        text = (
            f"it holds for each partition ({most}), but a whole answer may have {LOWEST_MAX} "
            "bytes: librdkafka takes no less"
        )
        warnings.append(("MaxBytes", text))
        most = LOWEST_MAX
    elif most > HIGHEST_OF_PARTITION:
        text = (
            f"librdkafka takes no more than {HIGHEST_OF_PARTITION} bytes for each partition, "
            f"and {HIGHEST_MAX} for a whole answer"
        )
        warnings.append(("MaxBytes", text))
        of_partition, most = HIGHEST_OF_PARTITION, min(most, HIGHEST_MAX)
    return FetchSizes(least, most, of_partition, tuple(warnings))
