"""How a run learns that everything is handled that it should handle before it ends.

Decides when the core gets its targets, when Kafka is asked about the group's other members,
and when about transactions. group_lag.py asks.
Tested by tests/kafka/test_until_caught_up.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kqworker.core.events import CatchUp
from kqworker.core.snapshot import Snapshot
from kqworker.kafka.admin import READ_COMMITTED
from kqworker.kafka.group_lag import Behind, Transactions
from kqworker.types import TopicPartition


class CatchingUp:
    """The end of a run that ends by itself.

    Args:
        properties: What `admin_properties` returns.
        group: The group.
        isolation: The run's `isolation.level`.
        targets: Up to which offset each partition is to be handled.
    """

    def __init__(
        self,
        properties: Mapping[str, str],
        group: str,
        isolation: str,
        targets: Mapping[TopicPartition, int],
    ) -> None:
        self._targets = targets
        self._begun = False
        self._behind = Behind(properties, group, targets)
        self._transactions: Transactions | None = None
        if isolation == READ_COMMITTED:
            self._transactions = Transactions(properties, targets)

    def look(self, snapshot: Snapshot, stopping: bool) -> Sequence[CatchUp]:
        """Return what is to be handled: at first, and when other members have handled some of it.

        Args:
            snapshot: How far the run is.
            stopping: The run is ending already, for another reason.
        """
        if not self._begun:
            self._begun = True
            return (CatchUp(self._targets),)
        if self._transactions is not None:
            idle = bool(snapshot.remaining and not snapshot.held)
            self._transactions.look(idle and not stopping)
        if snapshot.remaining or not snapshot.elsewhere:
            return ()
        # The rest is with other members of the group, or on its way from one to another.
        known = self._behind.left
        self._behind.ask()
        return (CatchUp(known),)
