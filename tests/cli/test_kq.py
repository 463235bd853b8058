"""`kqworker kq` from the command line: the file, the handler, the exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from kqworker.kafka.devbroker import DevBroker, create_topics, start_dev_broker
from tests.cli.conftest import Run, started

HANDLER = """\
import os
import threading

def handle(key: str, value: str) -> None:
    # One write a line, so that two workers do not mix theirs.
    os.write(1, f"{key}={value}\\n".encode())

class Consumer:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def consume(self, context, key, value):
        with self.lock:
            os.write(1, f"{context.attempt} {value}\\n".encode())

consumer = Consumer()

def fail(key, value):
    raise ValueError(value)
"""
CONFIG = """\
Name: shop
Brokers:
- {broker}
Group: shop
Topic: test
Offset: first
Consumers: 1
Processors: 2
MinBytes: 1
Log:
  Encoding: plain
Kqworker:
  until_caught_up: true
"""


@pytest.fixture
def broker(here: Path) -> Iterator[DevBroker]:
    with start_dev_broker() as broker:
        broker.announce()
        create_topics(broker.address, ["test"])
        yield broker


@pytest.fixture
def shop(here: Path, broker: DevBroker) -> Path:
    (here / "shop.py").write_text(HANDLER)
    (here / "config.yaml").write_text(CONFIG.format(broker=broker.address))
    return here


def test_it_handles_what_the_file_says(shop: Path, kqworker: Run) -> None:
    kqworker("push", "test", "a", "--key", "k")

    ended = kqworker("kq", "-f", "config.yaml", "shop:handle")

    assert ended.code == 0, ended.err
    assert ended.out == "k=a\n"
    assert "1 handled · 0 failed" in ended.err
    assert "· shop ·" in ended.err  # the banner


def test_an_object_with_consume_is_imported_by_each_worker(shop: Path, kqworker: Run) -> None:
    kqworker("push", "test", stdin="a\nb\n")

    ended = kqworker("kq", "-f", "config.yaml", "shop:consumer")

    assert ended.code == 0, ended.err
    assert sorted(ended.out.splitlines()) == ["1 a", "1 b"]


def test_a_failed_message_is_logged_with_its_coordinates(shop: Path, kqworker: Run) -> None:
    kqworker("push", "test", "a")

    ended = kqworker("kq", "-f", "config.yaml", "shop:fail")

    assert ended.code == 6, ended.err
    assert "message failed after 1 attempt" in ended.err
    assert re.search(r"topic=test partition=\d offset=0 ", ended.err)


def test_warnings_are_told_once(shop: Path, kqworker: Run) -> None:
    with (shop / "config.yaml").open("a") as config:
        config.write("Processor: 2\n")

    ended = kqworker("kq", "-f", "config.yaml", "shop:handle")

    assert ended.code == 0, ended.err
    assert ended.err.count("config.yaml:14: Processor") == 1


def test_the_environment_fills_the_file_in(shop: Path, kqworker: Run) -> None:
    text = (shop / "config.yaml").read_text()
    (shop / "config.yaml").write_text(text.replace("Topic: test", "Topic: ${TOPIC}"))
    kqworker("push", "test", "a", "--key", "k")

    ended = kqworker("kq", "--use-env", "-f", "config.yaml", "shop:handle", TOPIC="test")

    assert ended.out == "k=a\n", ended.err


def test_it_stands_in_a_section_of_the_file_of_a_service(shop: Path, kqworker: Run) -> None:
    text = (shop / "config.yaml").read_text()
    (shop / "config.yaml").write_text("Name: site\nKq:\n" + indent(text, "  "))
    kqworker("push", "test", "a", "--key", "k")

    ended = kqworker("kq", "--section", "kq", "-f", "config.yaml", "shop:handle")

    assert ended.out == "k=a\n", ended.err


def test_the_handler_is_imported_from_the_app_dir(
    shop: Path, kqworker: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (shop / "shop.py").rename(elsewhere / "shop.py")
    kqworker("push", "test", "a", "--key", "k")

    ended = kqworker("kq", "-f", "config.yaml", "--app-dir", str(elsewhere), "shop:handle")

    assert ended.out == "k=a\n", ended.err


def test_it_runs_until_it_is_told_to_end(shop: Path) -> None:
    text = (shop / "config.yaml").read_text()
    (shop / "config.yaml").write_text(text.replace("until_caught_up: true", "prefetch: 10"))

    with started("kq", "-f", "config.yaml", "shop:handle") as kq:
        kq.wait_for("ready in")

        assert kq.stop() == 0

    assert "draining" in kq.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop:handle",), "'-f'"),
        (("-f", "nowhere.yaml", "shop:handle"), "cannot read nowhere.yaml: "),
        (("-f", "config.yaml", "shop:handl"), "no attribute 'handl' (did you mean 'handle'?)"),
        (("-f", "config.yaml", "shop"), "try: shop:handle or shop:fail or shop:consumer\n"),
        (
            ("-f", "config.yaml", "shop.py:handle"),
            "is a file, not module:attribute; try: shop:hand",
        ),
        (("-f", "config.yaml", "shop:CONFIG"), "is no handler"),
        (("-f", "bad.yaml", "shop:handle"), "bad.yaml:1: Name is missing"),
    ],
)
def test_a_mistake_ends_it_with_2(
    here: Path, kqworker: Run, arguments: tuple[str, ...], said: str
) -> None:
    (here / "shop.py").write_text(HANDLER + "CONFIG = 1\n")
    (here / "config.yaml").write_text(CONFIG.format(broker="127.0.0.1:1"))
    (here / "bad.yaml").write_text("Topic: test\nBrokers: [b]\nGroup: g\n")

    ended = kqworker("kq", *arguments)

    assert ended.code == 2, ended
    assert said in ended.err


@pytest.mark.parametrize(
    "command", [("run", "queues:app"), ("kq", "-f", "c.yaml", "queues:handle")]
)
def test_a_file_that_the_module_must_load_is_missed_in_one_line(
    here: Path, kqworker: Run, command: tuple[str, ...]
) -> None:
    (here / "queues.py").write_text("import kqworker.kq as kq\nc = kq.must_load('nowhere.yaml')\n")
    (here / "c.yaml").write_text(CONFIG.format(broker="127.0.0.1:1"))

    ended = kqworker(*command)

    assert ended.code == 2
    assert ended.err == "error: cannot read nowhere.yaml: No such file or directory\n"
