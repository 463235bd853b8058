"""Records on their way to the built-in broker, which drops what it cannot keep.

How much room there is, is capacity.py's. Tested by tests/kafka_unit/test_bounded.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from kqworker.kafka.capacity import Capacity
from kqworker.kafka.devbroker import BATCH_BYTES
from kqworker.kafka.sink import KafkaSink


def bounded(properties: Mapping[str, str]) -> KafkaSink:
    """Return a sink that pushes no more to the built-in broker than fits."""
    capacity = Capacity(properties["bootstrap.servers"])
    return KafkaSink({"batch.size": str(BATCH_BYTES), **properties}, capacity)
