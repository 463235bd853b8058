"""The Queue of kqworker.kq on Apache Kafka: programs as their users write them."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kafka import certificates
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.node import PASSWORD, USER
from tests.kafka.programs import Program
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import ROOT

EXAMPLE = ROOT / "examples" / "go_queue"
PROGRAM = """\
import sys
import kqworker.kq as kq

{handler}

c = kq.must_load("config.yaml")
q = kq.must_new_queue(c, kq.with_handle(handle){options})
with q:
    print("exit", int(q.start()))
"""

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs in the test's directory, and sees to their end."""
    started: list[Program] = []

    def start(*arguments: str, **environment: str) -> Program:
        started.append(Program(*arguments, folder=tmp_path, environment=environment))
        return started[-1]

    yield start
    for program in started:
        program.close()


class Shop:
    """A directory with a queue's configuration and program.

    Args:
        folder: The directory.
        cluster: Where to.
        topic: What is consumed, by a group of the same name.
    """

    def __init__(self, folder: Path, cluster: Cluster, topic: str) -> None:
        self.folder = folder
        self.cluster = cluster
        self.topic = topic

    def configure(self, name: str = "config.yaml", **fields: Any) -> None:
        """Write a configuration; `Kqworker` adds to what ends the run at the end of the topic."""
        known: dict[str, Any] = {
            "Name": "shop",
            "Brokers": self.cluster.bootstrap.split(","),
            "Group": f"g-{self.topic}",
            "Topic": self.topic,
            "Offset": "first",
            "Consumers": 1,
            "Processors": 2,
            "MinBytes": 1,
            "Log": {"Encoding": "plain"},
        }
        # JSON is YAML.
        (self.folder / name).write_text(json.dumps(known | fields))

    def program(self, handler: str, options: str = "") -> None:
        """Write main.py; the handler's source defines `handle`."""
        text = PROGRAM.format(handler=handler, options=options)
        (self.folder / "main.py").write_text(text)

    def committed(self) -> dict[int, int]:
        """What the group has committed, by partition."""
        found = self.cluster.committed(f"g-{self.topic}", self.topic)
        return {partition: each.offset for partition, each in found.items()}


@pytest.fixture
def shop(tmp_path: Path, kafka: Cluster, topic: NewTopic) -> Shop:
    return Shop(tmp_path, kafka, topic(2))


CAUGHT_UP: Mapping[str, object] = {"until_caught_up": True}


def values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_the_program_of_the_documents_runs_without_a_guard(shop: Shop, start: Start) -> None:
    shop.configure()
    (shop.folder / "main.py").write_text((EXAMPLE / "main.py").read_text())
    produce(shop.cluster, shop.topic, values(50), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("=> ")) == 50, "50 handled")

    assert program.terminate() == 0, program
    assert sorted(map(int, program.starting("=> "))) == list(range(50))
    assert shop.committed() == {0: 25, 1: 25}


def test_the_example_runs_on_three_brokers(kafka3: Cluster, tmp_path: Path, start: Start) -> None:
    for file in EXAMPLE.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    config = tmp_path / "config.yaml"
    text = config.read_text()
    for printed, address in zip(
        re.findall(r"127\.0\.0\.1:1909[234]", text), kafka3.bootstrap.split(","), strict=True
    ):
        text = text.replace(printed, address)
    topic = kafka3.new_topic(3)
    config.write_text(text.replace("Topic: test", f"Topic: {topic}"))
    produce(kafka3, topic, values(30), partitions=3)

    from_python = start("main.py")
    from_python.until(lambda: len(from_python.starting("=> ")) == 30, "30 handled")
    assert from_python.terminate() == 0, from_python
    produce(kafka3, topic, [b"more"])
    from_the_command = start("-m", "kqworker", "kq", "-f", "config.yaml", "handlers:handle")
    from_the_command.until(lambda: from_the_command.starting("=> ") == ["more"], "1 handled")
    assert from_the_command.terminate() == 0, from_the_command

    assert sorted(map(int, from_python.starting("=> "))) == list(range(30))


# -- failures

FAILING = """\
def handle(key, value):
    if value == "3":
        raise ValueError("three")
    print("done", value)

def heard(context, message, error):
    print("heard", message.value, type(error).__name__, context.attempt)
    raise KeyError("of the error handler")
"""


def test_with_force_commit_a_failed_message_is_given_up(shop: Shop, start: Start) -> None:
    shop.configure(Kqworker=CAUGHT_UP)
    shop.program(FAILING, ", kq.with_error_handler(heard)")
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    program = start("main.py")

    assert program.wait() == 0, program
    assert program.starting("heard ") == ["b'3' ValueError 1"]
    assert len(program.starting("done ")) == 9
    assert program.starting("exit ") == ["6"]
    (line,) = [line for line in program.lines if "failed for good" in line]
    assert f"topic={shop.topic} partition=1 offset=1" in line
    assert "ValueError: three" in line
    assert "the error handler failed" in program.output
    assert shop.committed() == {0: 5, 1: 5}


def test_a_message_that_was_given_up_goes_to_the_dead_letters(
    shop: Shop, start: Start, topic: NewTopic
) -> None:
    dead = topic(1)
    shop.configure(Kqworker={**CAUGHT_UP, "dead_letter": dead})
    shop.program(FAILING)
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    assert start("main.py").wait() == 0

    (letter,) = consume(shop.cluster, dead)
    assert letter.value() == b"3"
    assert dict(letter.headers() or ())["kqworker-error-type"] == b"ValueError"


STUBBORN = """\
import pathlib

def handle(context, key, value):
    if value == "3" and context.attempt < 4:
        raise ValueError("not yet")
    print("done", value, context.attempt)

def heard(context, message, error):
    print("heard", context.attempt)
"""


def test_without_force_commit_a_failed_message_is_tried_until_it_succeeds(
    shop: Shop, start: Start
) -> None:
    retry = {"first": 0.05}
    shop.configure(ForceCommit=False, Kqworker={**CAUGHT_UP, "retry": retry})
    shop.program(STUBBORN, ", kq.with_error_handler(heard)")
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    program = start("main.py")

    assert program.wait() == 0, program
    assert program.starting("heard ") == ["1", "2", "3"]
    assert "3 4" in program.starting("done ")
    assert len(program.starting("done ")) == 10
    assert shop.committed() == {0: 5, 1: 5}


def test_a_failed_message_that_a_stop_interrupts_is_delivered_again(
    shop: Shop, start: Start
) -> None:
    retry = {"first": 3600, "cap": 3600}
    shop.configure(ForceCommit=False, Kqworker={"retry": retry})
    shop.program(STUBBORN, ", kq.with_error_handler(heard)")
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    first = start("main.py")
    first.until(lambda: len(first.starting("done ")) == 9 and first.starting("heard "), "9 done")
    assert first.terminate() == 0, first

    # In kq the next success has committed past it. Here it stands where it failed, and what
    # is finished above it is not repeated.
    assert shop.committed() == {0: 5, 1: 1}
    shop.configure(ForceCommit=False, Kqworker={**CAUGHT_UP, "retry": {"first": 0.05}})
    second = start("main.py")
    assert second.wait() == 0, second
    assert [line.split()[0] for line in second.starting("done ")] == ["3"]
    assert shop.committed() == {0: 5, 1: 5}


def test_our_own_retry_bounds_the_attempts(shop: Shop, start: Start) -> None:
    retry = {"attempts": 2, "first": 0.05}
    shop.configure(ForceCommit=False, Kqworker={**CAUGHT_UP, "retry": retry})
    shop.program(FAILING, ", kq.with_error_handler(heard)")
    produce(shop.cluster, shop.topic, values(5), partitions=2)

    program = start("main.py")

    assert program.wait() == 0, program
    assert program.starting("heard ") == ["b'3' ValueError 1", "b'3' ValueError 2"]
    assert program.starting("exit ") == ["6"]


def test_a_killed_worker_loses_nothing(shop: Shop, start: Start) -> None:
    shop.configure(Conns=2)
    shop.program(
        "import os, time\n"
        "def handle(key, value):\n"
        "    time.sleep(0.002)\n"
        "    os.write(1, f'done {value}\\n'.encode())"
    )
    produce(shop.cluster, shop.topic, values(1500), partitions=2)

    program = start("main.py")
    for handled in (100, 300, 500):
        program.until(lambda n=handled: len(program.starting("done ")) >= n, f"{handled} handled")
        workers = program.workers()
        if workers:
            workers[0].kill()

    def whole() -> bool:
        return set(map(int, program.starting("done "))) == set(range(1500))

    program.until(whole, "all handled")
    assert program.terminate() == 0, program
    assert shop.committed() == {0: 750, 1: 750}


# -- the end

THREAD = """\
import threading
import kqworker.kq as kq

c = kq.must_load("config.yaml")
q = kq.must_new_queue(c, kq.with_handle(lambda k, v: print(f"=> {v}")))

def wait():
    input()
    q.stop()

threading.Thread(target=wait).start()
print("exit", int(q.start()))
"""


def test_another_thread_stops_it(shop: Shop, start: Start) -> None:
    shop.configure()
    (shop.folder / "main.py").write_text(THREAD)
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("=> ")) == 10, "10 handled")
    assert program.process.stdin is not None
    program.process.stdin.write(b"\n")
    program.process.stdin.flush()

    assert program.wait() == 0, program
    assert program.starting("exit ") == ["0"]
    assert "told to stop: draining" in program.output
    assert shop.committed() == {0: 5, 1: 5}


SLOW = """\
import os, time

def handle(key, value):
    print("begun", value)
    time.sleep({seconds})
    print("done", value)
"""


def test_a_stop_drains_what_is_being_handled(shop: Shop, start: Start) -> None:
    shop.configure()
    shop.program(SLOW.format(seconds=0.5))
    produce(shop.cluster, shop.topic, values(40), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("begun ")) == 2, "2 begun")

    assert program.terminate() == 0, program
    assert sorted(program.starting("begun ")) == sorted(program.starting("done "))
    assert len(program.starting("done ")) < 10


def test_wait_time_bounds_the_drain(shop: Shop, start: Start) -> None:
    shop.configure(Shutdown={"WaitTime": "200ms"})
    shop.program(SLOW.format(seconds=3600))
    produce(shop.cluster, shop.topic, values(2), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("begun ")) == 2, "2 begun")

    assert program.terminate() == 0, program
    assert program.starting("exit ") == ["4"]
    assert "abandoned" in program.output


def test_a_second_interrupt_stops_now(shop: Shop, start: Start) -> None:
    shop.configure(Shutdown={"WaitTime": "600s"})
    shop.program(SLOW.format(seconds=3600))
    produce(shop.cluster, shop.topic, values(2), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("begun ")) == 2, "2 begun")
    program.process.send_signal(signal.SIGINT)
    program.until(lambda: "Ctrl-C: draining" in program.output, "draining")
    program.process.send_signal(signal.SIGINT)

    assert program.wait() == 0, program
    assert program.starting("exit ") == ["4"]


# -- several queues

GROUP = """\
import kqworker.kq as kq

group = kq.ServiceGroup()
for name in ("one.yaml", "two.yaml"):
    c = kq.must_load(name)
    group.add(kq.must_new_queue(c, lambda k, v, name=name: print(name, v)))
with group:
    print("exit", int(group.start()))
"""


def test_two_queues_of_one_process_run_side_by_side(
    shop: Shop, start: Start, topic: NewTopic
) -> None:
    other = Shop(shop.folder, shop.cluster, topic(2))
    shop.configure("one.yaml")
    other.configure("two.yaml", Name="other")
    (shop.folder / "main.py").write_text(GROUP)
    produce(shop.cluster, shop.topic, values(50), partitions=2)
    produce(shop.cluster, other.topic, values(50), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("one.yaml ")) == 50, "50 of the first")
    program.until(lambda: len(program.starting("two.yaml ")) == 50, "50 of the second")
    workers = program.workers()

    assert len(workers) == 4
    workers[0].kill()
    workers[3].kill()
    produce(shop.cluster, shop.topic, [b"more"])
    produce(shop.cluster, other.topic, [b"more"])
    program.until(lambda: program.output.count(" more\n") == 2, "both go on")
    assert program.terminate() == 0, program
    assert program.starting("exit ") == ["0"]
    assert shop.committed() == other.committed() == {0: 26, 1: 25}
    assert not psutil.wait_procs(workers, 1.0)[1]


def test_when_one_queue_fails_the_other_drains_and_the_error_is_raised(
    shop: Shop, start: Start
) -> None:
    shop.configure("one.yaml")
    shop.configure("two.yaml", Topic="nobody-has-made-it", Group="other")
    (shop.folder / "main.py").write_text(GROUP)

    program = start("main.py")

    assert program.wait() != 0, program
    assert "topic 'nobody-has-made-it' does not exist" in program.output
    assert not program.starting("exit ")


# -- TLS and the login


@pytest.fixture
def secured(tmp_path: Path, kafka_tls: Cluster) -> Shop:
    shop = Shop(tmp_path, kafka_tls, kafka_tls.new_topic(2))
    shop.program("def handle(key, value):\n    print('done', value)")
    return shop


def test_a_ca_file_and_a_login_are_enough_for_tls_and_scram(secured: Shop, start: Start) -> None:
    secured.configure(
        CaFile=secured.cluster.client["ssl.ca.location"],
        Username=USER,
        Password=PASSWORD,
        Kqworker={**CAUGHT_UP, "sasl_mechanism": "SCRAM-SHA-512"},
    )
    produce(secured.cluster, secured.topic, values(4), partitions=2)

    program = start("main.py")

    assert program.wait() == 0, program
    assert sorted(program.starting("done ")) == ["0", "1", "2", "3"]
    assert PASSWORD not in program.output


def test_a_ca_file_without_a_user_is_tls_and_no_crash(secured: Shop, start: Start) -> None:
    secured.configure(
        CaFile=secured.cluster.client["ssl.ca.location"], Kqworker={"startup_timeout": 10}
    )

    program = start("main.py")

    # This broker wants a login, too: TLS has come about.
    assert program.wait() != 0, program
    assert secured.cluster.bootstrap in program.output
    assert "certificate" not in program.output


def test_the_brokers_certificate_is_verified(
    secured: Shop, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = certificates.make(tmp_path_factory.mktemp("stranger")).authority
    secured.configure(CaFile=str(stranger), Username=USER, Password=PASSWORD)

    program = start("main.py")

    assert program.wait() != 0, program
    assert "certificate" in program.output
