"""What a frozen broker does to the workers in the middle of a rebalance: shapes (a) and (b).

A second member joins; at the revoke the broker is frozen for 5 s. The supervisor holds messages
of the partitions that it keeps, so its workers could go on. Starts an Apache Kafka of its own.

    python -m benchmarks.frozen
"""

from __future__ import annotations

import os
import tempfile
import threading

from benchmarks.fetching import drain
from benchmarks.shapes import LATENCIES
from tests.kafka.cluster import Cluster

SECONDS = 5.0


def main() -> None:
    """Print how long no worker finished anything."""
    with Cluster.start(1, lasting=True) as kafka, tempfile.TemporaryDirectory() as directory:
        os.environ[LATENCIES] = directory

        def freeze() -> None:
            kafka.freeze(0)
            threading.Timer(SECONDS, kafka.thaw, [0]).start()

        for shape, name in (("a", "(a) loop polls"), ("b", "(b) threads")):
            _, silent = drain(shape, kafka.bootstrap, freeze)
            print(f"{name:16} workers silent for at most {silent:.1f} s", flush=True)


if __name__ == "__main__":
    main()
