"""Records on their way to the built-in broker, which drops what it cannot keep.

Decides how large their batches are. capacity.py decides how much room there is.
Tested by tests/kafka_unit/test_bounded.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from kqworker.kafka.capacity import Capacity
from kqworker.kafka.devbroker import BATCH_BYTES
from kqworker.kafka.outgoing import Outgoing


def bounded(properties: Mapping[str, str]) -> Outgoing:
    """Return an `Outgoing` that sends no more to the built-in broker than fits."""
    capacity = Capacity(properties["bootstrap.servers"])
    return Outgoing({"batch.size": str(BATCH_BYTES), **properties}, capacity)
