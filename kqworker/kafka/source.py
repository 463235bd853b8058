"""Where messages come from and commits go: a consumer group, as a port of the core.

Decides which member a command is for. One thread owns each member's consumer and hands
whole batches to the loop (member.py); nothing here blocks but `close`.
Tested by tests/contract/test_source.py and, against Apache Kafka, tests/kafka/test_source.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from kqworker.core.commands import Commit, Fetching, Mark, Pause, Release, Resume
from kqworker.core.events import Committed
from kqworker.kafka.commit_fence import NOT_OWNED
from kqworker.kafka.mailbox import Mailbox
from kqworker.kafka.member import Member

if TYPE_CHECKING:
    from kqworker.core.commands import SourceCommand
    from kqworker.core.events import Event
    from kqworker.errors import BrokerError
    from kqworker.types import TopicPartition


class KafkaSource:
    """A `Source` whose messages come from Kafka; it joins the group at once.

    A mark that comes while another of the same partition is under way waits for that answer. A mark
    that comes meanwhile replaces the waiting one, and its answer stands for both.

    Args:
        properties: librdkafka's properties of each member of the group; each member gets a
            consumer and a thread.
        subscriptions: Names of topics, or patterns that begin with `^`.
        drain_seconds: How long a revoke waits for the core's `Release`; at most half of
            `max.poll.interval.ms`, after which the group would cast the member out.
        present: How many partitions each topic had when the run began. Later ones are read from
            their beginning, whatever `auto.offset.reset` says: this matters for `latest`.
        from_zero: A partition without a commit begins at offset 0, and not at its first message:
            the built-in broker may have dropped messages before anybody saw them.
        timestamps: Whether the times of messages are read; they cost a tenth of what a small
            message costs here.

    Raises:
        ConfigError: librdkafka refuses the properties or a subscription.
    """

    def __init__(
        self,
        properties: Sequence[Mapping[str, object]],
        subscriptions: Sequence[str],
        drain_seconds: float = 30.0,
        present: Mapping[str, int] = MappingProxyType({}),
        from_zero: bool = False,
        timestamps: bool = True,
    ) -> None:
        self._mailbox = Mailbox()
        self._members: list[Member] = []
        try:
            for number, mine in enumerate(properties):
                if len(properties) > 1:
                    # The members then differ in the brokers' logs and tools.
                    mine = {**mine, "client.id": f"{mine.get('client.id', 'kqworker')}-{number}"}
                member = Member(
                    number,
                    mine,
                    subscriptions,
                    self._mailbox,
                    drain_seconds,
                    present,
                    from_zero,
                    timestamps,
                )
                self._members.append(member)
        except BaseException:  # whatever it was, no member stays behind
            self.close(0.0)
            raise
        for member in self._members:
            member.start()

    @property
    def fatal(self) -> BrokerError | None:
        """The first error after which it is useless to go on; then `fileno` is readable."""
        return self._mailbox.fatal

    def fileno(self) -> int:
        """Return a descriptor that is readable while events wait, or there is a `fatal`."""
        return self._mailbox.fileno()

    def events(self) -> Sequence[Event]:
        """Return what has happened since the last call, in order; never block."""
        events = self._mailbox.take()
        for member in self._members:
            member.taken()
        return events

    def execute(self, command: SourceCommand) -> None:
        """Carry a command out, soon and in order; never block."""
        match command:
            case Commit():
                self._commit(command.marks)
            case Release():
                self._members[command.member].post(command)
            case Fetching() | Pause() | Resume():
                for member in self._members:
                    member.post(command)
            case _:
                assert_never(command)

    def close(self, timeout: float) -> bool:
        """Leave the group, without asking the core what to do with its partitions.

        Args:
            timeout: Seconds that commits under way and the leaving may take together.

        Returns:
            Whether all members have left; those that hang are abandoned.
        """
        deadline = time.monotonic() + timeout
        for member in self._members:
            member.close(deadline)
        left = [member.join(deadline) for member in self._members]
        self._mailbox.close()
        return all(left)

    def _commit(self, marks: Mapping[TopicPartition, Mark]) -> None:
        rest = dict(marks)
        for member in self._members:
            mine = {p: rest.pop(p) for p in member.owned.intersection(rest)}
            if mine:
                member.post(Commit(mine))
        if rest:
            self._mailbox.put(Committed(rest, NOT_OWNED))
