"""The app of handlers.py, in a supervisor that tells how much it has received from Kafka."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.kafka.handlers import app
from tests.kafka.journal import FETCHED

__all__ = ["app"]

# A worker has no consumers.
if FETCHED in os.environ and "kqworker.cli" in sys.modules:
    from confluent_kafka import Consumer

    from kqworker.kafka import member

    received: dict[int, int] = {}

    def counted(properties: dict[str, object], **more: object) -> Consumer:
        """Make a consumer that notes what it has received."""

        def note(statistics: str) -> None:
            received[id(properties)] = json.loads(statistics)["rx_bytes"]
            text = "".join(f"{count}\n" for count in received.values())
            Path(os.environ[FETCHED]).write_text(text)

        own = {"statistics.interval.ms": 100, "stats_cb": note}
        return Consumer({**properties, **own}, **more)

    member.Consumer = counted  # type: ignore[assignment,misc]
