"""A cluster of Apache Kafka on loopback: started, broken on purpose, questioned, stopped.

Decides when a cluster counts as ready and how its state is read. Holds no Kafka client
between calls, so a test sees only the file descriptors that it opened itself. What one
broker is made of is node.py's. Tested by tests/kafka/test_cluster.py.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ElectionType, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConsumerGroupDescription,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    TopicMetadata,
)

from tests.kafka import certificates
from tests.kafka.asking import (
    ASK_TIMEOUT,
    admin_of,
    answer_to,
    leaders,
    only,
    settings_of,
    told_by,
    until,
)
from tests.kafka.node import FORMAT_TIMEOUT, PASSWORD, USER, Node, Ports, free_ports

# Fresh ports are free when chosen; somebody may still be quicker.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for one partition."""

    offset: int
    metadata: str


class Cluster:
    """One or more brokers of Apache Kafka, or a given cluster that is not ours to break.

    Attributes:
        bootstrap: What `bootstrap.servers` takes; every broker is in it.
        client: All the librdkafka settings that a client needs to connect, security included.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        nodes: Sequence[Node] = (),
        folder: Path | None = None,
        client: Mapping[str, str] | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.client: dict[str, str] = {"bootstrap.servers": bootstrap, **(client or {})}
        self._nodes = nodes
        self._folder = folder

    @classmethod
    def start(
        cls,
        brokers: int = 1,
        properties: Mapping[str, str] | None = None,
        tls_scram: bool = False,
        dir: Path | None = None,
        lasting: bool = False,
    ) -> Cluster:
        """Starts a cluster and returns when every broker serves.

        Args:
            brokers: How many; each is a voting controller too, so of three one may be lost.
            properties: Broker settings beside or instead of those of node.py.
            tls_scram: Clients must use TLS and SCRAM-SHA-512 (`client` says how).
            dir: Where its folder is made; the system's place for temporary files if None.
            lasting: It is to get as fast as it can, rather than to be there soon.

        Raises:
            Unavailable: when this machine has no Java or no Maven.
            AssertionError: when it does not come up, with the brokers' last words.
        """
        for attempt in range(1, ATTEMPTS + 1):
            folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=dir))
            cluster = cls._laid_out(folder, brokers, tls_scram, lasting)
            try:
                cluster._bring_up(properties or {}, tls_scram)
            except BaseException as error:  # whatever it was, no JVM stays behind
                said = "\n".join(node.last_words() for node in cluster._nodes)
                cluster.stop()
                if "BindException" in said and attempt < ATTEMPTS:
                    continue
                if isinstance(error, AssertionError):
                    raise AssertionError(f"{error}\n{said}") from error
                raise
            return cluster
        raise AssertionError("unreachable: the last attempt returns or raises")

    @classmethod
    def given(cls, bootstrap: str) -> Cluster:
        """Somebody's running cluster: it is questioned, but a test that would break it skips."""
        return cls(bootstrap)

    @property
    def brokers(self) -> int:
        """How many brokers the cluster has now, by its own account."""
        return len(self._admin().list_topics(timeout=ASK_TIMEOUT).brokers)

    # -- topics and offsets

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Creates a topic and returns its name once every partition has a leader.

        Args:
            replication: Copies of each partition; as many as there are brokers, at most 3, if None.
        """
        copies = min(3, len(self._nodes)) or -1 if replication is None else replication
        admin = self._admin()
        topic = NewTopic(name, partitions, copies, config=dict(config or {}))
        only(admin.create_topics([topic], request_timeout=ASK_TIMEOUT))
        self._wait_for_leaders(name, partitions)
        return name

    def new_topic(
        self,
        partitions: int = 1,
        replication: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Creates a topic of a name nobody has used, and returns that name."""
        return self.create_topic(f"t-{uuid.uuid4().hex[:12]}", partitions, replication, config)

    def grow_topic(self, name: str, partitions: int) -> None:
        """Gives a topic more partitions; returns when each broker knows their leaders."""
        admin = self._admin()
        wanted = [NewPartitions(name, partitions)]
        only(admin.create_partitions(wanted, request_timeout=ASK_TIMEOUT))
        self._wait_for_leaders(name, partitions)

    def delete_topic(self, name: str) -> None:
        """Deletes a topic; returns when no broker knows it any more."""
        admin = self._admin()
        only(admin.delete_topics([name], request_timeout=ASK_TIMEOUT))
        self._wait_for_leaders(name, 0)

    def assigned(self, group: str) -> set[tuple[str, int]]:
        """The partitions that the members of a group have."""
        admin = self._admin()
        told = only(admin.describe_consumer_groups([group], request_timeout=ASK_TIMEOUT))
        return {
            (tp.topic, tp.partition)
            for member in told.members
            for tp in member.assignment.topic_partitions
        }

    def leader(self, topic: str, partition: int = 0) -> int:
        """The number of the broker that leads a partition, as `kill` and `freeze` take it."""
        return int(self._topic(self._admin(), topic).partitions[partition].leader)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """By partition, the offset that the next message will get."""
        admin = self._admin()
        wanted = {
            TopicPartition(topic, number): OffsetSpec.latest()
            for number in self._topic(admin, topic).partitions
        }

        def ask() -> dict[int, int]:
            asked = admin.list_offsets(wanted, request_timeout=ASK_TIMEOUT)
            ends = {tp.partition: told.result(ASK_TIMEOUT).offset for tp, told in asked.items()}
            if min(ends.values()) < 0:
                # A broker that did not answer is no error there: its offsets are -1001.
                raise KafkaException(KafkaError(KafkaError._TRANSPORT))
            return ends

        return answer_to(ask, f"the end offsets of {topic}")

    def committed(self, group: str, topic: str) -> dict[int, Committed]:
        """By partition, what the group has committed; partitions without a commit are absent."""
        partitions = [
            TopicPartition(topic, n) for n in self._topic(self._admin(), topic).partitions
        ]
        # Of a consumer that never joins. AdminClient.list_consumer_group_offsets ends the
        # process with SIGSEGV when the coordinator has moved or is not up yet:
        # https://github.com/confluentinc/librdkafka/issues/5040
        reader = Consumer({**settings_of(self._internal()), "group.id": group})
        try:
            told = answer_to(
                lambda: reader.committed(partitions, timeout=ASK_TIMEOUT),
                f"what {group} has committed for {topic}",
            )
        finally:
            reader.close()
        return {
            tp.partition: Committed(tp.offset, tp.metadata or "") for tp in told if tp.offset >= 0
        }

    def coordinator(self, group: str) -> int:
        """The number of the broker that keeps a group, as `kill` and `freeze` take it."""
        admin = self._admin()

        def ask() -> ConsumerGroupDescription:
            return only(admin.describe_consumer_groups([group], request_timeout=ASK_TIMEOUT))

        return int(answer_to(ask, f"the coordinator of {group}").coordinator.id)

    def restore_leaders(self, topic: str) -> None:
        """Lets the broker that comes first of each partition's replicas lead it again."""
        admin = self._admin()
        partitions = [TopicPartition(topic, n) for n in self._topic(admin, topic).partitions]
        # Without a timeout of ours: confluent_kafka 2.16 raises SystemError for any.
        admin.elect_leaders(ElectionType.PREFERRED, partitions).result(ASK_TIMEOUT)

    # -- faults

    def pids(self) -> set[int]:
        """The processes of all brokers that run, frozen ones included."""
        return {n.process.pid for n in self._nodes if n.process is not None and n.running}

    def pid(self, index: int) -> int:
        """The process of a broker."""
        process = self._node(index).process
        assert process is not None
        return process.pid

    def segment(self, topic: str, partition: int = 0) -> Path:
        """The file in which the leader of a partition keeps its first messages."""
        folder = self._node(self.leader(topic, partition)).folder
        return folder / "data" / f"{topic}-{partition}" / f"{0:020}.log"

    def kill(self, index: int) -> None:
        """SIGKILL; returns when the process has gone."""
        self._node(index).kill()

    def restart(self, index: int) -> None:
        """Starts a killed broker on its old ports and data; returns when it serves again."""
        node = self._node(index)
        node.start()
        self._wait_until_ready([node])

    def freeze(self, index: int) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._node(index).freeze()

    def thaw(self, index: int) -> None:
        """SIGCONT; returns when the broker serves again."""
        node = self._node(index)
        node.thaw()
        self._wait_until_ready([node])

    def repair(self) -> None:
        """Thaws and restarts whatever a test left frozen or killed."""
        frozen = [node for node in self._nodes if node.running and node.frozen]
        killed = [node for node in self._nodes if not node.running]
        for node in frozen:
            node.thaw()
        for node in killed:
            node.start()
        self._wait_until_ready([*frozen, *killed])

    def wait_in_sync(self, *topics: str) -> None:
        """Returns when every copy of these topics' partitions is in sync again."""
        admin = self._admin()

        def in_sync() -> bool:
            partitions = [p for t in topics for p in self._topic(admin, t).partitions.values()]
            return all(len(p.isrs) == len(p.replicas) for p in partitions)

        until(in_sync, f"{', '.join(topics)} in sync")

    # -- the end

    def stop(self) -> None:
        """Kills what runs, reaps it, and removes the cluster's folder; again does nothing."""
        for node in self._nodes:
            node.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- inside

    @classmethod
    def _laid_out(cls, folder: Path, brokers: int, tls_scram: bool, lasting: bool) -> Cluster:
        ports = free_ports(3 * brokers)
        nodes = [
            Node(
                index,
                folder / f"broker-{index}",
                Ports(*ports[3 * index : 3 * index + 3]),
                lasting,
            )
            for index in range(brokers)
        ]
        security = {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(folder / "authority.pem"),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }
        bootstrap = ",".join(f"127.0.0.1:{node.ports.client}" for node in nodes)
        client = security if tls_scram else {}
        return cls(bootstrap, nodes=nodes, folder=folder, client=client)

    def _bring_up(self, properties: Mapping[str, str], tls_scram: bool) -> None:
        assert self._folder is not None
        tls = certificates.make(self._folder) if tls_scram else None
        voters = {node.index: node.ports.controller for node in self._nodes}
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        for node in self._nodes:
            node.configure(voters, tls, properties)
        formatting = [node.format(cluster_id, tls_scram) for node in self._nodes]
        try:
            codes = [process.wait(FORMAT_TIMEOUT) for process in formatting]
        finally:
            for process in formatting:
                process.kill()
                process.wait()
        assert not any(codes), "the data folders could not be formatted"
        for node in self._nodes:
            node.start()
        self._wait_until_ready(self._nodes)

    def _wait_until_ready(self, nodes: Sequence[Node]) -> None:
        """Every broker that runs knows all that do, and `nodes` own the ports we gave them."""
        serving = self._serving()
        expected = {node.index for node in serving}
        for node in serving:

            def serves(node: Node = node) -> bool:
                assert node.running, f"broker {node.index} ended"
                told = told_by(node.index, node.address, timeout=2.0)
                return told is not None and expected <= told.brokers.keys()

            until(serves, f"broker {node.index} serves")
        for node in nodes:
            wanted = {node.ports.client, node.ports.internal, node.ports.controller}
            ours = node.listening_ports()
            assert wanted <= ours, f"on {wanted - ours} listens somebody else than broker {node}"

    def _node(self, index: int) -> Node:
        if not self._nodes:
            pytest.skip(
                "KQWORKER_TEST_BROKERS names somebody's cluster, which is not ours to break"
            )
        return self._nodes[index]

    def _admin(self) -> AdminClient:
        """A client for one call, over the brokers' own listener: no security to get past."""
        return admin_of(self._internal())

    def _internal(self) -> str:
        """The brokers' own listeners, of those that run, frozen ones too."""
        return ",".join(n.address for n in self._nodes if n.running) or self.bootstrap

    def _serving(self) -> list[Node]:
        return [node for node in self._nodes if node.running and not node.frozen]

    @staticmethod
    def _topic(admin: AdminClient, name: str) -> TopicMetadata:
        return admin.list_topics(timeout=ASK_TIMEOUT).topics[name]

    def _wait_for_leaders(self, name: str, partitions: int) -> None:
        # Each broker learns of it on its own, and any of them may be asked next.
        asked = [(n.index, n.address) for n in self._serving()] or [(-1, self.bootstrap)]
        for at in asked:
            knows = f"broker {at} knows the {partitions} leaders of topic {name}"
            until(lambda at=at: leaders(*at, name) == partitions, knows)
