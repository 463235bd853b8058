"""Runs coroutines on one event loop, which runs on while the worker waits.

A worker has one thread for messages and loop, and never runs both at once. So the loop
gets a turn whenever the worker would wait for a frame, and a short turn before each
message of a handler that is not async. Without a coroutine there is no loop, and this
costs nothing. Knows nothing of frames. Tested by tests/runtime/test_coroutines.py.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kqworker.watch import logs

if TYPE_CHECKING:
    import asyncio

_logger = logs.logger("kqworker.worker")

# A turn of the loop is so many rounds: what has become ready, and what follows.
ROUNDS: Final = 4
# The least number of seconds between two turns.
PAUSE: Final = 0.002


class Coroutines:
    """The event loop of a worker, made for its first coroutine."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rounds = 0
        self._breathed = 0.0

    @property
    def running(self) -> bool:
        """Whether there is a loop that needs its turns."""
        return self._loop is not None

    # Any: nothing is sent in
    def run(self, coroutine: Coroutine[Any, Any, object], context: Context | None = None) -> object:
        """Run a coroutine to its end, and return or raise what it does.

        Args:
            coroutine: Not begun.
            context: What it sees and changes; None for a copy of the current one.
        """
        loop = self._loop or self._made()
        task = loop.create_task(coroutine, context=context)
        task.add_done_callback(lambda _: loop.stop())
        try:
            while not task.done():
                self._turn(loop, task)
            return task.result()
        finally:
            del task  # it holds the exception, which holds this frame

    def until_readable(self, descriptor: int) -> None:
        """Let the loop run until there is something to read; return at once without a loop."""
        loop = self._loop
        if loop is None:
            return
        waiting = True

        def wake() -> None:
            nonlocal waiting
            waiting = False
            loop.stop()

        # Only while nothing else runs: it would stop the loop too early.
        loop.add_reader(descriptor, wake)
        try:
            while waiting:
                self._turn(loop)
        finally:
            loop.remove_reader(descriptor)

    def breathe(self) -> None:
        """Give the loop a short turn if it has had none for a while."""
        loop = self._loop
        if loop is None or monotonic() - self._breathed < PAUSE:
            return
        self._rounds = ROUNDS
        loop.call_soon(self._next_round, loop)
        while self._rounds:
            self._turn(loop)

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._rounds -= 1
        if self._rounds:
            loop.call_soon(self._next_round, loop)
        else:
            loop.stop()

    def _made(self) -> asyncio.AbstractEventLoop:
        import asyncio

        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        return self._loop

    def _turn(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object] | None = None
    ) -> None:
        """Run the loop until it is stopped.

        What a task that nobody waits for raises out of the loop (SystemExit) concerns that task
        alone: it fails no message, and does not end the worker.
        """
        try:
            loop.run_forever()
        except BaseException as error:
            if task is None or not task.done() or _error(task) is not error:
                _logger.error(
                    "a background task has raised %s: it has ended, and the worker goes on",
                    type(error).__name__,
                    exc_info=error,
                    extra={"event": "background_task_failed"},
                )
        self._breathed = monotonic()

    def close(self) -> None:
        """Cancel what handlers left running, and close the loop."""
        self._loop = None
        if self._runner is not None:
            self._runner.close()


def _error(task: asyncio.Task[object]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
