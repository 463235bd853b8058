"""Several queues of one process: started together, stopped together."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

import pytest

from kqworker.errors import BrokerError, ConfigError
from kqworker.exits import Exit
from kqworker.kq import KqConf, Queue, ServiceGroup, new_queue
from kqworker.kq.queue.queue import MustQueue


class FakeQueue(Queue):
    """Runs until it is stopped, or fails."""

    def __init__(self, name: str, ends: Exit | Exception | None = None) -> None:
        self.name = name
        self.began = threading.Event()
        self.asked = threading.Event()
        self.now: list[bool] = []
        self.reasons: list[str] = []
        self._ends = ends

    def serve(self) -> Exit:
        self.began.set()
        if isinstance(self._ends, Exception):
            raise self._ends
        if self._ends is None:
            assert self.asked.wait(10)
        return self._ends or Exit.CLEAN

    def stop_for(self, reason: str, now: bool) -> None:
        self.reasons.append(reason)
        self.now.append(now)
        self.asked.set()


class FakeMustQueue(FakeQueue, MustQueue):
    """One of `must_new_queue`."""


def group_of(*queues: FakeQueue) -> ServiceGroup:
    group = ServiceGroup()
    for queue in queues:
        group.add(queue)
    return group


def when_begun(queues: tuple[FakeQueue, ...], call: Any) -> threading.Thread:
    def wait() -> None:
        for queue in queues:
            assert queue.began.wait(10)
        call()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_stop_reaches_every_queue() -> None:
    queues = FakeQueue("a"), FakeQueue("b")
    group = group_of(*queues)
    asking = when_begun(queues, group.stop)

    assert group.start() is Exit.CLEAN

    asking.join()
    assert [queue.now for queue in queues] == [[False], [False]]


def test_a_signal_stops_all() -> None:
    queues = FakeQueue("a"), FakeQueue("b")
    group = group_of(*queues)
    asking = when_begun(queues, lambda: signal.raise_signal(signal.SIGTERM))

    assert group.start() is Exit.CLEAN

    asking.join()
    # The log says which.
    assert [queue.reasons for queue in queues] == [["SIGTERM"], ["SIGTERM"]]


def test_when_one_fails_the_others_stop_and_its_error_is_raised() -> None:
    broken, other = FakeQueue("a", BrokerError("gone")), FakeQueue("b")

    with pytest.raises(BrokerError, match="gone"):
        group_of(other, broken).start()

    # Once, not for as long as it drains.
    assert other.reasons == ["queue a has failed"]


def test_what_is_no_queue_is_refused() -> None:
    conf: Any = KqConf(name="shop", brokers=["127.0.0.1:1"], group="g", topic="t")

    with pytest.raises(ConfigError, match=r"is no queue: give what new_queue"):
        ServiceGroup().add(conf)


def test_a_queue_is_added_once() -> None:
    queue = FakeQueue("a")

    with pytest.raises(ConfigError, match="<Queue 'a'> is in the group already: make another one"):
        group_of(queue, FakeQueue("a"), queue)


def test_of_two_failures_the_second_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(BrokerError, match="one"):
        group_of(FakeQueue("a", BrokerError("one")), FakeQueue("b", BrokerError("two"))).start()

    assert "queue b failed too: two" in caplog.text


def test_one_that_ends_by_itself_leaves_the_others_running() -> None:
    done, other = FakeQueue("a", Exit.MESSAGES_FAILED), FakeQueue("b")
    group = group_of(done, other)

    def later() -> None:
        assert not other.asked.is_set()
        group.stop()

    asking = when_begun((done, other), later)

    assert group.start() is Exit.MESSAGES_FAILED
    asking.join()


def test_a_must_queue_that_abandons_work_does_not_end_the_program_with_0() -> None:
    group = group_of(FakeMustQueue("a", Exit.ABANDONED), FakeQueue("b", Exit.MESSAGES_FAILED))

    with pytest.raises(SystemExit) as ended:
        group.start()

    # The worst, whose ever it is.
    assert ended.value.code == 6


def test_beside_a_must_queue_that_is_done_another_ends_nothing() -> None:
    assert group_of(FakeMustQueue("a", Exit.CLEAN)).start() is Exit.CLEAN
    done = group_of(FakeMustQueue("a", Exit.CLEAN), FakeQueue("b", Exit.ABANDONED))
    assert done.start() is Exit.ABANDONED


def test_a_group_that_was_stopped_before_begins_nothing() -> None:
    conf = KqConf(name="shop", brokers=["127.0.0.1:1"], group="g", topic="t")
    group = ServiceGroup()
    group.add(new_queue(conf, lambda k, v: None))

    with group:
        pass

    # Kafka is not even asked.
    assert group.start() is Exit.CLEAN


def test_a_group_runs_once_and_takes_no_queue_meanwhile() -> None:
    group = ServiceGroup()
    group.start()

    with pytest.raises(RuntimeError, match="started before"):
        group.start()
    with pytest.raises(RuntimeError, match="add queues before"):
        group.add(FakeQueue("late"))
