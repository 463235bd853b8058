"""What holds for every test: it leaves nothing behind, and Kafka is a fixture away."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka.fixtures import brokers_are_whole_again as brokers_are_whole_again
from tests.kafka.fixtures import kafka as kafka
from tests.kafka.fixtures import kafka3 as kafka3
from tests.kafka.fixtures import kafka_tls as kafka_tls
from tests.kafka.fixtures import new_cluster as new_cluster
from tests.kafka.fixtures import topic as topic
from tests.leaks import Snapshot
from tests.required import openmp as openmp

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("kqworker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kqworker")

# A user's Python keeps what it prints in a buffer. A shell that says otherwise would hide what
# comes of that.
os.environ.pop("PYTHONUNBUFFERED", None)

# A shell that is not interactive has what it starts with "&" ignore Ctrl-C, and all that is
# started from there inherits it: no test of Ctrl-C would ever end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ON_KAFKA = {"kafka", "kafka3", "kafka_tls", "new_cluster", "topic"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks `kafka` on all of tests/kafka, and elsewhere on whatever asks for a cluster."""
    room = Path(__file__).parent / "kafka"
    for item in items:
        if item.path.is_relative_to(room) or _asks_for_a_cluster(item):
            item.add_marker(pytest.mark.kafka)


def _asks_for_a_cluster(item: pytest.Item) -> bool:
    # By where a fixture was made: other rooms have a `topic` or a `kafka` of their own, on the
    # built-in broker or of plain texts. Nothing public tells which of a name an item gets.
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(
        known[name][-1].func.__module__ == kafka.__module__ for name in ON_KAFKA & set(known)
    )


# First among the fixtures of its scope, so that it is the last to look; those of the
# session are older, and what they started is in the first snapshot.
@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fails a test after which there are more processes, threads or descriptors than before."""
    before = Snapshot.take()
    yield
    left = before.left_behind()
    assert not left, "the test left behind:\n  " + "\n  ".join(left)


@pytest.fixture(autouse=True)
def log_is_as_before() -> Iterator[None]:
    """Undoes what a test that runs a command in this process has set up for the log."""
    root, ours = logging.getLogger(), logging.getLogger("kqworker")
    levels, handlers = (root.level, ours.level), root.handlers[:]
    yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
