"""How far behind a group is, looked up in the background while a run goes on.

Decides how often Kafka is asked. For a run that ends when all that there was is handled: what
another supervisor of the group does, it can see by the group's commits alone.
Tested by tests/kafka_unit/test_behind.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from kqworker import logs
from kqworker.errors import BrokerError
from kqworker.kafka.admin import Admin
from kqworker.types import TopicPartition

logger = logs.logger("kqworker.kafka")

# Between two questions. Each of them opens a connection.
ASK_SECONDS = 2.0


class Behind:
    """The partitions in which a group has not committed all up to some offsets.

    Args:
        properties: What `admin_properties` returns.
        group: The group.
        targets: The offsets, by partition.

    Attributes:
        left: Those of the targets that the last answer did not show to be reached; replaced,
            never changed, so that any thread may read it.
    """

    def __init__(
        self, properties: Mapping[str, str], group: str, targets: Mapping[TopicPartition, int]
    ) -> None:
        self.left = targets
        self._properties = properties
        self._group = group
        self._asking: threading.Thread | None = None
        self._ask_at = 0.0

    def ask(self) -> None:
        """Have Kafka asked, unless it is being asked or was a moment ago; never block."""
        now = time.monotonic()
        if now < self._ask_at or (self._asking is not None and self._asking.is_alive()):
            return
        self._ask_at = now + ASK_SECONDS
        # Daemon: a frozen broker must not keep the process from ending.
        self._asking = threading.Thread(target=self._ask, name="kqworker-behind", daemon=True)
        self._asking.start()

    def _ask(self) -> None:
        try:
            with Admin(self._properties) as kafka:
                committed = kafka.committed(self._group, self.left)
        except BrokerError as error:
            logger.warning("whether others are done is not known: %s", error)
            return
        self.left = {p: end for p, end in self.left.items() if committed.get(p, 0) < end}
