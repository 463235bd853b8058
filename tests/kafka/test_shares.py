"""A slow or a failing partition takes nothing away from the others."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import FETCHED
from tests.kafka.records import produce
from tests.kafka.supervisors import HEAVY, Supervise

pytestmark = HEAVY

PROMPT = 2.0


@pytest.mark.alone
@pytest.mark.parametrize(
    ("seconds", "partitions", "size", "options"),
    [
        pytest.param(0.3, 1, 100, (), id="300 ms, one partition"),
        pytest.param(0.1, 4, 65_536, (), id="100 ms, 64 KiB"),
        pytest.param(0.005, 4, 100, ("--prefetch", "400"), id="5 ms, prefetch 400"),
    ],
)
def test_a_message_of_a_quiet_topic_begins_soon_beside_a_backlog(
    kafka: Cluster,
    topic: NewTopic,
    supervise: Supervise,
    seconds: float,
    partitions: int,
    size: int,
    options: tuple[str, ...],
) -> None:
    busy, quiet = topic(partitions=partitions), topic(partitions=1)
    count = 2_000 if size > 1000 else 40_000
    value = f"sleep {seconds} ".encode().ljust(size, b"x")
    produce(kafka, busy, [value] * count, partitions=partitions)
    # Drains what it is on, and nothing else.
    supervisor = supervise(kafka, busy, *options, quiet=quiet).handled(8)

    def begun() -> list[float]:
        attempts = supervisor.reader.follow().attempts
        return [attempt.start for attempt in attempts if attempt.key.topic == quiet]

    waited = []
    for number in range(1, 4):
        produce(kafka, quiet, [b"ok"])
        produced = time.monotonic()  # what a new producer takes is not the run's time
        supervisor.until(lambda number=number: len(begun()) >= number, f"{number} begun")
        waited.append(begun()[-1] - produced)
    assert max(waited) < PROMPT, waited
    assert supervisor.stop() == 0, supervisor


def test_a_partition_finishes_while_another_holds_a_thousand_waiting_retries(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=2)
    # In turn: those that fail come to partition 0.
    produce(kafka, name, [b"fail 1", b"ok"] * 3000, partitions=2)

    supervisor = supervise(kafka, name, retry={"first": 600.0, "jitter": False})

    def good() -> int:
        attempts = supervisor.reader.follow().attempts
        return sum(attempt.key.partition == 1 and attempt.ok for attempt in attempts)

    def failed() -> int:
        return sum(attempt.failed for attempt in supervisor.reader.follow().attempts)

    supervisor.until(lambda: good() == 3000, "the good ones are handled")
    supervisor.until(lambda: failed() >= 1000, "others wait for their next attempt")
    assert supervisor.stop() == 0, supervisor


@pytest.mark.parametrize(
    ("count", "size", "seconds", "options"),
    [
        pytest.param(1200, 65_536, 0.002, ("--prefetch-bytes", "4MiB"), id="64 KiB"),
        pytest.param(12_000, 1000, 0.0005, (), id="1,000 B"),
    ],
)
def test_little_more_is_fetched_than_is_handled(
    kafka: Cluster,
    topic: NewTopic,
    supervise: Supervise,
    tmp_path: Path,
    count: int,
    size: int,
    seconds: float,
    options: tuple[str, ...],
) -> None:
    name = topic(partitions=4)
    value = f"sleep {seconds} ".encode().ljust(size, b"x")
    produce(kafka, name, [value] * count, partitions=4)
    told = {FETCHED: str(tmp_path / "fetched")}
    app = "tests.kafka.fetched:app"
    supervisor = supervise(kafka, name, "--until-caught-up", *options, app=app, environment=told)
    assert supervisor.wait() == 0, supervisor

    received = int((tmp_path / "fetched").read_text())
    handled = supervisor.reader.follow().ended * size
    assert handled == count * size
    # All of it came; a pause throws away what was prefetched, and that comes again.
    assert handled <= received <= 1.5 * handled


def test_dead_letters_that_no_topic_takes_keep_no_other_topic_waiting(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    limit = {"max.message.bytes": "200000"}
    busy, letters = topic(partitions=1, config=limit), topic(partitions=1, config=limit)
    quiet = topic(partitions=1)
    # One by one: with the headers of a dead letter each is larger than the topic takes.
    for _ in range(10):
        produce(kafka, busy, [b"reject no ".ljust(199_900, b"x")])
    options = ("--prefetch-bytes", "1MiB", "--shutdown-timeout", "1")
    stalling = {"dead_letter": letters, "dead_letter_overflow": "stall"}
    supervisor = supervise(kafka, busy, *options, quiet=quiet, **stalling)
    supervisor.until(lambda: supervisor.events("stalled"), "a dead letter is not delivered")

    produce(kafka, quiet, [b"ok"] * 15)

    def done() -> int:
        attempts = supervisor.reader.follow().attempts
        return sum(attempt.key.topic == quiet and attempt.ok for attempt in attempts)

    supervisor.until(lambda: done() == 15, "the other topic is handled", timeout=10.0)
    assert supervisor.stop() == 4, supervisor
