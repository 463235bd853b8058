"""A backlog far larger than memory behind slow handlers: the supervisor stays small."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.journal import read
from tests.kafka.records import produce
from tests.kafka.supervisors import HEAVY, Supervise

pytestmark = HEAVY

MIB = 2**20
BOUND = 300 * MIB
SIZE, COUNT = 100_000, 10_500  # 1 GB and a little
HANDLED = 1500  # so many, at 10 ms each, with the memory looked at all the while


@pytest.fixture(scope="module")
def backlog(kafka: Cluster) -> Iterator[str]:
    """A topic with 1 GB in four partitions; what names it is a pattern, too."""
    name = kafka.create_topic(f"backlog-{uuid.uuid4().hex[:8]}", partitions=4)
    value = b"sleep 0.01 " + b"x" * (SIZE - 11)
    produce(kafka, name, (value for _ in range(COUNT)), partitions=4)
    yield name


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        pytest.param("{}", (), id="one topic, one member"),
        pytest.param("^{}.*", ("--members", "3"), id="pattern, three members"),
        pytest.param("{}", ("--prefetch", "100000", "--prefetch-bytes", "64MiB"), id="by bytes"),
    ],
)
def test_a_gigabyte_behind_slow_handlers_leaves_the_supervisor_small(
    kafka: Cluster, supervise: Supervise, backlog: str, pattern: str, options: tuple[str, ...]
) -> None:
    supervisor = supervise(kafka, pattern.format(backlog), *options)

    def seen() -> bool:
        supervisor.look_at_memory()
        return supervisor.reader.follow().ended >= HANDLED

    supervisor.until(seen, f"{HANDLED} handled")

    print(f"the supervisor had {supervisor.peak_memory / MIB:.0f} MiB at most")
    assert supervisor.peak_memory < BOUND, f"{supervisor.peak_memory / MIB:.0f} MiB"
    assert supervisor.stop() == 0, supervisor
    attempts = read(supervise.journal)
    assert checker.repeats(attempts) == {}
    # Everybody had work all the while: the bound is not kept by starving the workers.
    assert len({attempt.pid for attempt in attempts}) == 2


def test_the_workers_stay_small_too(kafka: Cluster, supervise: Supervise, backlog: str) -> None:
    supervisor = supervise(kafka, backlog).handled(200)
    peaks = [worker.memory_info().rss for worker in supervisor.workers()]

    assert len(peaks) == 2
    assert max(peaks) < 100 * MIB
