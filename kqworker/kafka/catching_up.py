"""How a run learns that all is handled that it is to end with.

Decides when the core is told what is to be handled, when others of the group are asked about,
and when transactions are. What is asked is group_lag.py's.
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
        isolation: As `isolation.level`, under which it reads.
        targets: Up to where each partition is to be handled.
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
        """Return what is to be handled, at first and when others have handled of it.

        Args:
            snapshot: How far the run is.
            stopping: It ends already, for another reason.
        """
        if not self._begun:
            self._begun = True
            return (CatchUp(self._targets),)
        if self._transactions is not None:
            idle = bool(snapshot.remaining and not snapshot.held)
            self._transactions.look(idle and not stopping)
        if snapshot.remaining or not snapshot.elsewhere:
            return ()
        # All that is left is with others of the group, or on its way from one to another.
        known = self._behind.left
        self._behind.ask()
        return (CatchUp(known),)
