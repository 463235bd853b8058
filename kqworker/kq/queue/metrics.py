"""How many messages a worker handled, and how long they took, logged about once a minute.

Decides what replaces go-zero's `stat.Metrics` (a queue has none of its drops), and what
happens when metrics fail. Times are counted in steps of 2 %, so that no message is kept.
Tested by tests/kq/test_metrics.py.
"""

from __future__ import annotations

import atexit
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from kqworker.app.payload import refuse_unrun
from kqworker.runtime.failures import users_part
from kqworker.watch import logs

INTERVAL = 60.0
STEP = 1.02
_LOG_STEP = math.log(STEP)
_LEAST = 1e-9
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}

_logger = logs.logger("kqworker.metrics")


class Adds(Protocol):
    """What counts messages; `kqworker.kq.Metrics` does."""

    def add(self, seconds: float) -> object:
        """Count one message, whose handler took so many seconds."""
        ...


class Metrics:
    """Counts messages; for `with_metrics`.

    Each worker has a copy of its own, which logs what it has counted with the first message
    after a minute, and at the worker's end.

    Args:
        name: Stands before each line.
        clock: Seconds that never go back.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._began: float | None = None
        self._reset(0.0)

    def __reduce__(self) -> tuple[type[Metrics], tuple[str]]:
        return Metrics, (self._name,)

    def _reset(self, now: float) -> None:
        self._since = now
        self._steps: Counter[int] = Counter()
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one message, whose handler took so many seconds."""
        now = self._clock()
        if self._began is None:
            self._began = now
            self._reset(now)
            atexit.register(self.log)
        elif now - self._since >= INTERVAL:
            self.log()
        self._steps[math.ceil(math.log(max(seconds, _LEAST)) / _LOG_STEP)] += 1
        self._seconds += seconds

    def log(self) -> None:
        """Log what was counted since the last line, if anything was."""
        now = self._clock()
        count = self._steps.total()
        if not count:
            return
        found = {
            "qps": count / max(now - self._since, _LEAST),
            "average": self._seconds / count,
            **{name: self._quantile(share, count) for name, share in QUANTILES.items()},
        }
        shown = ", ".join(
            f"{name.replace('_', '.')} {found[name] * 1000:.3g} ms" for name in list(found)[1:]
        )
        _logger.info(
            "%s",
            f"({self._name}) {found['qps']:.1f} messages/s, {shown}",
            extra={"event": "metrics"} | {name: round(value, 9) for name, value in found.items()},
        )
        self._reset(now)

    def _quantile(self, share: float, count: int) -> float:
        wanted = math.ceil(share * count)
        for step, number in sorted(self._steps.items()):
            wanted -= number
            if wanted <= 0:
                return STEP**step
        return 0.0


class Harmless:
    """Metrics whose failures are logged, and fail no message.

    A failure that comes with every message is logged once a minute, so that the log still has
    room for others.

    Args:
        metrics: What counts.
        clock: Seconds that never go back.
    """

    def __init__(self, metrics: Adds, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._told = -math.inf

    def add(self, seconds: float) -> None:
        """Count one message, or log why that could not be done."""
        try:
            refuse_unrun(self._metrics.add(seconds), "metrics")
        except BaseException as error:  # it must not change what became of the message
            now = self._clock()
            if now - self._told >= INTERVAL:
                self._told = now
                told = type(error), error, users_part(error.__traceback__)
                _logger.error("the metrics failed", exc_info=told, extra={"event": "metrics"})
