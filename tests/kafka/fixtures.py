"""The fixtures that give a test Apache Kafka: shared clusters, one of its own, a topic.

Decides what happens where Kafka cannot run: the tests are skipped and say why, and with
`CI` set they fail instead, because there a skipped test is a test nobody runs.
`KQWORKER_TEST_BROKERS=host:port,…` uses a running cluster; tests that break brokers or need
settings of their own then skip. Imported by tests/conftest.py, so that every room has them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests import leaks, required

if TYPE_CHECKING:
    # At run time only when a test wants a broker: the other rooms' tests stay light.
    from tests.kafka.cluster import Cluster

BROKERS = "KQWORKER_TEST_BROKERS"


class NewTopic(Protocol):
    """What the fixture `topic` gives: creates a topic and returns its name."""

    def __call__(
        self,
        partitions: int = 1,
        replication: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str: ...


class NewCluster(Protocol):
    """What the fixture `new_cluster` gives: a cluster that ends with the test."""

    def __call__(
        self,
        brokers: int = 1,
        properties: Mapping[str, str] | None = None,
        tls_scram: bool = False,
    ) -> Cluster: ...


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """One broker, shared by all tests; do not break it."""
    with _shared(_given() or _started(1)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka3() -> Iterator[Cluster]:
    """Three brokers, shared; a test may kill and freeze them, and finds them whole."""
    with _shared(_given() or _started(3)) as cluster:
        if cluster.brokers < 3:
            pytest.skip(f"the cluster that {BROKERS} names has fewer than three brokers")
        yield cluster


@pytest.fixture(scope="session")
def kafka_tls() -> Iterator[Cluster]:
    """One broker, shared, whose clients need TLS and SCRAM-SHA-512."""
    with _shared(_started(1, tls_scram=True)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def brokers_are_whole_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """Brings back what a test on the three brokers killed or froze and, failing, left so."""
    yield
    if "kafka3" in request.fixturenames:
        request.getfixturevalue("kafka3").repair()


@pytest.fixture
def topic(kafka: Cluster) -> NewTopic:
    """Makes topics of unused names on the shared broker."""
    return kafka.new_topic


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[NewCluster]:
    """Starts clusters that nobody shares, and stops them when the test ends."""
    started: list[Cluster] = []

    def start(
        brokers: int = 1,
        properties: Mapping[str, str] | None = None,
        tls_scram: bool = False,
    ) -> Cluster:
        started.append(_started(brokers, properties, tls_scram, tmp_path))
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


@contextlib.contextmanager
def _shared(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster for the session: its processes, old and new, are no test's leak."""
    leaks.spared.append(cluster.pids)
    try:
        with cluster:
            yield cluster
    finally:
        leaks.spared.remove(cluster.pids)


def _given() -> Cluster | None:
    bootstrap = os.environ.get(BROKERS)
    if not bootstrap:
        return None
    from tests.kafka.cluster import Cluster

    return Cluster.given(bootstrap)


def _started(
    brokers: int,
    properties: Mapping[str, str] | None = None,
    tls_scram: bool = False,
    folder: Path | None = None,
) -> Cluster:
    if os.environ.get(BROKERS):
        pytest.skip(f"{BROKERS} is set, and this test needs a cluster with settings of its own")
    from tests.kafka.cluster import Cluster
    from tests.kafka.distribution import Unavailable

    try:
        return Cluster.start(brokers, properties, tls_scram, folder)
    except Unavailable as missing:
        required.missing(f"Apache Kafka cannot run here: {missing}")
