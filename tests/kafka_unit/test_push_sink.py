"""Pushes on the built-in broker: who waits for room, and what a delivery is told."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kqworker import App
from kqworker.app.delivery import Delivery
from kqworker.errors import BrokerError
from kqworker.kafka import counting
from kqworker.kafka.devbroker import (
    PARTITIONS,
    DevBroker,
)
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.types import Output
from tests.frozen import freeze
from tests.kafka_unit.sinks import TIMEOUT, stored
from tests.waiting import until


def test_send_waits_for_room_in_the_queue(broker: DevBroker) -> None:
    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    sent = [pushes.send(Output("out", b"1", partition=0)) for _ in range(200)]

    assert sorted(delivery.wait(TIMEOUT).offset or 0 for delivery in sent) == list(range(200))
    assert pushes.close(TIMEOUT)


def test_send_waits_for_room_as_long_as_it_is_told(broker: DevBroker) -> None:
    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    freeze(broker.pid)
    sent = [pushes.send(Output("out", b"1", partition=0), timeout=0) for _ in range(10)]
    for timeout in (0, 0.1):
        with pytest.raises(TimeoutError):
            pushes.send(Output("out", b"2", partition=0), timeout=timeout)
    os.kill(broker.pid, signal.SIGCONT)
    sent.append(pushes.send(Output("out", b"1", partition=0), timeout=TIMEOUT))

    assert [delivery.wait(TIMEOUT).offset for delivery in sent] == list(range(11))
    assert pushes.close(TIMEOUT)


def test_send_tells_the_delivery_that_it_is_given(pushes: KafkaPushSink) -> None:
    delivery = Delivery()

    assert pushes.send(Output("out", b"1"), delivery) is delivery
    assert delivery.wait(TIMEOUT).offset == 0


def test_partitions_are_those_of_the_broker(pushes: KafkaPushSink) -> None:
    assert pushes.partitions("out", TIMEOUT) == PARTITIONS


def test_a_topic_without_partitions_is_told_and_not_created(
    broker: DevBroker, pushes: KafkaPushSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long may an answer take; the topic is waited for until nobody wants it any more.
    monkeypatch.setattr(counting, "ASK", TIMEOUT)
    unwanted = [False, True]
    with pytest.raises(BrokerError, match="topic 'nowhere' does not exist") as raised:
        pushes.partitions("nowhere", TIMEOUT, lambda: unwanted.pop(0))
    assert not raised.value.retriable
    assert not unwanted
    # And as long as was said.
    with pytest.raises(BrokerError):
        pushes.partitions("nowhere", 0.1)
    creating = {**producer_properties(broker.address), "allow.auto.create.topics": "true"}
    other = KafkaPushSink(Outgoing(creating))
    assert other.partitions("nowhere", TIMEOUT) == PARTITIONS
    assert other.close(TIMEOUT)


def test_a_broker_that_is_away_does_not_tell_partitions(
    broker: DevBroker, pushes: KafkaPushSink
) -> None:
    broker.stop()
    said: list[str] = []

    def refused() -> bool:
        with pytest.raises(BrokerError, match="cannot read how many partitions") as raised:
            pushes.partitions("out", 0.5)
        assert raised.value.retriable
        said.append(str(raised.value))
        return "refused" in said[-1]

    until(refused, "the reason")
    assert re.search(r"there are: .* \(connection refused\)$", said[-1])


def test_send_tells_where_the_record_is(pushes: KafkaPushSink) -> None:
    delivery = pushes.send(Output("out", b"1", partition=2)).wait(TIMEOUT)

    assert (delivery.done, delivery.partition, delivery.offset) == (True, 2, 0)


def test_several_threads_may_send(pushes: KafkaPushSink) -> None:
    def push() -> None:
        for delivery in [pushes.send(Output("out", b"1", partition=1)) for _ in range(250)]:
            delivery.wait(TIMEOUT)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert pushes.send(Output("out", b"1", partition=1)).wait(TIMEOUT).offset == 1000


def test_a_push_that_waits_for_room_learns_of_the_close(broker: DevBroker) -> None:
    pushes = KafkaPushSink(
        Outgoing({**producer_properties(broker.address), "queue.buffering.max.messages": "10"})
    )
    freeze(broker.pid)
    sent = [pushes.send(Output("out", b"1")) for _ in range(10)]
    waiting: list[bool] = []
    sender = threading.Thread(target=lambda: waiting.append(closed_under(pushes)))
    sender.start()

    assert not pushes.close(0.2)
    sender.join()
    assert waiting == [True]
    assert all(delivery.done for delivery in sent)
    assert pushes.close(0.2) is False
    os.kill(broker.pid, signal.SIGCONT)


def closed_under(pushes: KafkaPushSink) -> bool:
    """Whether a send that waits for room learns that there will be none."""
    try:
        pushes.send(Output("out", b"1"))
    except RuntimeError:
        return True
    return False


def test_deliveries_that_a_close_cuts_off_have_failed(broker: DevBroker) -> None:
    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    freeze(broker.pid)
    sent = [pushes.send(Output("out", b"1")) for _ in range(20)]

    assert not pushes.close(0.2)
    for delivery in sent:
        with pytest.raises(BrokerError, match=r"delivered: .* before the close") as raised:
            delivery.wait(0)
        assert raised.value.retriable
    os.kill(broker.pid, signal.SIGCONT)


def test_a_delivery_that_does_not_return_holds_up_no_close(broker: DevBroker) -> None:
    entered, going_on = threading.Event(), threading.Event()

    class Slow(Delivery):
        def _resolve(self, partition: int | None, offset: int | None) -> None:
            entered.set()
            going_on.wait(TIMEOUT)
            super()._resolve(partition, offset)

    pushes = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    slow = pushes.send(Output("out", b"1"), Slow())
    assert entered.wait(TIMEOUT)

    assert not pushes.close(0.0)
    assert not slow.done
    going_on.set()
    pushes._outgoing._thread.join(TIMEOUT)
    assert slow.done and not pushes._outgoing._thread.is_alive()


def test_the_exit_goes_on_with_an_interrupted_close_of_the_app(broker: DevBroker) -> None:
    program = f"""
import os, signal
from kqworker import App
from tests.frozen import freeze
from tests.interrupting import interrupt_within
app = App("orders", brokers={broker.address!r})
app.push("out", "1", partition=0).wait()
freeze({broker.pid})
app.push("out", "2", partition=0)
interrupt_within("KafkaPushSink.close")
try:
    app.close()
except KeyboardInterrupt:
    print("interrupted")
os.kill({broker.pid}, signal.SIGCONT)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    assert [output.value for output in stored(broker, "out", 0, 2)] == [b"1", b"2"]


def push_and_end(address: str) -> None:
    App("orders", brokers=address).push("out", "1", partition=0)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_a_process_pushed_is_delivered_when_it_ends(broker: DevBroker, method: str) -> None:
    child = multiprocessing.get_context(method).Process(target=push_and_end, args=(broker.address,))
    child.start()
    child.join()

    assert child.exitcode == 0
    child.close()
    assert [output.value for output in stored(broker, "out", 0, 1)] == [b"1"]
