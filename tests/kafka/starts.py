"""The app under test, with a start hook that never ends for workers behind the first few.

How many are let through comes by the environment. Nothing here knows of Kafka.
"""

from __future__ import annotations

import os
import time

from tests.kafka.handlers import app, journal


@app.on_worker_start
def start() -> None:
    """Hang, unless a place among the first is left."""
    for place in range(int(os.environ["STARTS_THAT_END"])):
        try:
            (journal.folder.parent / f"start-{place}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return
    time.sleep(3600.0)


__all__ = ["app"]
