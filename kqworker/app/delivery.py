"""The delivery of one pushed record, which a caller may wait for.

Decides nothing: the sink resolves it or fails it, from any thread.
Knows nothing of Kafka. Tested by tests/app/test_delivery.py.
"""

from __future__ import annotations

import os
import threading

# One for all deliveries: a lock and a condition each would cost more than the push.
_changed = threading.Condition()


def _after_fork() -> None:
    # A thread of the parent may have held it.
    global _changed
    _changed = threading.Condition()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Delivery:
    """A record on its way; delivered means that all in-sync replicas have it.

    Attributes:
        done: Whether it was delivered or has failed.
        partition: Where it was stored; None before it is delivered.
        offset: Where it was stored; None before it is delivered, or if the broker did not say.
    """

    __slots__ = ("_error", "done", "offset", "partition")

    def __init__(self) -> None:
        self.done = False
        self.partition: int | None = None
        self.offset: int | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        if not self.done:
            return "<Delivery pending>"
        if self._error is not None:
            return f"<Delivery failed: {self._error}>"
        return f"<Delivery partition={self.partition} offset={self.offset}>"

    def wait(self, timeout: float | None = None) -> Delivery:
        """Wait until it is delivered, and return it.

        Args:
            timeout: Seconds, at least 0; None waits for as long as the sink tries.

        Raises:
            TimeoutError: It is still under way; it may be delivered later.
            BrokerError: It cannot be delivered.
        """
        if not self.done:
            changed = _changed
            with changed:
                if not changed.wait_for(lambda: self.done, timeout):
                    raise TimeoutError(f"the record was not delivered within {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self

    def _resolve(self, partition: int | None, offset: int | None) -> None:
        changed = _changed
        with changed:
            self.partition, self.offset, self.done = partition, offset, True
            changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        changed = _changed
        with changed:
            self._error, self.done = error, True
            changed.notify_all()
