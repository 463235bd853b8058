"""Several queues in one process, started and stopped together; go-zero's ServiceGroup.

Decides what a signal and a queue's failure mean for the others. Each queue has its loop in
a thread of its own. Tested by tests/kq/test_group.py and tests/kafka/test_kq_stops.py.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
from collections import deque
from types import TracebackType
from typing import Self

from kqworker.errors import ConfigError
from kqworker.exits import Exit
from kqworker.kq.queue.queue import MustQueue, Queue
from kqworker.loading.import_string import refuse_green_threads
from kqworker.runtime.loop import TOLD, Signals, Wake, called, ending_signals
from kqworker.watch import logs

_logger = logs.logger("kqworker.kq")


class ServiceGroup:
    """Queues that run together in one process.

    >>> group = ServiceGroup()
    >>> group.stop()  # as a signal handler would
    >>> group.start()  # returns when all have ended
    <Exit.CLEAN: 0>
    """

    def __init__(self) -> None:
        self._queues: list[Queue] = []
        self._lock = threading.Lock()
        self._started = False
        self._requests: deque[tuple[str, bool]] = deque()
        self._wake = Wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def add(self, queue: Queue) -> None:
        """Add a queue, before `start`.

        Raises:
            ConfigError: It is not a queue, or it is in the group: a queue runs once.
            RuntimeError: The group has been started.
        """
        if not isinstance(queue, Queue):
            raise ConfigError(f"{queue!r} is no queue: give what new_queue(…) returns")
        with self._lock:
            if self._started:
                raise RuntimeError("the group has been started: add queues before")
            if any(queue is added for added in self._queues):
                raise ConfigError(f"{queue!r} is in the group already: make another one")
            self._queues.append(queue)

    def start(self) -> Exit:
        """Run all queues until each has ended; signals mean what they mean to one queue.

        When one fails, the others are stopped and drain.

        Returns:
            How it ended: 0, or what the worst queue returned.

        Raises:
            RuntimeError: It has been started before.
            KQWorkerError: That of the first queue that failed; the others' are logged.
            SystemExit: That queue was made by `must_new_queue`, and has said why; or such a queue
                did not end with 0. It is raised when all have ended, and its code is the
                worst.
        """
        # With green threads the queues would have no threads of their own.
        refuse_green_threads()
        with self._lock:
            if self._started:
                raise RuntimeError("the group has been started before: make a new one")
            self._started = True
        with Signals(ending_signals()) as signals, self._wake as wake:
            runs = [_Run(queue, wake) for queue in self._queues]
            # A stop may have been requested before: then nothing begins.
            self._pass_on(runs)
            for run in runs:
                run.thread.start()
            interrupts = 0
            failed = False
            with selectors.DefaultSelector() as selector:
                selector.register(signals, selectors.EVENT_READ)
                selector.register(wake, selectors.EVENT_READ)
                while not all(run.ended for run in runs):
                    selector.select()
                    wake.clear()
                    for number in signals.take():
                        interrupts += number is signal.SIGINT
                        if interrupts >= 3:
                            os._exit(Exit.ABANDONED)
                        self._request(called(number), interrupts == 2)
                    broken = [run.queue.name for run in runs if run.error is not None]
                    if broken and not failed:
                        # Only once: the request wakes this loop.
                        failed = True
                        self._request(f"queue {broken[0]} has failed", False)
                    self._pass_on(runs)
            for run in runs:
                run.thread.join()
        return _verdict(runs)

    def stop(self, now: bool = False) -> None:
        """Ask all queues to end, as `Queue.stop` does; from anywhere.

        Args:
            now: Do not wait for what is being handled.
        """
        self._request(TOLD, now)

    def _request(self, reason: str, now: bool) -> None:
        self._requests.append((reason, now))
        self._wake.call()

    def _pass_on(self, runs: list[_Run]) -> None:
        while self._requests:
            reason, now = self._requests.popleft()
            for run in runs:
                run.queue.stop_for(reason, now)


class _Run:
    """A queue in its thread."""

    def __init__(self, queue: Queue, wake: Wake) -> None:
        self.queue = queue
        self.ended = False
        self.exit = Exit.CLEAN
        self.error: BaseException | None = None
        self._wake = wake
        self.thread = threading.Thread(target=self._run, name=f"kq-{queue.name}")

    def _run(self) -> None:
        try:
            self.exit = self.queue.serve()
        except BaseException as error:  # it is raised in the thread that waits
            self.error = error
        self.ended = True
        self._wake.call()


def _verdict(runs: list[_Run]) -> Exit:
    failed = [run for run in runs if run.error is not None]
    for run in failed[1:]:
        if isinstance(run.error, SystemExit):
            continue  # it has said why
        _logger.error("queue %s failed too: %s", run.queue.name, run.error)
    if failed and failed[0].error is not None:
        raise failed[0].error
    worst = max((run.exit for run in runs), default=Exit.CLEAN)
    if any(isinstance(run.queue, MustQueue) and run.exit is not Exit.CLEAN for run in runs):
        # As for a queue's own start: a main that ignores the result must not look like a success.
        raise SystemExit(int(worst))
    return worst
