"""Good messages with bad ones among them, against the same good messages alone.

The handlers are those of the tests: one message hangs in C with the GIL held until its time
limit, one ends its process, one leaks until the system refuses it more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import ground
from tests.kafka.cluster import Cluster
from tests.kafka.journal import read
from tests.kafka.records import produce
from tests.kafka.supervisors import Supervise

GOOD = 10_000
# Asleep, so that a busy machine is as fast for both.
GOOD_ONE = b"sleep 0.002"
BAD = (b"hang", b"exit 1", b"leak")
PARTITIONS = 4
ROUNDS = 3
# The hang holds one of two workers for three attempts of this.
POLICY = {"retry": {"attempts": 3, "first": 0.1}, "time_limit": 0.5}


def seconds(kafka: Cluster, bad: tuple[bytes, ...]) -> float:
    """Return how long the good messages take, from the first's start to the last's end."""
    values = [GOOD_ONE] * GOOD
    for number, value in enumerate(bad):
        values.insert((number + 1) * GOOD // (len(bad) + 1), value)
    name = kafka.new_topic(partitions=PARTITIONS)
    produced = produce(kafka, name, values, partitions=PARTITIONS)
    good = {key for key, value in zip(produced, values, strict=True) if value == GOOD_ONE}
    with tempfile.TemporaryDirectory(prefix="kqworker-bench-") as folder:
        supervise = Supervise(Path(folder))
        try:
            supervisor = supervise(kafka, name, "--until-caught-up", **POLICY)
            code = supervisor.wait(300.0)
            if code != (6 if bad else 0):
                raise RuntimeError(f"exit {code}\n{supervisor}")
            done = [a for a in read(supervise.journal) if a.key in good and a.end is not None]
        finally:
            supervise.close()
    if {attempt.key for attempt in done} != good:
        raise RuntimeError(f"of {GOOD} good messages {len(done)} were handled")
    return max(a.end or 0.0 for a in done) - min(a.start for a in done)


def main(brokers: str) -> bool:
    """Print the share of the normal rate that is left to good messages."""
    kafka = Cluster.given(brokers)
    ratios = [seconds(kafka, ()) / seconds(kafka, BAD) for _ in range(ROUNDS)]
    note = f"{len(BAD)} bad among {GOOD} of 2 ms, 2 workers"
    return ground.say("good messages among bad ones, share of their rate", ratios, 0.9, note)
