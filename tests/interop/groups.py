"""Who owns what in a consumer group, now and over time, by the broker's own account.

Decides nothing of either side. Holds a client only while it looks.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription

from tests.kafka.cluster import Cluster

ASK_TIMEOUT = 10.0
# Kafka tells nobody when a group changes.
PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group.

    Attributes:
        program: go or py, by its client id.
        partitions: What it owns.
    """

    identity: str
    program: str
    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class State:
    """A group at one moment; `at` in seconds since the recording began."""

    at: float
    name: str
    members: tuple[Member, ...]

    @property
    def stable(self) -> bool:
        return self.name == "STABLE"

    def owned_by(self, program: str) -> set[int]:
        """The partitions of all members of a program."""
        return {p for m in self.members if m.program == program for p in m.partitions}

    def count(self, program: str) -> int:
        """How many members a program has in the group."""
        return sum(member.program == program for member in self.members)

    def __str__(self) -> str:
        told = ", ".join(
            f"{m.program} {m.identity[-4:]} {sorted(m.partitions) or 'idle'}" for m in self.members
        )
        return f"{self.at:6.1f} s  {self.name:22} {told or 'nobody'}"


def look(admin: AdminClient, group: str, began: float = 0.0) -> State:
    """Ask the broker for a group's members and what they own."""
    asked = admin.describe_consumer_groups([group], request_timeout=ASK_TIMEOUT)
    told: ConsumerGroupDescription = asked[group].result(ASK_TIMEOUT)
    members = [
        Member(
            member.member_id,
            "go" if "segmentio/kafka-go" in member.client_id else "py",
            frozenset(tp.partition for tp in member.assignment.topic_partitions),
        )
        for member in told.members or ()
    ]
    members.sort(key=lambda member: (member.program, member.identity))
    return State(time.monotonic() - began, told.state.name, tuple(members))


def members(cluster: Cluster, group: str) -> list[str]:
    """The identities of a group's members, dead ones that it waits for included."""
    admin = AdminClient({**cluster.client, "log_level": 0})
    return [member.identity for member in look(admin, group).members]


class Record:
    """Follows a group in a thread of its own and keeps every state that differs from the last.

    Args:
        group: May be one that does not exist yet.
    """

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._settings = {**cluster.client, "log_level": 0}
        self._group = group
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="record")
        self.states: list[State] = []

    @property
    def now(self) -> State:
        """The last state seen."""
        return self.states[-1] if self.states else State(0.0, "", ())

    def __enter__(self) -> Record:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        admin = AdminClient(self._settings)
        while not self._stop.wait(PAUSE):
            try:
                state = look(admin, self._group, self._began)
            except (KafkaException, TimeoutError):
                continue  # the coordinator is being found, or busy: the next look tells
            if (state.name, state.members) != (self.now.name, self.now.members):
                self.states.append(state)

    def __str__(self) -> str:
        return "\n".join(map(str, self.states))
