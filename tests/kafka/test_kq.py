"""The Queue of kqworker.kq on Apache Kafka: programs as their users write them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.kafka import certificates
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.node import PASSWORD, USER
from tests.kafka.records import consume, produce
from tests.kafka.shops import CAUGHT_UP, EXAMPLE, Shop, Start, values


def test_the_program_of_the_documents_runs_without_a_guard(shop: Shop, start: Start) -> None:
    shop.configure()
    (shop.folder / "main.py").write_text((EXAMPLE / "main.py").read_text())
    produce(shop.cluster, shop.topic, values(50), partitions=2)

    program = start("main.py")
    program.until(lambda: len(program.starting("=> ")) == 50, "50 handled")

    assert program.stop() == 0, program
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
    assert from_python.stop() == 0, from_python
    produce(kafka3, topic, [b"more"])
    from_the_command = start("-m", "kqworker", "kq", "-f", "config.yaml", "handlers:handle")
    from_the_command.until(lambda: from_the_command.starting("=> ") == ["more"], "1 handled")
    assert from_the_command.stop() == 0, from_the_command

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

    assert program.wait() == 6, program
    assert program.starting("heard ") == ["b'3' ValueError 1"]
    assert len(program.starting("done ")) == 9
    (line,) = [line for line in program.lines if "message failed after" in line]
    assert f"topic={shop.topic} partition=1 offset=1" in line
    assert "ValueError: three" in line
    assert "the error handler failed" in program.out
    assert shop.committed() == {0: 5, 1: 5}


def test_a_message_that_was_given_up_goes_to_the_dead_letters(
    shop: Shop, start: Start, topic: NewTopic
) -> None:
    dead = topic(1)
    shop.configure(Kqworker={**CAUGHT_UP, "dead_letter": dead})
    shop.program(FAILING)
    produce(shop.cluster, shop.topic, values(10), partitions=2)

    assert start("main.py").wait() == 6

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
    assert first.stop() == 0, first

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

    assert program.wait() == 6, program
    assert program.starting("heard ") == ["b'3' ValueError 1", "b'3' ValueError 2"]


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
    # Of what was printed and not answered for, the next attempt may be still to come.
    program.until(lambda: shop.committed() == {0: 750, 1: 750}, "all committed")
    assert program.stop() == 0, program
    assert shop.committed() == {0: 750, 1: 750}


DEADLY = """\
import os, signal, time

def handle(key, value):
    if value == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    if value == "3":
        time.sleep(600)
    print("done", value)

def heard(context, message, error):
    print("heard", message.value)
"""


def test_a_message_that_workers_die_on_is_told_by_the_log_alone(shop: Shop, start: Start) -> None:
    shop.configure(Kqworker={**CAUGHT_UP, "time_limit": 0.5})
    shop.program(DEADLY, ", kq.with_error_handler(heard)")
    produce(shop.cluster, shop.topic, values(6), partitions=2)

    program = start("main.py")

    # No code of the user's runs where this is known, and no worker will take the message.
    assert program.wait() == 6, program
    assert not program.starting("heard ")
    assert sorted(program.starting("done ")) == ["0", "1", "4", "5"]
    for partition, kind, death in (
        (0, "WorkerCrashed", "  worker died"),
        (1, "TimeLimitExceeded", "  time limit passed"),
    ):
        where = f"topic={shop.topic} partition={partition} offset=1 "
        told = [line for line in program.lines if where in line]
        (final,) = (line for line in told if "message failed after" in line)
        assert " ERROR " in final and kind in final and "attempt=3" in final
        assert sum(" WARNING " in line and death in line for line in told) == 3
    assert shop.committed() == {0: 3, 1: 3}


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
    assert PASSWORD not in program.out


def test_a_ca_file_without_a_user_is_tls_and_no_crash(secured: Shop, start: Start) -> None:
    secured.configure(
        CaFile=secured.cluster.client["ssl.ca.location"], Kqworker={"startup_timeout": 4}
    )

    program = start("main.py")

    # This broker wants a login, too: TLS has come about.
    assert program.wait() != 0, program
    assert secured.cluster.bootstrap in program.out
    assert "certificate" not in program.out


def test_the_brokers_certificate_is_verified(
    secured: Shop, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = certificates.make_authority(tmp_path_factory.mktemp("stranger"))
    secured.configure(CaFile=str(stranger), Username=USER, Password=PASSWORD)

    program = start("main.py")

    assert program.wait() != 0, program
    assert "certificate" in program.out
