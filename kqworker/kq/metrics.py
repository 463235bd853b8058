"""How many messages a worker handled, and how long they took, logged about once a minute.

Decides what stands for go-zero's `stat.Metrics`; of its drops a queue has none. Times are
counted in steps of 2 %, so that no message is kept. Tested by tests/kq/test_metrics.py.
"""

from __future__ import annotations

import atexit
import logging
import math
import time
from collections import Counter
from collections.abc import Callable

INTERVAL = 60.0
STEP = 1.02
_LOG_STEP = math.log(STEP)
_LEAST = 1e-9
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}

_logger = logging.getLogger("kqworker.metrics")


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
