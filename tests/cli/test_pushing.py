"""`push` delivers what it says it delivered, and nothing of a file with a mistake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from kqworker.app.delivery import Delivery
from kqworker.cli.pushing import deliver
from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka.devbroker import PARTITIONS, DevBroker, start_dev_broker
from kqworker.types import Output
from tests.cli.conftest import Run, started
from tests.processes import Process


def pushed(given: bytes, *args: str | bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "kqworker", "push", *args]
    return subprocess.run(command, input=given, capture_output=True, timeout=60)


@pytest.fixture
def broker(here: Path) -> Iterator[DevBroker]:
    with start_dev_broker() as broker:
        broker.announce()
        yield broker


def stored(broker: DevBroker, topic: str, count: int) -> list[Message]:
    """Return the messages of a topic, in the order of their offsets within a partition."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "reader"})
    try:
        consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        found: list[Message] = []
        while len(found) < count:
            got = consumer.consume(count, timeout=1.0)
            assert not [m for m in got if m.error()], [m.error() for m in got]
            found += got
        return found
    finally:
        consumer.close()


def test_a_payload_is_pushed_with_key_and_headers(broker: DevBroker, kqworker: Run) -> None:
    ended = kqworker("push", "test", '{"id": 1}', "-k", "a", "-H", "x=1", "-H", "y=")

    (message,) = stored(broker, "test", 1)
    assert ended.code == 0
    assert ended.out == f"pushed 1 message to test[{message.partition()}] at offset 0\n"
    assert ended.err == f"no brokers given: using the built-in broker at {broker.address}\n"
    assert (message.value(), message.key()) == (b'{"id": 1}', b"a")
    assert message.headers() == [("x", b"1"), ("y", b"")]


def test_the_lines_of_a_jsonl_file_are_pushed_in_order(
    broker: DevBroker, here: Path, kqworker: Run
) -> None:
    (here / "x.jsonl").write_text('{"id": 1}\n\n  [2]  \n"drei"')

    ended = kqworker("push", "test", "--file", "x.jsonl", "-k", "a", "-b", broker.address)

    assert (ended.code, ended.out) == (0, "pushed 3 messages to test\n")
    assert ended.err == "1 blank line of x.jsonl not pushed: a blank line is no JSON\n"
    assert [m.value() for m in stored(broker, "test", 3)] == [b'{"id": 1}', b"  [2]  ", b'"drei"']


def test_the_lines_of_standard_input_are_pushed_byte_for_byte(
    broker: DevBroker, here: Path
) -> None:
    given = b"one \n\nzwei\r\n\xef\xbb\xbf\x00\xff\r\r\n\n" + b"x" * 3_000_000 + b"\nlast"

    ended = pushed(given, "test", "-k", "a")

    assert (ended.returncode, ended.stdout) == (0, b"pushed 7 messages to test\n")
    assert b"2 lines of standard input pushed with a carriage return at the end" in ended.stderr
    found = [m.value() or b"" for m in stored(broker, "test", 7)]
    assert b"\n".join(found) == given


def test_bytes_of_the_command_line_are_pushed_as_the_shell_gave_them(
    broker: DevBroker, here: Path
) -> None:
    ended = pushed(b"", "test", b"\xff", "-k", b"\xfe", "-H", b"x=\xfd")

    assert ended.returncode == 0, ended.stderr
    (message,) = stored(broker, "test", 1)
    assert (message.value(), message.key(), message.headers()) == (
        b"\xff",
        b"\xfe",
        [("x", b"\xfd")],
    )


def test_an_empty_argument_is_an_empty_message(broker: DevBroker, kqworker: Run) -> None:
    ended = kqworker("push", "test", "")

    assert (ended.code, ended.out[:14]) == (0, "pushed 1 messa")
    assert [m.value() for m in stored(broker, "test", 1)] == [b""]


@pytest.mark.parametrize(
    ("args", "stdin", "error"),
    [
        ((), "", "nothing to push: standard input holds nothing"),
        (("--file", "-"), "\n \n", "nothing to push: standard input holds nothing but blank lines"),
        (("--file", "x.jsonl"), "", "nothing to push: x.jsonl holds nothing"),
        (("--file", "/dev/null"), "", "nothing to push: /dev/null holds nothing"),
    ],
)
def test_an_input_that_holds_nothing_is_an_error(
    broker: DevBroker, here: Path, kqworker: Run, args: tuple[str, ...], stdin: str, error: str
) -> None:
    (here / "x.jsonl").write_bytes(b"")

    ended = kqworker("push", "test", *args, "-b", broker.address, stdin=stdin)

    assert (ended.code, ended.out) == (2, "")
    assert f"error: {error}\n" in ended.err


def test_all_of_a_process_substitution_is_pushed(broker: DevBroker, here: Path) -> None:
    read, write = os.pipe()
    command = [sys.executable, "-P", "-m", "kqworker", "push", "test", "--file"]
    with subprocess.Popen(
        [*command, f"/dev/fd/{read}"], pass_fds=[read], stdout=subprocess.PIPE
    ) as push:
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            for number in range(1000):
                pipe.write(b"%d\n" % number)
        assert push.stdout is not None
        said = push.stdout.read()

    assert (push.returncode, said) == (0, b"pushed 1,000 messages to test\n")
    found = sorted(int(m.value() or b"") for m in stored(broker, "test", 1000))
    assert found == list(range(1000))


def test_a_mistake_in_a_pipe_says_how_many_were_delivered_before(
    broker: DevBroker, kqworker: Run
) -> None:
    ended = kqworker(
        "push", "test", "--file", "-", "-b", broker.address, stdin='1\n[2]\n{"id": \n4\n'
    )

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(
        "error: standard input:3: each line is one message, and this is not valid JSON: "
    )
    assert ended.err.endswith("2 messages were delivered to test, the rest was not\n")
    assert len(stored(broker, "test", 2)) == 2


def test_of_a_file_with_a_mistake_nothing_is_pushed(
    broker: DevBroker, here: Path, kqworker: Run
) -> None:
    (here / "x.jsonl").write_text('{"id": 1}\n{"id": \n')

    ended = kqworker("push", "test", "--file", "x.jsonl")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(
        "error: x.jsonl:2: each line is one message, and this is not valid JSON: "
    )
    after = kqworker("push", "test", "next", "-k", "a")
    assert after.out.endswith("at offset 0\n")


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["test", "x", "--file", "y"], "error: give PAYLOAD or --file, not both\n"),
        (["test", "-"], "error: - is no payload: leave it out to push the lines of standard input"),
        (["test", "--file", "y"], "error: cannot read y: No such file or directory\n"),
        (["test", "--file", "."], "error: cannot read .: it is a directory\n"),
        (["test", "--file", "a", "--file", "b"], "error: give --file once, not 2 times: "),
        (["test", "x", "-H", "y"], "error: --header 'y': expected name=value\n"),
        (["my test", "x", "-b", "a:1"], "error: topic 'my test': only letters"),
        (["test", "x", "-b", "a:b"], "error: --brokers: brokers must be host:port"),
        (["test", "x"], "error: no brokers: give --brokers"),
        (["test", "x", "-b", "a:1", "-X", "acks=1"], "acks"),
    ],
)
def test_a_mistake_is_told(here: Path, kqworker: Run, args: list[str], error: str) -> None:
    ended = kqworker("push", *args)

    assert (ended.code, ended.out) == (2, "")
    assert error in ended.err
    assert "Traceback" not in ended.err


def test_what_cannot_be_delivered_is_an_error(broker: DevBroker, here: Path, kqworker: Run) -> None:
    (here / "x.jsonl").write_text(f'1\n"{"x" * 990}"\n')

    ended = kqworker(
        "push", "test", "--file", "x.jsonl", "-X", "message.max.bytes=1000", "-b", broker.address
    )

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: the record cannot be delivered: ")
    assert ended.err.endswith("1 of 2 messages were delivered to test, the rest was not\n")


READER = """\
import os
from kqworker import App

app = App("reader")

@app.handler(topic="test")
def handle(value: bytes) -> None:
    if os.path.exists("wait"):
        with open("wait"):  # until somebody opens it to write
            pass
"""


def test_more_than_the_built_in_broker_keeps_is_pushed_while_a_run_reads(
    broker: DevBroker, here: Path, kqworker: Run
) -> None:
    (here / "reader.py").write_text(READER)
    (here / "x.jsonl").write_text(f'"{"x" * 10_000}"\n' * 3000)
    os.mkfifo(here / "wait")

    with started("run", "reader:app", "-w", "1", terminal=True) as run:
        run.wait_for("ready")
        with started("push", "test", "--file", "x.jsonl", terminal=True) as push:
            push.wait_for("full: group reader has ")
            handling = (here / "wait").open("w")
            (here / "wait").unlink()
            handling.close()
            push.wait_for("3000/3000")
            assert push.wait(20) == 0
        run.wait_for("3,000 handled")
        assert run.stop(signal.SIGINT) == 0


def test_where_nobody_reads_a_push_ends_before_anything_is_dropped(
    broker: DevBroker, here: Path, kqworker: Run
) -> None:
    (here / "reader.py").write_text(READER)
    (here / "x.jsonl").write_text(f'"{"x" * 10_000}"\n' * 3000)

    ended = kqworker("push", "test", "--file", "x.jsonl", "-b", broker.address)

    assert (ended.code, ended.out) == (3, "")
    assert (
        "messages that are not handled, and no run reads them. A partition keeps 5 MiB" in ended.err
    )
    told = re.search(
        r"([\d,]+) of 3,000 messages were delivered to test, the rest was not", ended.err
    )
    assert told is not None
    ran = kqworker("run", "reader:app", "-w", "1", "--until-caught-up")
    assert ran.code == 0
    assert f"{told[1]} handled" in ran.err


def test_what_other_producers_made_the_built_in_broker_drop_is_told_by_the_run(
    broker: DevBroker, here: Path, kqworker: Run
) -> None:
    (here / "reader.py").write_text(READER)
    producer = Producer({"bootstrap.servers": broker.address, "batch.size": 100_000})
    for _ in range(80):
        producer.produce("test", bytes(100_000), partition=0)
    assert producer.flush(10) == 0

    ran = kqworker("run", "reader:app", "-w", "1", "--until-caught-up")
    again = kqworker("run", "reader:app", "-w", "1", "--until-caught-up")

    assert ran.code == 6, ran
    assert "messages LOST: Kafka deleted them before they were handled: test[0]@0" in ran.err
    assert "Deleted: 28 below offset 28" in ran.err
    assert "52 handled" in ran.err
    assert again.code == 0


def test_a_topic_that_is_new_among_others_is_told(broker: DevBroker, kqworker: Run) -> None:
    kqworker("push", "orders", "a")

    ended = kqworker("push", "ordres", "a", "-b", broker.address)

    assert ended.code == 0
    assert ended.err == ("topic 'ordres' is new on the built-in broker (did you mean 'orders'?)\n")
    assert kqworker("push", "ordres", "a", "-b", broker.address).err == ""


def test_a_push_that_is_interrupted_says_how_far_it_came(broker: DevBroker) -> None:
    command = [sys.executable, "-P", "-m", "kqworker", "push", "test"]
    with Process(command, apart=True, stdin=subprocess.PIPE) as push:
        push.feed("a\n" * 3)
        stored(broker, "test", 3)  # and it waits for a fourth

        assert push.stop(signal.SIGINT) == 4

    said = push.err
    assert re.search(r"^error: stopped: at least \d messages were delivered to test$", said, re.M)
    assert "Traceback" not in said


def test_a_terminal_gets_a_progress_bar(broker: DevBroker, here: Path) -> None:
    (here / "x.jsonl").write_text("1\n2\n3\n")

    with started("push", "test", "--file", "x.jsonl", terminal=True) as push:
        push.wait_for("3/3")
        assert push.wait(20) == 0


def test_a_broker_that_is_not_there_is_an_error(here: Path, kqworker: Run) -> None:
    # Nobody listens on port 1 of loopback.
    ended = kqworker("push", "test", "x", "-b", "127.0.0.1:1", "--startup-timeout", "0.5")

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.endswith(
        "error: cannot reach Kafka at 127.0.0.1:1: connection refused (waited 0.5s)\n"
    )


class FailingSink:
    """Delivers as many as it is told, then fails every one."""

    def __init__(self, good: int) -> None:
        self._good = good
        self.sent = 0

    def send(self, output: Output) -> Delivery:
        self.sent += 1
        delivery = Delivery()
        if self.sent <= self._good:
            delivery._resolve(0, self.sent - 1)
        else:
            delivery._fail(BrokerError("no"))
        return delivery

    def close(self, timeout: float) -> bool:
        return True


def test_after_the_first_failure_no_more_is_sent() -> None:
    sink = FailingSink(good=3)
    seen: list[int] = []

    done = deliver(sink, (Output("t", b"") for _ in range(100)), seen.append)

    assert (done.begun, done.pushed, str(done.failure), sink.sent) == (4, 3, "no", 4)
    assert seen == [1, 1, 1]
    assert done.last is not None and done.last.offset == 2


def test_what_was_read_before_a_mistake_is_waited_for() -> None:
    def read() -> Iterator[Output]:
        yield Output("t", b"")
        yield Output("t", b"")
        raise ConfigError("cannot read it")

    done = deliver(FailingSink(good=3), read(), lambda _: None)

    assert (done.begun, done.pushed, str(done.failure)) == (2, 2, "cannot read it")


def test_a_sink_that_has_failed_is_an_error_with_what_was_delivered() -> None:
    class Broken(FailingSink):
        def send(self, output: Output) -> Delivery:
            if self.sent == 2:
                raise BrokerError("the sink has failed")
            return super().send(output)

    done = deliver(Broken(good=3), (Output("t", b"") for _ in range(9)), lambda _: None)

    assert (done.begun, done.pushed, str(done.failure)) == (2, 2, "the sink has failed")
