"""Where Kafka cannot run the tests say why, and where it must run they fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.kafka import distribution, fixtures
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.processes import ROOT, Process

# A Maven that counts how often it was asked, and takes long enough to be overtaken.
FAKE_MAVEN = """\
#!/bin/sh
echo asked >> "$LOG"
for word; do case $word in -DoutputDirectory=*) folder=${word#*=} ;; esac; done
mkdir "$folder" && touch "$folder/some.jar" && sleep 0.2
exit "${CODE:-0}"
"""
FETCH = "from tests.kafka.distribution import jars; print(jars())"


@pytest.fixture
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise distribution.Unavailable("no java on the PATH")

    monkeypatch.delenv(fixtures.BROKERS, raising=False)
    monkeypatch.setattr(distribution, "java", missing)


@pytest.mark.usefixtures("without_java")
def test_without_java_a_test_is_skipped_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="cannot run here: no java on the PATH"):
        fixtures._started(1)


@pytest.mark.usefixtures("without_java")
def test_without_java_a_test_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match=r"no java on the PATH.*required"):
        fixtures._started(1)


def test_a_given_cluster_is_used_as_it_is(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fixtures.BROKERS, kafka.bootstrap)

    given = fixtures._given()

    assert given is not None
    assert given.client == {"bootstrap.servers": kafka.bootstrap}
    name = given.new_topic(partitions=2)
    assert given.end_offsets(name) == kafka.end_offsets(name) == {0: 0, 1: 0}
    given.stop()
    assert kafka.brokers >= 1


def test_a_given_cluster_is_never_broken(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fixtures.BROKERS, kafka.bootstrap)
    given = Cluster.given(kafka.bootstrap)

    for break_it in (given.kill, given.freeze, given.restart, given.thaw):
        with pytest.raises(pytest.skip.Exception, match="not ours to break"):
            break_it(0)
    with pytest.raises(pytest.skip.Exception, match="settings of its own"):
        fixtures._started(1, tls_scram=True)


def test_topics_have_names_of_their_own(topic: NewTopic) -> None:
    assert topic() != topic()


def fetching(folder: Path, code: int = 0) -> Process:
    """A process that asks for the jars, with the fake Maven and an empty cache."""
    maven = folder / "mvn"
    if not maven.exists():  # the other process may be reading it
        maven.write_text(FAKE_MAVEN)
        maven.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "LOG": str(folder / "asked"),
        "CODE": str(code),
    }
    return Process([sys.executable, "-c", FETCH], folder=ROOT, environment=environment)


def test_two_runs_that_start_together_fetch_the_jars_once(tmp_path: Path) -> None:
    with fetching(tmp_path) as one, fetching(tmp_path) as other:
        one.wait()
        other.wait()
        told = {process.out.strip() for process in (one, other)}

    assert (tmp_path / "asked").read_text().splitlines() == ["asked"]
    (folder,) = told
    assert [jar.name for jar in Path(folder).iterdir()] == ["some.jar"]


def test_a_fetch_that_fails_leaves_no_half_a_copy(tmp_path: Path) -> None:
    with fetching(tmp_path, code=1) as process:
        process.wait()
        told = process.out

    assert "Maven could not fetch Apache Kafka" in told
    assert [path.name for path in (tmp_path / "cache" / "kqworker").iterdir()] == ["lock"]
