"""Dead letters that their topic does not take: told, held alone, and delivered once it does."""

from __future__ import annotations

import select

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from kqworker.core.commands import Produce
from kqworker.core.completion import decode
from kqworker.core.events import Delivered
from kqworker.errors import BrokerError
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.kafka.sink import KafkaSink
from kqworker.types import Output
from tests.kafka.asking import ASK_TIMEOUT, only
from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewCluster, NewTopic
from tests.kafka.node import USER
from tests.kafka.records import consume, produce
from tests.kafka.supervisors import Supervise
from tests.waiting import until

TIMEOUT = 30.0
ONCE = {"attempts": 1}
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # Those who come without a name: the brokers, and this test.
    "super.users": "User:ANONYMOUS",
}


def configure(cluster: Cluster, topic: str, name: str, value: str) -> None:
    """Set a property of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = cluster._admin()
    only(admin.incremental_alter_configs([resource], request_timeout=ASK_TIMEOUT))


def rights(kind: ResourceType, name: str, *operations: AclOperation) -> list[AclBinding]:
    """What lets the clients' user do something."""
    where = (kind, name, ResourcePatternType.LITERAL)
    user, allowed = f"User:{USER}", AclPermissionType.ALLOW
    return [AclBinding(*where, user, "*", operation, allowed) for operation in operations]


def grant(cluster: Cluster, *bindings: AclBinding) -> None:
    """Give rights."""
    admin = cluster._admin()
    asked = admin.create_acls(list(bindings), request_timeout=ASK_TIMEOUT)
    for answer in asked.values():
        answer.result(ASK_TIMEOUT)


def take(cluster: Cluster, binding: AclBinding) -> None:
    """Take a right away."""
    where = (binding.restype, binding.name, binding.resource_pattern_type)
    what = (binding.principal, binding.host, binding.operation, binding.permission_type)
    wanted = AclBindingFilter(*where, *what)
    admin = cluster._admin()
    only(admin.delete_acls([wanted], request_timeout=ASK_TIMEOUT))

    def gone() -> bool:
        return not admin.describe_acls(wanted, request_timeout=ASK_TIMEOUT).result(ASK_TIMEOUT)

    # The controller has forgotten it; the broker hears of that afterwards.
    until(gone, "the right is gone")


def test_a_compacted_topic_holds_up_what_has_no_key_alone_until_it_is_mended(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(), topic(config={"cleanup.policy": "compact"})
    values = [b"ok", b"fail 1", b"fail 1 alone", b"fail 1", b"ok"]
    produce(kafka, name, values, keys=[b"a", b"a", None, b"b", b"b"])
    supervisor = supervise(kafka, name, retry=ONCE, dead_letter=dead).ready()
    assert f"topic '{dead}' is compacted" in supervisor.events("doubtful_topic")[0]
    supervisor.until(lambda: len(supervisor.events("dead-lettered")) == 2, "the neighbours are")
    supervisor.until(lambda: supervisor.events("stalled"), "it is told")

    line = supervisor.events("stalled")[0]
    assert f"{name}[0]@2" in line
    assert f"topic '{dead}' takes no record without a key" in line
    assert sorted(str(message.key()) for message in consume(kafka, dead)) == ["b'a'", "b'b'"]

    def committed() -> bool:
        told = kafka.committed(supervise.group, name).get(0)
        found = decode(told.metadata, told.offset) if told is not None else None
        return told is not None and told.offset == 2 and found is not None and bool(found.done)

    supervisor.until(committed, "what is behind it is committed")
    configure(kafka, dead, "cleanup.policy", "delete")
    supervisor.until(lambda: len(supervisor.events("dead-lettered")) == 3, "it goes on")
    assert supervisor.stop() == 0, supervisor
    assert kafka.committed(supervise.group, name)[0].offset == 5


def check_that_a_producer_without_any_right_waits_for_one(
    cluster: Cluster, topic: str, write: AclBinding
) -> None:
    # librdkafka gives such a producer up at once, and for good.
    security = {k: v for k, v in cluster.client.items() if k != "bootstrap.servers"}
    sink = KafkaSink(Outgoing(producer_properties(cluster.bootstrap, security)))

    def answer(ticket: int) -> Delivered:
        sink.produce(Produce(ticket, Output(topic, b"1")))
        assert select.select([sink], [], [], TIMEOUT)[0], "no answer"
        (event,) = sink.events()
        assert isinstance(event, Delivered)
        return event

    refused = answer(1)
    assert refused.failure is not None and refused.retriable
    assert refused.failure.type == "KafkaError.CLUSTER_AUTHORIZATION_FAILED"
    assert f"no right to write to topic '{topic}', grant WRITE" in refused.failure.text
    grant(cluster, write)
    until(lambda: answer(2).failure is None, "it is delivered")
    take(cluster, write)
    assert sink.close(TIMEOUT)


def test_a_missing_right_to_write_is_told_and_holds_the_dead_letters_until_it_is_given(
    new_cluster: NewCluster, supervise: Supervise
) -> None:
    cluster = new_cluster(properties=AUTHORIZER, tls_scram=True)
    name, dead = cluster.new_topic(), cluster.new_topic()
    (write,) = rights(ResourceType.TOPIC, dead, AclOperation.WRITE)
    grant(cluster, *rights(ResourceType.TOPIC, dead, AclOperation.DESCRIBE))
    check_that_a_producer_without_any_right_waits_for_one(cluster, dead, write)
    grant(
        cluster,
        *rights(ResourceType.TOPIC, name, AclOperation.READ, AclOperation.WRITE),
        *rights(ResourceType.GROUP, supervise.group, AclOperation.READ),
    )
    refused = supervise(cluster, name, retry=ONCE, dead_letter=dead)
    assert refused.wait() == 3, refused
    assert f"error: no right to write to topic '{dead}', grant WRITE" in refused.out

    grant(cluster, write)
    supervisor = supervise(cluster, name, retry=ONCE, dead_letter=dead).ready()
    take(cluster, write)
    produce(cluster, name, [b"ok", b"fail 1", b"ok"])
    supervisor.handled(3)
    supervisor.until(lambda: supervisor.events("stalled"), "it is told")
    assert f"no right to write to topic '{dead}', grant WRITE" in supervisor.events("stalled")[0]
    grant(cluster, write)
    supervisor.until(lambda: supervisor.events("dead-lettered"), "it goes on")
    assert supervisor.stop() == 0, supervisor
    assert cluster.committed(supervise.group, name)[0].offset == 3


def test_check_tells_of_a_compacted_topic_that_records_without_a_key_are_held(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    name, dead = topic(), topic(config={"cleanup.policy": "compact,delete"})
    (kqworker.folder / "app.py").write_text(
        "from kqworker import App\n"
        f"app = App('checked', brokers={kafka.bootstrap!r})\n"
        f"@app.handler(topic={name!r}, dead_letter={dead!r})\n"
        "def on_message(text: str) -> None: ...\n"
    )

    checked = kqworker("check", "app:app")

    assert checked.code == 0, checked
    (line,) = [line for line in checked.out.splitlines() if line.startswith("note")]
    assert f"topic '{dead}' is compacted (cleanup.policy)" in line


def test_what_is_pushed_with_a_refused_record_is_delivered_and_that_record_alone_is_refused(
    kafka: Cluster, topic: NewTopic
) -> None:
    name = topic(config={"cleanup.policy": "compact"})
    sink = KafkaPushSink(Outgoing(producer_properties(kafka.bootstrap, {"linger.ms": "100"})))
    sent = [sink.send(Output(name, b"1", b"k")) for _ in range(50)]
    refused = sink.send(Output(name, b"1"))
    sent += [sink.send(Output(name, b"1", b"k")) for _ in range(50)]

    assert sorted(delivery.wait(TIMEOUT).offset or 0 for delivery in sent) == list(range(100))
    with pytest.raises(BrokerError, match=f"topic '{name}' takes no record without a key"):
        refused.wait(TIMEOUT)
    assert sink.close(TIMEOUT)
