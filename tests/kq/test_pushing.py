"""Nobody is left untold of a message that was not delivered."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kqworker.app.delivery import Delivery
from kqworker.errors import BrokerError, HandlerError
from kqworker.kq import LeastBytes, Pusher, RoundRobin, with_balancer, with_on_delivery
from kqworker.kq.push import partition_choice, pushing
from kqworker.kq.trace import handling
from kqworker.types import Output
from tests.waiting import until

TIMEOUT = 20.0
TRACE = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
Told = list[tuple[bytes, bytes, bool]]


class Sink:
    """Stands in for KafkaPushSink: a test says what becomes of each record, and when."""

    def __init__(self) -> None:
        self.sent: list[Output] = []
        self.deliveries: list[Delivery] = []
        self.at_once: Callable[[Delivery], None] = lambda _: None
        self.at_close: Callable[[], None] = lambda: None
        self.full = False
        self.closed = False
        self.answered = True
        self.fatal: BrokerError | None = None
        self.counts: list[int | BrokerError] = []
        self.patience: list[float] = []
        # Of what may block: whether in the main thread, and for how long at most.
        self.calls: list[tuple[bool, float]] = []

    def send(
        self,
        output: Output,
        delivery: Delivery,
        timeout: float,
        given_up: Callable[[], bool] | None,
    ) -> Delivery:
        self.calls.append((threading.current_thread() is threading.main_thread(), timeout))
        if self.closed:
            raise RuntimeError("the sink is closed")
        if self.full:
            raise TimeoutError
        self.sent.append(output)
        self.deliveries.append(delivery)
        self.at_once(delivery)
        return delivery

    def partitions(self, topic: str, timeout: float, given_up: Callable[[], bool] | None) -> int:
        self.calls.append((threading.current_thread() is threading.main_thread(), timeout))
        count = self.counts.pop(0)
        if isinstance(count, BrokerError):
            raise count
        return count

    def begin_close(self, timeout: float) -> None:
        self.calls.append((threading.current_thread() is threading.main_thread(), timeout))
        self.closed = True

    def close(self, timeout: float) -> bool:
        self.closed = True
        self.patience.append(timeout)
        self.at_close()
        return self.answered


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Sink:
    opened = Sink()
    monkeypatch.setattr(pushing, "_open", lambda addrs, kafka: opened)
    return opened


def fail(delivery: Delivery, reason: str = "no", retriable: bool = False) -> None:
    delivery._fail(BrokerError(reason, retriable))


def test_a_failure_that_nobody_waited_for_is_raised_by_the_next_push(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    for _ in range(3):
        pusher.push("x")
    fail(sink.deliveries[1], "first", retriable=True)
    fail(sink.deliveries[0], "second")

    with pytest.raises(
        BrokerError,
        match=r"^nothing was pushed now: 2 messages to topic 't' could not be delivered; "
        r"the first: first$",
    ) as raised:
        pusher.push("y")
    assert not raised.value.retriable
    assert len(sink.sent) == 3

    pusher.push("z")  # once is enough
    pusher.close()
    assert len(sink.sent) == 4


def test_or_else_by_the_close(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    pusher.push("x")
    fail(sink.deliveries[0], "disk full", retriable=True)

    with pytest.raises(
        BrokerError, match=r"^1 message to topic 't' could not be delivered; the first: disk full$"
    ) as raised:
        pusher.close()
    assert raised.value.retriable
    pusher.close()


def test_a_failure_that_somebody_waited_for_is_told(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    before, after = pusher.push("1"), pusher.push("2")
    fail(sink.deliveries[0])
    with pytest.raises(BrokerError):
        before.wait(0)
    waiting = threading.Thread(target=pytest.raises, args=(BrokerError, after.wait))
    waiting.start()
    claimed(after)
    fail(sink.deliveries[1])
    waiting.join()

    pusher.push("3")
    pusher.close()


def claimed(delivery: Delivery) -> None:
    """Waits until somebody waits for it."""
    assert isinstance(delivery, pushing.PushDelivery)
    until(lambda: delivery.claimed, "somebody waits for it", TIMEOUT)


def test_who_gave_up_waiting_is_not_told(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    delivery = pusher.push("1")
    with pytest.raises(TimeoutError):
        delivery.wait(0)
    fail(sink.deliveries[0])

    with pytest.raises(BrokerError, match="1 message"):
        pusher.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_what_its_parent_delivers(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    delivered, pending = pusher.push("1"), pusher.push("2")
    sink.deliveries[0]._resolve(0, 7)
    child = os.fork()
    if child == 0:
        try:
            assert delivered.wait().offset == 7
            with pytest.raises(RuntimeError, match="only the parent learns"):
                pending.wait()
            assert pusher._channel._connection.opened() is None
            os._exit(0)
        finally:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pusher.close()


def test_a_failure_in_the_push_itself_is_told_too(sink: Sink) -> None:
    sink.at_once = fail
    pusher = Pusher("a", "t")
    pusher.push("1")

    with pytest.raises(BrokerError, match="1 message"):
        pusher.push("2")
    pusher.close()


def test_a_close_says_how_many_were_still_under_way(sink: Sink) -> None:
    def cut_off() -> None:
        for delivery in sink.deliveries[1:]:
            fail(delivery, "purged", retriable=True)

    sink.at_close = cut_off
    pusher = Pusher("a", "t")
    for _ in range(4):
        pusher.push("x")
    fail(sink.deliveries[0], "too large")

    with pytest.raises(
        BrokerError,
        match=r"^4 messages to topic 't' could not be delivered, 3 of them still under way "
        r"after 0 s; the first: too large$",
    ):
        pusher.close(timeout=0)


def test_a_close_tells_of_what_it_cut_off_also_where_somebody_waits(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    delivery = pusher.push("1")
    waiting = threading.Thread(target=pytest.raises, args=(BrokerError, delivery.wait))
    waiting.start()
    claimed(delivery)
    sink.at_close = lambda: fail(sink.deliveries[0], "purged")

    with pytest.raises(BrokerError, match=r"1 message .* 1 of them still under way after 0 s"):
        pusher.close(timeout=0)
    waiting.join()


def test_a_block_that_raises_keeps_its_own_error(sink: Sink) -> None:
    with pytest.raises(KeyError) as raised, Pusher("a", "t") as pusher:
        pusher.push("x")
        fail(sink.deliveries[0], "disk full")
        raise KeyError("mine")

    (note,) = raised.value.__notes__
    assert "disk full" in note
    with pytest.raises(BrokerError, match="disk full"), Pusher("a", "t") as pusher:
        sink.closed = False
        pusher.push("x")
        fail(sink.deliveries[1], "disk full")


def test_a_push_that_a_close_overtakes_says_so(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    pusher.push("1")
    sink.closed = True

    with pytest.raises(RuntimeError, match="the pusher to topic 't' is closed"):
        pusher.push("2")


# -- headers


def test_all_but_kpush_are_in_the_trace_of_the_message(sink: Sink) -> None:
    with Pusher("a", "t") as pusher, handling(TRACE):
        pusher.push("1")
        pusher.push_with_key("k", "2")
        pusher.kpush("k", "3")

    assert [output.headers for output in sink.sent] == [TRACE, TRACE, ()]


# -- the callback


def telling(told: Told) -> Callable[[bytes, bytes, Delivery], None]:
    def callback(key: bytes, value: bytes, delivery: Delivery) -> None:
        told.append((key, value, delivery.done))

    return callback


def test_the_callback_is_told_once_of_each_message(sink: Sink) -> None:
    told: Told = []
    pusher = Pusher("a", "t", with_on_delivery(telling(told)))
    pusher.push_with_key("a", "1")
    sink.at_once = lambda delivery: delivery._resolve(0, 1)
    pusher.push_with_key("b", "2")
    sink.at_once = fail
    pusher.push_with_key("c", "3")
    sink.deliveries[0]._resolve(0, 0)

    assert told == [(b"b", b"2", True), (b"c", b"3", True), (b"a", b"1", True)]
    with pytest.raises(BrokerError, match="1 message"):
        pusher.close()  # to be told of a delivery is not to look at it


def test_the_callback_is_not_called_while_the_push_holds_locks(sink: Sink) -> None:
    told: Told = []

    def resolve(delivery: Delivery) -> None:
        delivery._resolve(0, 0)
        assert told == []

    sink.at_once = resolve
    with Pusher("a", "t", with_on_delivery(telling(told))) as pusher:
        pusher.push("1")
        assert len(told) == 1


def test_a_callback_that_looks_at_the_delivery_has_taken_note(sink: Sink) -> None:
    def callback(key: bytes, value: bytes, delivery: Delivery) -> None:
        with pytest.raises(BrokerError):
            delivery.wait()

    pusher = Pusher("a", "t", with_on_delivery(callback))
    pusher.push("1")
    fail(sink.deliveries[0])
    pusher.close()


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(3)])
def test_what_the_callback_raises_is_raised(sink: Sink, error: BaseException) -> None:
    def callback(*_: Any) -> None:
        raise error

    pusher = Pusher("a", "t", with_on_delivery(callback))
    pusher.push("1")
    sink.deliveries[0]._resolve(0, 0)

    with pytest.raises(HandlerError, match=r"the delivery callback .* raised") as raised:
        pusher.push("2")
    assert raised.value.__cause__ is error
    pusher.close()


def test_a_callback_whose_work_has_not_run_is_told(sink: Sink) -> None:
    pusher = Pusher("a", "t", with_on_delivery(lambda *told: (one for one in told)))
    pusher.push("1")
    sink.deliveries[0]._resolve(0, 0)

    with pytest.raises(HandlerError) as raised:
        pusher.push("2")
    assert "the delivery callback returned a generator" in str(raised.value.__cause__)
    pusher.close()


def test_a_callback_neither_pushes_nor_closes(sink: Sink) -> None:
    refused: list[str] = []

    def callback(*_: Any) -> None:
        for call in (lambda: pusher.push("2"), pusher.close):
            with pytest.raises(RuntimeError, match="a delivery callback cannot") as raised:
                call()
            refused.append(str(raised.value))

    pusher = Pusher("a", "t", with_on_delivery(callback))
    pusher.push("1")
    sink.deliveries[0]._resolve(0, 0)

    assert len(refused) == 2
    pusher.push("3")
    pusher.close()


def test_a_callback_is_told_why_it_cannot_push_also_while_a_close_goes_on(sink: Sink) -> None:
    def callback(*_: Any) -> None:
        with pytest.raises(RuntimeError, match="a delivery callback cannot push"):
            pusher.push("2")

    pusher = Pusher("a", "t", with_on_delivery(callback))
    pusher.push("1")
    sink.at_close = lambda: sink.deliveries[0]._resolve(0, 0)
    pusher.close()


def test_a_close_that_was_interrupted_goes_on_with_the_next(sink: Sink) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    pusher = Pusher("a", "t")
    pusher.push("1")
    sink.at_close = interrupted
    with pytest.raises(KeyboardInterrupt):
        pusher.close()
    with pytest.raises(RuntimeError, match="the pusher to topic 't' is closed"):
        pusher.push("2")
    sink.at_close = lambda: fail(sink.deliveries[0], "purged")

    with pytest.raises(BrokerError, match=r"1 message .* the first: purged"):
        pusher.close()
    pusher.close()


def test_all_who_close_at_one_time_are_told_the_same(sink: Sink) -> None:
    first_waits, going_on = threading.Event(), threading.Event()

    def at_close() -> None:
        if not first_waits.is_set():
            first_waits.set()
            going_on.wait(TIMEOUT)
        elif not sink.deliveries[0].done:
            fail(sink.deliveries[0], "purged")

    pusher = Pusher("a", "t")
    pusher.push("1")
    sink.at_close = at_close
    told: list[str] = []

    def close() -> None:
        with pytest.raises(BrokerError) as raised:
            pusher.close()
        told.append(str(raised.value))

    other = threading.Thread(target=close)
    other.start()
    assert first_waits.wait(TIMEOUT)
    close()
    going_on.set()
    other.join()

    assert ["purged" in text for text in told] == [True, True]


def test_a_close_after_the_sink_has_failed_raises(sink: Sink) -> None:
    pusher = Pusher("a", "t")
    pusher.push("1")
    sink.fatal = BrokerError("the thread has failed")

    with pytest.raises(BrokerError, match="the thread has failed"):
        pusher.close()


@pytest.mark.parametrize("timeout", ["3", None, -1, float("nan"), float("inf"), 1e300])
def test_a_timeout_that_is_none_changes_nothing(sink: Sink, timeout: Any) -> None:
    pusher = Pusher("a", "t")
    pusher.push("1")
    with pytest.raises((TypeError, ValueError), match=r"^close\(timeout="):
        pusher.close(timeout)
    pusher.push("2")
    assert not sink.closed
    pusher.close()


@pytest.mark.parametrize(("error", "patience"), [(SystemExit(0), 10.0), (GeneratorExit(), 1.0)])
def test_what_ends_a_block_in_silence_does_not_silence_a_loss(
    sink: Sink, error: BaseException, patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(type(error)), Pusher("a", "t") as pusher:
        pusher.push("x")
        fail(sink.deliveries[0], "disk full")
        raise error

    assert "disk full" in caplog.text
    assert sink.patience == [patience]


def test_a_close_tells_of_a_callback_that_still_runs(sink: Sink) -> None:
    entered, going_on = threading.Event(), threading.Event()

    def callback(key: bytes, value: bytes, delivery: Delivery) -> None:
        if delivery is sink.deliveries[1]:
            entered.set()
            going_on.wait(TIMEOUT)

    pusher = Pusher("a", "t", with_on_delivery(callback))
    for _ in range(4):
        pusher.push("1")
    fail(sink.deliveries[0], "too large")
    waits = threading.Thread(target=sink.deliveries[1]._resolve, args=(0, 0))
    waits.start()
    assert entered.wait(TIMEOUT)
    sink.answered = False

    with pytest.raises(
        HandlerError,
        match=r"^the delivery callback of the pusher to 't' still runs after 0 s, and holds up "
        r"what became of 2 messages; 1 message to topic 't' could not be delivered; the first: "
        r"too large$",
    ):
        pusher.close(timeout=0)
    going_on.set()
    waits.join()


def test_a_close_whose_callbacks_have_all_returned_says_nothing_of_them(sink: Sink) -> None:
    told: Told = []
    pusher = Pusher("a", "t", with_on_delivery(telling(told)))
    pusher.push("1")
    sink.at_close = lambda: fail(sink.deliveries[0], "purged")
    sink.answered = False

    with pytest.raises(BrokerError, match=r"1 message .* 1 of them still under way after 0 s"):
        pusher.close(timeout=0)


# -- the count of partitions


def test_the_count_of_partitions_is_asked_again_after_a_while(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.counts = [2, BrokerError("away", retriable=True), 4]
    pusher = Pusher("a", "t", with_balancer(RoundRobin()))
    now = 1000.0
    monkeypatch.setattr("kqworker.kq.push.partition_choice.time.monotonic", lambda: now)
    for _ in range(3):
        pusher.push("x")
    assert sink.counts != [4]
    now += partition_choice.COUNT_INTERVAL
    pusher.push("x")  # nothing was learnt: it goes on with what it had
    pusher.push("x")
    assert sink.counts == [4]
    now += partition_choice.COUNT_INTERVAL
    pusher.push("x")
    pusher.push("x")

    assert [output.partition for output in sink.sent] == [0, 1, 0, 1, 0, 1, 2]
    pusher.close()


def test_the_bytes_of_key_and_value_are_counted(sink: Sink) -> None:
    sink.counts = [2]
    pusher = Pusher("a", "t", with_balancer(LeastBytes()))
    for key, value in (("kkk", "vv"), ("k", "v"), ("k", "v"), ("k", "v")):
        pusher.push_with_key(key, value)

    assert [output.partition for output in sink.sent] == [0, 1, 1, 1]
    pusher.close()


def test_a_topic_that_cannot_be_counted_is_told_by_the_push(sink: Sink) -> None:
    sink.counts = [BrokerError("topic 't' does not exist"), 1]
    pusher = Pusher("a", "t", with_balancer(LeastBytes()))
    with pytest.raises(BrokerError, match="does not exist"):
        pusher.push("1")
    pusher.push("2")

    assert [output.value for output in sink.sent] == [b"2"]
    pusher.close()
