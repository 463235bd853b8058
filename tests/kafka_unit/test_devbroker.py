"""The built-in broker as other processes see it, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from kqworker.errors import ConfigError
from kqworker.kafka import devbroker
from kqworker.kafka.devbroker import (
    PARTITIONS,
    PROPERTIES,
    DevBroker,
    create_topics,
    running_or_new,
    start_dev_broker,
)
from tests.processes import Process
from tests.waiting import ended

PARENT = """
import sys
from kqworker.kafka.devbroker import start_dev_broker
broker = start_dev_broker()
print(broker.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "kqworker"


@pytest.fixture
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        yield started


def consumer(broker: DevBroker) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "g",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **PROPERTIES,
        }
    )


def test_another_process_produces_consumes_and_commits_with_metadata(broker: DevBroker) -> None:
    create_topics(broker.address, ["orders"])
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
    producer.produce("orders", b"1", partition=2)
    assert producer.flush(10) == 0

    member = consumer(broker)
    member.subscribe(["orders"])
    message = member.poll(10)
    assert message is not None and message.error() is None and message.value() == b"1"
    mark = TopicPartition("orders", 2, 1, metadata="m" * 4000)
    member.commit(offsets=[mark], asynchronous=False)
    member.close()

    again = consumer(broker)
    (committed,) = again.committed([TopicPartition("orders", 2)], timeout=10)
    again.close()
    assert (committed.offset, committed.metadata) == (1, "m" * 4000)


def test_a_topic_that_is_created_has_the_partitions_that_the_limits_name(
    broker: DevBroker,
) -> None:
    create_topics(broker.address, ["a", "b", "a"])

    producer = Producer({"bootstrap.servers": broker.address})
    topics = producer.list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {
        "a": PARTITIONS,
        "b": PARTITIONS,
    }


def test_it_drops_the_oldest_beyond_5_mib_of_a_partition(broker: DevBroker) -> None:
    producer = Producer({"bootstrap.servers": broker.address, "batch.size": 100_000})
    for _ in range(80):
        producer.produce("large", bytes(100_000), partition=0)
    assert producer.flush(10) == 0

    member = consumer(broker)
    low, high = member.get_watermark_offsets(TopicPartition("large", 0), timeout=10)
    member.close()
    assert high == 80
    assert 80 - low == 5 * 2**20 // 100_000


def test_stop_ends_it_and_a_second_stop_does_nothing(broker: DevBroker) -> None:
    broker.stop()
    broker.stop()

    assert not psutil.pid_exists(broker.pid)


def test_it_outlives_ctrl_c_and_a_hang_up_and_stop_kills_what_does_not_end(
    broker: DevBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devbroker, "STOP_TIMEOUT", 0.1)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(broker.pid, number)
    create_topics(broker.address, ["still-there"])
    os.kill(broker.pid, signal.SIGSTOP)

    broker.stop()

    assert not psutil.pid_exists(broker.pid)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits with a pidfd, as on Linux")
def test_it_ends_when_the_process_that_started_it_is_killed() -> None:
    command = [sys.executable, "-c", PARENT]
    with Process(command, apart=True, stdin=subprocess.PIPE) as parent:
        broker = psutil.Process(int(parent.line()))
        assert not ended([broker], 0.0)
        parent.kill()

        assert ended([broker], 5.0)


def test_it_is_found_once_announced_and_until_it_stops(broker: DevBroker, directory: Path) -> None:
    assert devbroker.running() is None

    broker.announce()
    assert devbroker.running() == broker.address
    assert directory.stat().st_mode & 0o777 == 0o700

    broker.stop()
    assert devbroker.running() is None
    assert list(directory.iterdir()) == []


def test_the_last_one_announced_is_found_and_not_forgotten_when_the_first_stops(
    broker: DevBroker,
) -> None:
    broker.announce()
    with start_dev_broker() as second:
        second.announce()
        broker.stop()

        assert devbroker.running() == second.address


def test_a_running_one_is_used_and_outlives_who_used_it(broker: DevBroker) -> None:
    broker.announce()
    with running_or_new() as address:
        assert address == broker.address

    assert devbroker.running() == broker.address


def test_a_new_one_is_announced_while_it_is_used() -> None:
    with running_or_new() as address:
        assert devbroker.running() == address

    assert devbroker.running() is None


def test_one_that_was_killed_is_not_found(broker: DevBroker) -> None:
    broker.announce()
    psutil.Process(broker.pid).kill()
    broker._process.wait()

    assert devbroker.running() is None


def test_another_process_with_the_same_pid_is_not_taken_for_it(
    broker: DevBroker, directory: Path
) -> None:
    broker.announce()
    file = directory / "broker.json"
    file.write_text(file.read_text().replace(f'"pid": {broker.pid}', f'"pid": {os.getpid()}'))

    assert devbroker.running() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\x00"])
def test_a_damaged_announcement_is_no_announcement(directory: Path, text: str) -> None:
    directory.mkdir(mode=0o700)
    (directory / "broker.json").write_text(text)

    assert devbroker.running() is None


def test_a_directory_that_is_open_to_others_is_not_used(broker: DevBroker, directory: Path) -> None:
    broker.announce()
    directory.chmod(0o755)

    assert devbroker.running() is None
    with pytest.raises(ConfigError, match=f"chmod 0700 {directory}"):
        broker.announce()
    directory.chmod(0o700)


def test_without_a_runtime_directory_it_is_a_temporary_one_of_this_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert devbroker.runtime_directory() == tmp_path / f"kqworker-{os.getuid()}"


def test_what_keeps_it_from_starting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")

    with pytest.raises(devbroker.BrokerError, match=r"the built-in broker did not start: \S"):
        start_dev_broker()
