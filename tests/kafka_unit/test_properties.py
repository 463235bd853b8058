"""From settings to librdkafka's properties, and how mistakes are told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from kqworker.errors import ConfigError
from kqworker.kafka import names
from kqworker.kafka.properties import admin_properties, consumer_properties, producer_properties

BROKERS = "localhost:9092"
SECURITY = {
    "security.protocol": "sasl_ssl",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "me",
    "sasl.password": "hidden",
}


def consumer(extra: dict[str, str] | None = None, **more: int) -> dict[str, str]:
    return consumer_properties(BROKERS, "orders", extra=extra, **more)


def producer(extra: dict[str, str] | None = None) -> dict[str, str]:
    return producer_properties(BROKERS, extra)


def admin(extra: dict[str, str] | None = None) -> dict[str, str]:
    return admin_properties(BROKERS, extra)


EVERY = pytest.mark.parametrize("compose", [consumer, producer, admin])
Compose = Callable[[dict[str, str]], dict[str, str]]


def test_a_consumer_commits_nothing_by_itself_and_starts_where_it_is_told() -> None:
    properties = consumer_properties(BROKERS, "orders", offset="error")

    assert properties["bootstrap.servers"] == BROKERS
    assert properties["group.id"] == "orders"
    assert properties["auto.offset.reset"] == "error"
    assert properties["enable.auto.commit"] == properties["enable.auto.offset.store"] == "false"


def test_the_classic_protocol_is_cooperative_and_notices_a_dead_member_within_10_s() -> None:
    properties = consumer()

    assert properties["partition.assignment.strategy"] == "cooperative-sticky"
    assert properties["session.timeout.ms"] == "10000"


def test_the_consumer_protocol_gets_none_of_what_only_the_classic_one_knows() -> None:
    properties = consumer({"group.protocol": "consumer"})

    assert not {"partition.assignment.strategy", "session.timeout.ms"} & properties.keys()


@pytest.mark.parametrize("members", [1, 2, 3, 8, 100])
def test_what_is_fetched_ahead_is_bounded_over_all_members(members: int) -> None:
    properties = consumer(members=members)

    kbytes = int(properties["queued.max.messages.kbytes"])
    assert kbytes == max(1024, 4096 // members)
    assert int(properties["fetch.max.bytes"]) == kbytes * 1024


def test_a_larger_message_size_leaves_the_size_of_a_fetch_to_librdkafka() -> None:
    assert "fetch.max.bytes" not in consumer({"message.max.bytes": "50000000"})


def test_static_members_have_a_name_each() -> None:
    instances = {
        consumer({"group.instance.id": "pod-0"}, members=2, member=member)["group.instance.id"]
        for member in range(2)
    }

    assert instances == {"pod-0-0", "pod-0-1"}
    assert consumer({"group.instance.id": "pod-0"})["group.instance.id"] == "pod-0"


def test_a_producer_is_idempotent_and_waits_for_all_replicas() -> None:
    properties = producer()

    assert properties["enable.idempotence"] == "true"
    assert properties["acks"] == "all"


@pytest.mark.parametrize("alias", ["queue.buffering.max.ms", "linger.ms"])
def test_the_user_decides_under_either_name_of_a_property(alias: str) -> None:
    properties = producer({alias: "50"})

    assert properties[alias] == "50"
    assert len({"queue.buffering.max.ms", "linger.ms"} & properties.keys()) == 1


@EVERY
def test_security_goes_to_every_client(compose: Compose) -> None:
    assert SECURITY.items() <= compose(SECURITY).items()


def test_a_property_goes_only_to_the_clients_that_know_it() -> None:
    extra = {"fetch.min.bytes": "2", "compression.type": "lz4", "client.rack": "a"}

    assert consumer(extra).items() >= {"fetch.min.bytes": "2", "client.rack": "a"}.items()
    assert producer(extra).items() >= {"compression.type": "lz4", "client.rack": "a"}.items()
    assert admin(extra)["client.rack"] == "a"
    assert "compression.type" not in consumer(extra).keys() | admin(extra).keys()
    assert "fetch.min.bytes" not in producer(extra).keys() | admin(extra).keys()


class Lines:
    """Takes a client's log."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.others = 0

    def log(self, level: int, form: str, facility: str, client: str, text: str) -> None:
        if facility == "CONFWARN":
            self.warnings.append(text)
        else:
            self.others += 1


def warnings(client: Callable[..., Any], properties: dict[str, str]) -> list[str]:
    """What a client says of its properties, which is before it fails to connect."""
    lines = Lines()
    poller = client({**properties, "bootstrap.servers": "127.0.0.1:1"}, logger=lines)
    while not lines.others:
        poller.poll(0.2)
    if isinstance(poller, Consumer):
        poller.close()
    return lines.warnings


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_librdkafka_warns_about_none_of_our_own_properties(protocol: str) -> None:
    assert warnings(Consumer, consumer({"group.protocol": protocol, "linger.ms": "9"})) == []
    assert warnings(Producer, producer({"fetch.min.bytes": "9"})) == []
    assert warnings(AdminClient, admin({"fetch.min.bytes": "9", "linger.ms": "9"})) == []

    assert warnings(Producer, {**producer(), "fetch.min.bytes": "9"})


NOTHING_TAKES_IT = "no value that anything takes"


def told(properties: dict[str, str]) -> str:
    """Return why librdkafka itself refuses properties; empty if it takes them."""
    try:
        Producer({**properties, "log_level": "0"})
    except KafkaException as error:
        return str(error.args[0].str())
    return ""


@EVERY
def test_a_misspelt_property_is_named_with_the_one_it_may_have_been(compose: Compose) -> None:
    with pytest.raises(ConfigError) as raised:
        compose({"max.poll.intervall.ms": "1"})

    assert str(raised.value) == (
        "unknown Kafka property 'max.poll.intervall.ms' (did you mean 'max.poll.interval.ms'?)"
    )


def test_a_wrong_value_is_told_with_librdkafka_s_reason_and_the_user_s_name_for_it() -> None:
    with pytest.raises(ConfigError) as raised:
        producer({"linger.ms": "soon"})

    why = told({"linger.ms": "soon"}).replace("queue.buffering.max.ms", "linger.ms")
    assert str(raised.value) == f"Kafka property 'linger.ms' cannot be 'soon': {why}"


def test_values_that_do_not_go_together_are_told_with_librdkafka_s_reason() -> None:
    with pytest.raises(ConfigError, match=r"^Kafka property 'max.poll.interval.ms' cannot be '5'"):
        consumer({"max.poll.interval.ms": "5"})


@EVERY
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "it cannot be read: No such file or directory"),
        ("nothing", "it holds no certificates in PEM's form"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    compose: Compose, content: str | None, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ConfigError) as refused:
        compose({"security.protocol": "ssl", "ssl.ca.location": str(file)})

    expected = f"Kafka property 'ssl.ca.location' cannot be {str(file)!r}: {reason}"
    assert str(refused.value).startswith(expected)


@EVERY
def test_what_names_no_property_is_told_as_it_is(compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"^Kafka refuses the properties: .*MAGIC"):
        compose({"security.protocol": "sasl_ssl", "sasl.mechanism": "MAGIC"})


@EVERY
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("bootstrap.servers", "set brokers"),
        ("group.id", "set group"),
        ("auto.offset.reset", "set offset"),
        ("enable.auto.commit", "kqworker commits"),
        ("acks", "all in-sync replicas"),
        ("error_cb", "Python function"),
        ("logger", "Python function"),
        ("test.mock.num.brokers", "kqworker broker"),
    ],
)
def test_what_is_kqworker_s_own_cannot_be_set(compose: Compose, name: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Kafka property '{name}' cannot be set: .*{instead}"):
        compose({name: "1"})


@EVERY
def test_all_that_is_kqworker_s_own_is_told_at_once(compose: Compose) -> None:
    with pytest.raises(ConfigError) as refused:
        compose({"group.id": "g", "client.id": "c", "acks": "1"})

    first, second = str(refused.value).splitlines()
    assert first.startswith("Kafka property 'group.id' cannot be set: ")
    assert second.startswith("Kafka property 'acks' cannot be set: ")


def test_an_error_never_shows_a_secret() -> None:
    with pytest.raises(ConfigError) as raised:
        admin({"ssl.key.pem": "hidden", "security.protocol": "ssl"})

    assert "hidden" not in str(raised.value)


@EVERY
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("client.id", "a\0b", r"cannot be 'a\\x00b': it would end at its NUL character"),
        ("client.id\0b", "a", "cannot be 'a': it would end at its NUL"),
        ("sasl.password", "hid\0den", "'sasl.password' cannot be what it is: it would end at"),
        ("client.id", "a\ud800", "it is not text that UTF-8 has a form for"),
        ("\ud800", "a", "it is not text that UTF-8 has a form for"),
    ],
)
def test_what_c_code_would_cut_or_crash_at_is_refused(
    compose: Compose, name: str, value: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        compose({name: value})


def test_a_group_that_would_be_another_s_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'group\.id' cannot be 'g\\x00two'"):
        consumer_properties(BROKERS, "g\0two")


@pytest.mark.parametrize("name", sorted(names.CONSUMER | names.PRODUCER | names.EVERY_CLIENT))
def test_librdkafka_knows_every_name_of_the_table(name: str) -> None:
    unknown = told({"no.such.property": "1"})
    assert "no.such.property" in unknown

    with contextlib.suppress(TypeError):  # it wants a function
        assert told({name: NOTHING_TAKES_IT}) != unknown.replace("no.such.property", name)


@pytest.mark.parametrize(("alias", "canonical"), sorted(names.ALIASES.items()))
def test_an_alias_is_for_the_same_clients_as_what_it_stands_for(alias: str, canonical: str) -> None:
    for scope in (names.CONSUMER, names.PRODUCER, names.EVERY_CLIENT):
        assert (alias in scope) == (canonical in scope)
