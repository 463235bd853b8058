"""The Pusher on the built-in broker: what a push is, and whom it tells what became of it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from kqworker.app import context
from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka import properties
from kqworker.kafka.devbroker import PARTITIONS, PROPERTIES, DevBroker, create_topics
from kqworker.kq import (
    Pusher,
    new_pusher,
    with_allow_auto_topic_creation,
    with_buffer,
    with_sync_push,
)
from kqworker.kq import with_flush_interval as flush_after

TIMEOUT = 20.0
ROOT = Path(__file__).parents[2]
NewTopic = Callable[[], str]


@pytest.fixture
def topic(broker: DevBroker, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name.replace("[", "-").rstrip("]"))
    create_topics(broker.address, [name])
    return name


@pytest.fixture
def worker() -> Iterator[None]:
    """This process counts as a worker."""
    context.collecting(True)
    yield
    context.collecting(False)


def stored(broker: DevBroker, topic: str, count: int) -> list[Message]:
    """The first `count` messages that the broker has."""
    reader = Consumer({"bootstrap.servers": broker.address, "group.id": "reader", **PROPERTIES})
    reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[Message] = []
    while len(found) < count:
        message = reader.poll(TIMEOUT)
        assert message is not None and message.error() is None, f"only {len(found)} of {count}"
        found.append(message)
    reader.close()
    return found


def test_a_value_is_pushed_under_the_time_in_nanoseconds(broker: DevBroker, topic: str) -> None:
    before = time.time_ns()
    with new_pusher([broker.address], topic) as pusher:
        assert pusher.name == topic
        pusher.push("gr\u00fc\u00df dich")
    after = time.time_ns()

    (message,) = stored(broker, topic, 1)
    assert message.value() == "gr\u00fc\u00df dich".encode()
    key = message.key()
    assert key is not None and before <= int(key) <= after
    assert message.headers() is None


@pytest.mark.parametrize("push", ["push_with_key", "kpush"])
def test_a_key_and_a_value_are_text_or_bytes(broker: DevBroker, topic: str, push: str) -> None:
    with Pusher(broker.address, topic) as pusher:
        deliveries = [
            getattr(pusher, push)("key", "text"),
            getattr(pusher, push)(b"\xff\x00", b"\xfe"),
            getattr(pusher, push)("", ""),
        ]
        assert {type(d.wait(TIMEOUT).offset) for d in deliveries} == {int}

    found = {(m.key(), m.value()) for m in stored(broker, topic, 3)}
    assert found == {(b"key", b"text"), (b"\xff\x00", b"\xfe"), (b"", b"")}


@pytest.mark.parametrize(("key", "value"), [("k", None), ("k", 1), (None, "v"), (7, "v")])
def test_anything_else_is_refused(key: object, value: object) -> None:
    pusher = Pusher("127.0.0.1:1", "t")

    with pytest.raises(TypeError, match="takes str or bytes"):
        pusher.push_with_key(key, value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("addrs", "topic", "text"),
    [
        ([], "t", "addrs=\\[\\]"),
        ("", "t", "addrs=''"),
        ("a:0", "t", "addrs='a:0'"),
        (None, "t", "addrs=None"),
        ("a", "", "a topic needs a name"),
        ("a", "no spaces", "topic 'no spaces'"),
    ],
)
def test_arguments_are_checked_at_once(addrs: str, topic: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Pusher(addrs, topic)


def test_a_pusher_that_pushes_nothing_connects_to_nothing() -> None:
    before = set(threading.enumerate())
    with Pusher("127.0.0.1:1", "t"):
        # One of another test may just end.
        assert set(threading.enumerate()) <= before


def test_a_synchronous_push_returns_what_is_delivered(broker: DevBroker, topic: str) -> None:
    # Its messages wait for no others, whatever the interval is.
    with Pusher(broker.address, topic, with_sync_push(), flush_after(600)) as pusher:
        delivery = pusher.push("1")
        assert delivery.done and delivery.offset == 0


def test_in_a_worker_a_push_returns_what_is_delivered(
    broker: DevBroker, topic: str, worker: None
) -> None:
    with Pusher(broker.address, topic, flush_after(600)) as pusher:
        assert pusher.push("1").done


def test_close_delivers_what_waits_for_its_batch(broker: DevBroker, topic: str) -> None:
    pusher = Pusher(broker.address, topic, flush_after(600))
    deliveries = [pusher.push(str(number)) for number in range(100)]
    assert not any(delivery.done for delivery in deliveries)
    pusher.close()

    assert all(delivery.wait(0).offset is not None for delivery in deliveries)
    pusher.close()  # does nothing


def test_a_closed_pusher_takes_nothing(broker: DevBroker, topic: str) -> None:
    used, unused = Pusher(broker.address, topic), Pusher(broker.address, topic)
    used.push("1")
    for pusher in (used, unused):
        pusher.close()
        with pytest.raises(RuntimeError, match=f"the pusher to topic '{topic}' is closed"):
            pusher.push("2")


def test_a_topic_is_created_only_where_that_is_asked_for(broker: DevBroker) -> None:
    with Pusher(broker.address, "new", with_allow_auto_topic_creation()) as pusher:
        assert pusher.push("1").wait(TIMEOUT).offset == 0


def test_a_missing_topic_is_told(broker: DevBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Within 10 s, which this test does not wait for.
    monkeypatch.setitem(properties._PRODUCER, "topic.metadata.propagation.max.ms", "300")
    with Pusher(broker.address, "missing", with_sync_push()) as pusher:
        with pytest.raises(BrokerError, match="topic 'missing' does not exist") as raised:
            pusher.push("1")
        assert not raised.value.retriable


def test_a_full_buffer_holds_up_a_push_and_then_raises(broker: DevBroker, topic: str) -> None:
    options = (with_buffer(messages=10, timeout=0.2), flush_after(600))
    with Pusher(broker.address, topic, *options) as pusher:
        for number in range(10):
            pusher.push(str(number))
        with pytest.raises(BrokerError, match=r"has been full for 0\.2 s") as raised:
            pusher.push("11")
        assert raised.value.retriable

    assert len(stored(broker, topic, 10)) == 10


def test_ctrl_c_in_a_with_does_not_wait_for_kafka_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kqworker.kq.push.push_channel.CLOSE_TIMEOUT", 3600.0)

    with pytest.raises(KeyboardInterrupt) as raised, Pusher("127.0.0.1:1", "test") as pusher:
        pusher.push("1")
        raise KeyboardInterrupt

    assert "1 message" in raised.value.__notes__[0]


def test_a_push_goes_on_when_there_is_room_again(broker: DevBroker, topic: str) -> None:
    with Pusher(broker.address, topic, with_buffer(messages=10)) as pusher:
        for number in range(500):
            pusher.push(str(number))

    assert len(stored(broker, topic, 500)) == 500


def test_a_copy_connects_by_itself(broker: DevBroker, topic: str) -> None:
    with Pusher(broker.address, topic, with_sync_push()) as pusher:
        pusher.push("1")
        with pickle.loads(pickle.dumps(pusher)) as copy:
            assert copy.push("2").done
            assert (copy.name, repr(copy)) == (pusher.name, repr(pusher))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_pusher_works_on_both_sides_of_a_fork(broker: DevBroker, topic: str) -> None:
    program = f"""
import os, sys
from kqworker.kq import Pusher, with_sync_push
pusher = Pusher({broker.address!r}, {topic!r}, with_sync_push())
pusher.push("before")
child = os.fork()
pusher.push("child" if child == 0 else "parent")
pusher.close()
if child == 0:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)

    assert done.returncode == 0
    values = {message.value() for message in stored(broker, topic, 3)}
    assert values == {b"before", b"child", b"parent"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_pushes_whatever_another_thread_did_at_the_fork(
    broker: DevBroker, topic: str
) -> None:
    program = f"""
import os, sys, threading
from kqworker.app import delivery
from kqworker.kq import Pusher, with_sync_push
pusher = Pusher({broker.address!r}, {topic!r}, with_sync_push())
pushing = threading.Thread(target=pusher.push, args=("parent",))
pushing.start()  # it connects, which a fork waits for
child = os.fork()
if child == 0:
    pusher.push("child")
    pusher.close()
    os._exit(0)
pushing.join()
held, going_on = threading.Event(), threading.Event()
def hold():
    from kqworker.kafka.logs import client_log
    mine = pusher._channel._connection
    producer = mine._client
    locks = mine._lock, producer._lock, producer.untold._lock, delivery._changed
    with locks[0], locks[1], locks[2], locks[3], client_log._lock:
        held.set()
        going_on.wait()
holding = threading.Thread(target=hold)
holding.start()
held.wait()
second = os.fork()
if second == 0:
    pusher.push("second")
    pusher.close()
    os._exit(0)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (child, second)]
going_on.set()
holding.join()
pusher.close()
sys.exit(any(codes))
"""
    done = ended(program)

    assert done.returncode == 0, done.stderr
    values = {message.value() for message in stored(broker, topic, 3)}
    assert values == {b"parent", b"child", b"second"}


def test_a_callback_that_does_not_return_bounds_neither_close_nor_exit(
    broker: DevBroker, topic: str
) -> None:
    program = f"""
import threading
from kqworker import HandlerError
from kqworker.kq import Pusher, with_on_delivery
entered = threading.Event()
def callback(*_):
    entered.set()
    threading.Event().wait()
pusher = Pusher({broker.address!r}, {topic!r}, with_on_delivery(callback))
pusher.push("1")
entered.wait()
pusher.push("2")
try:
    pusher.close(timeout=0.1)
except HandlerError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"the delivery callback of the pusher to {topic!r} still runs after 0.1 s, "
        "and holds up what became of 1 message\n"
    )


def push_and_forget(address: str, topic: str) -> None:
    Pusher(address, topic, flush_after(600)).push("1")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_what_is_not_closed_is_delivered_when_a_child_ends(
    broker: DevBroker, topic: str, method: str
) -> None:
    child = multiprocessing.get_context(method).Process(
        target=push_and_forget, args=(broker.address, topic)
    )
    child.start()
    child.join()

    assert child.exitcode == 0
    assert [message.value() for message in stored(broker, topic, 1)] == [b"1"]
    child.close()


# The last line that it prints says how long the exit took: the start is the machine's.
PROGRAM = """
import atexit, os, signal, time
began = None
atexit.register(lambda: began and print(time.monotonic() - began))
from kqworker.app import process_exit
from kqworker.kq import Pusher, with_flush_interval
from tests.frozen import freeze
from tests.interrupting import interrupt_within
"""


def test_the_exit_goes_on_with_a_close_that_was_interrupted(broker: DevBroker, topic: str) -> None:
    program = f"""{PROGRAM}
pusher = Pusher({broker.address!r}, {topic!r})
pusher.push("1").wait()
freeze({broker.pid})
pusher.push("2")
interrupt_within("KafkaPushSink.close")
try:
    pusher.close()
except KeyboardInterrupt:
    print("interrupted")
os.kill({broker.pid}, signal.SIGCONT)
"""
    done = ended(program)

    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    found = {message.value() for message in stored(broker, topic, 2)}
    assert found == {b"1", b"2"}


def test_the_exit_has_one_deadline_for_all_pushers(broker: DevBroker, topic: str) -> None:
    program = f"""{PROGRAM}
process_exit.EXIT_TIMEOUT = 2.0
pushers = [Pusher("127.0.0.1:1", f"lost-{{number}}") for number in range(4)]
pushers.append(Pusher({broker.address!r}, {topic!r}, with_flush_interval(600)))
for pusher in pushers:
    pusher.push("1")
began = time.monotonic()
"""
    done = ended(program)

    assert done.returncode == 0
    assert float(done.stdout) < 7
    for number in range(4):
        assert f"1 message to topic 'lost-{number}' could not be delivered" in done.stderr
    assert [message.value() for message in stored(broker, topic, 1)] == [b"1"]


def test_ctrl_c_at_the_exit_ends_the_wait_and_tells_what_is_lost() -> None:
    program = f"""{PROGRAM}
pushers = [Pusher("127.0.0.1:1", f"lost-{{number}}") for number in range(2)]
for pusher in pushers:
    pusher.push("1")
interrupt_within("PushChannel.end")
began = time.monotonic()
"""
    done = ended(program)

    assert float(done.stdout) < 8
    for number in range(2):
        assert f"1 message to topic 'lost-{number}' could not be delivered" in done.stderr
    assert "Traceback" not in done.stderr


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


def test_what_is_not_closed_is_delivered_at_the_exit(broker: DevBroker, topic: str) -> None:
    program = f"""
from kqworker.kq import Pusher, with_flush_interval
pusher = Pusher({broker.address!r}, {topic!r}, with_flush_interval(600))
pusher.push("1")
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)

    assert [message.value() for message in stored(broker, topic, 1)] == [b"1"]
