"""Which partition a push goes to, where a balancer must know how many there are.

Decides when Kafka is asked for the count again, and what holds while it does not answer.
Tested by tests/kq/test_pushing.py and tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from kqworker.errors import BrokerError

# How long the first push waits for the count of partitions.
FIRST_COUNT = 10.0
# How long a later question may take; the earlier count holds until it is answered.
NEXT_COUNT = 1.0
COUNT_INTERVAL = 30.0

GivenUp = Callable[[], bool] | None


class PartitionChoice:
    """A balancer, and the count of partitions that it uses; for several threads.

    Args:
        choose: The balancer's function; takes the bytes of a message and the count.
        ask: Asks Kafka for the count; takes seconds, and a function that says to give up.
    """

    def __init__(
        self, choose: Callable[[int, int], int], ask: Callable[[float, GivenUp], int]
    ) -> None:
        self._choose = choose
        self._ask = ask
        self._lock = threading.Lock()
        self._count = 0
        self._ask_at = 0.0

    def of(self, size: int, given_up: GivenUp) -> int:
        """Return the partition of a message of so many bytes.

        Raises:
            BrokerError: Kafka has never said how many there are.
            RuntimeError: The sink is closed.
        """
        with self._lock:
            if time.monotonic() >= self._ask_at:
                known = self._count > 0
                try:
                    self._count = self._ask(NEXT_COUNT if known else FIRST_COUNT, given_up)
                except BrokerError:
                    # Failed deliveries report that a broker is away.
                    if not known:
                        raise
                self._ask_at = time.monotonic() + COUNT_INTERVAL
            return self._choose(size, self._count)
