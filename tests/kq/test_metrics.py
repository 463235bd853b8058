"""What a worker logs of its messages, once a minute."""

from __future__ import annotations

import atexit
import logging
import pickle

import pytest

from kqworker.kq import Metrics
from kqworker.kq.queue.metrics import Harmless


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.INFO, "kqworker.metrics")
    return Clock()


def test_a_minute_is_logged_with_the_first_message_after_it(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics("orders", clock)
    for i in range(1, 1001):
        metrics.add(i / 1000)
    clock.now += 60.0

    metrics.add(5.0)

    (record,) = caplog.records
    found = vars(record)
    assert found["qps"] == pytest.approx(1000 / 60)
    assert found["average"] == pytest.approx(0.5005)
    for name, exact in {"median": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}.items():
        assert exact <= found[name] <= exact * 1.021, name
    assert record.getMessage().startswith("(orders) 16.7 messages/s, average 500 ms, ")
    atexit.unregister(metrics.log)


def test_what_was_logged_is_not_counted_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics("orders", clock)
    metrics.add(1.0)

    metrics.log()
    metrics.log()

    assert len(caplog.records) == 1
    atexit.unregister(metrics.log)


def test_a_worker_begins_with_none() -> None:
    metrics = Metrics("orders")
    metrics.add(1.0)

    copied = pickle.loads(pickle.dumps(metrics))

    assert isinstance(copied, Metrics) and not copied._steps
    atexit.unregister(metrics.log)


def test_a_handler_that_takes_no_time_has_quantiles_too(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics("orders", clock)
    metrics.add(0.0)

    metrics.log()

    assert 0 <= vars(caplog.records[0])["median"] < 1e-8
    atexit.unregister(metrics.log)


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def add(self, seconds: float) -> None:
        raise self.error


@pytest.mark.parametrize("error", [KeyError("no such label"), SystemExit(1)])
def test_metrics_that_fail_are_told_with_their_own_code(
    error: BaseException, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    Harmless(Failing(error), clock).add(1.0)

    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "the metrics failed")
    assert "in add" in caplog.text and "kqworker/kq/queue/metrics.py" not in caplog.text


def test_metrics_that_fail_for_each_message_are_told_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Harmless(Failing(KeyError()), clock)

    for _ in range(121):
        metrics.add(1.0)
        clock.now += 1.0

    assert len(caplog.records) == 3
