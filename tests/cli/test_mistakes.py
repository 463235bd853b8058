"""The mistakes that everybody makes once, each with its exact text and exit code."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.kafka.devbroker import create_topics, start_dev_broker
from tests.cli.conftest import Run


@pytest.fixture
def brokers(here: Path) -> Iterator[str]:
    """A broker with the topics of the app, that is not announced as the built-in one."""
    with start_dev_broker() as broker:
        create_topics(broker.address, ["test", "images", "images.dlq", "thumbs"])
        yield broker.address


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


COMMANDS = ["run", "check"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_app(app: Path, kqworker: Run, command: str) -> None:
    ended = kqworker(command, "app:ap")

    assert ended.code == 2
    assert "module 'app' has no attribute 'ap' (did you mean 'app'?)\n" in ended.out + ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broker_that_is_not_there(app: Path, kqworker: Run, command: str, nobody: str) -> None:
    ended = kqworker(command, "app:app", "-b", nobody, "--startup-timeout", "1")

    assert ended.code == 3
    said = " ".join((ended.out + ended.err).split())
    assert f"cannot reach Kafka at {nobody}: connection refused (waited 1s)" in said
    assert "try: kqworker dev app:app (built-in broker)" in said
    assert "%3|" not in ended.err


def test_the_text_of_a_broker_that_is_not_there(app: Path, kqworker: Run, nobody: str) -> None:
    ended = kqworker("run", "app:app", "-b", nobody, "--startup-timeout", "1", "-l", "error")

    assert ended.err.endswith(
        f"error: cannot reach Kafka at {nobody}: connection refused (waited 1s)\n"
        "       try: kqworker dev app:app (built-in broker)\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_topic(app: Path, kqworker: Run, command: str, brokers: str) -> None:
    source = (app / "app.py").read_text()
    (app / "app.py").write_text(source.replace('topic="test"', 'topic="tset"'))

    ended = kqworker(command, "app:app", "-b", brokers)

    assert ended.code == 3
    assert "topic 'tset' does not exist (did you mean 'test'?)\n" in ended.out + ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_property(app: Path, kqworker: Run, command: str, brokers: str) -> None:
    ended = kqworker(command, "app:app", "-b", brokers, "-X", "max.poll.intervall.ms=9")

    assert ended.code == 2
    assert (
        "unknown Kafka property 'max.poll.intervall.ms' (did you mean 'max.poll.interval.ms'?)\n"
    ) in ended.out + ended.err


def test_a_misspelt_topic_of_push(here: Path, kqworker: Run, brokers: str) -> None:
    ended = kqworker("push", "tset", "x", "-b", brokers)

    assert ended.code == 3
    assert ended.err == "error: topic 'tset' does not exist (did you mean 'test'?)\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_topic_to_run_that_no_handler_has(
    app: Path, kqworker: Run, command: str, brokers: str
) -> None:
    ended = kqworker(command, "app:app", "-b", brokers, "-t", "tset")

    assert ended.code == 2
    assert "'tset'" in ended.out + ended.err
    assert "(did you mean 'test'?)" in ended.out + ended.err


def test_a_check_that_goes_well(app: Path, kqworker: Run, brokers: str) -> None:
    ended = kqworker("check", "app:app", "-b", brokers)

    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[:2] for line in ended.out.splitlines()] == [
        ["ok", "app"],
        ["ok", "settings"],
        ["ok", "broker"],
        ["ok", "topics"],
    ]
