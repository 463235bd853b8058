"""Fixtures for tests that run `kqworker` as a real process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kqworker.kafka.source import KafkaSource
from tests.contract.owner import Owner
from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic
from tests.kafka.programs import Program
from tests.kafka.shops import Shop, Start
from tests.kafka.sources import Opened, properties
from tests.kafka.supervisors import Supervise
from tests.waiting import PATIENCE


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts supervisors, all of one group, and ends what is left of them after the test."""
    supervise = Supervise(tmp_path)
    yield supervise
    supervise.close()


@pytest.fixture
def kqworker(tmp_path: Path) -> Command:
    """Runs commands in a directory of the test's own."""
    return Command(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs in the test's directory, and sees to their end."""
    with ExitStack() as started:

        def start(*arguments: str, **environment: str) -> Program:
            program = Program(*arguments, folder=tmp_path, environment=environment)
            return started.enter_context(program)

        yield start


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens sources, and closes those that the test has not."""
    owners: list[Owner] = []

    def open_source(cluster: Cluster, topic: str, group: str, **more: str) -> Owner:
        mine = [properties(cluster, group, **more)]
        owners.append(Owner(KafkaSource(mine, [topic], present={topic: 4})))
        return owners[-1]

    yield open_source
    for owner in owners:
        if owner.source.fileno() >= 0:
            owner.source.close(PATIENCE)


@pytest.fixture
def shop(tmp_path: Path, kafka: Cluster, topic: NewTopic) -> Shop:
    """A queue's directory, and a topic of two partitions."""
    return Shop(tmp_path, kafka, topic(2))
