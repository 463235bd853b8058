"""From plain settings to librdkafka's properties, for each kind of client.

Decides our defaults and how a mistake in the user's properties is reported. Asks librdkafka
itself whether a name exists and a value is right, with a client that is thrown away.
Opens no connection. Tested by tests/kafka_unit/test_properties.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from kqworker.errors import ConfigError
from kqworker.kafka.names import ALIASES, CONSUMER, EVERY_CLIENT, PRODUCER, RESERVED, reserved
from kqworker.settings import certificates
from kqworker.settings.values import did_you_mean, is_secret

# How much all members together may hold fetched but not yet handed over. A pause throws away its
# partition's part of that, and all other messages wait behind that part. So it is little compared
# to what the core keeps ahead (core/supervisor.py).
FETCHED_BYTES = 4 * 2**20
# Below this a partition's fetch (1 MiB) would not fit.
MEMBER_BYTES = 2**20
# librdkafka's minimum; it refuses to fetch less at once.
MESSAGE_MAX_BYTES = 1_000_000

_EVERY_CLIENT = {
    "client.id": "kqworker",
    "allow.auto.create.topics": "false",
    # kqworker reports nothing to anyone; brokers may ask clients for metrics (KIP-714).
    "enable.metrics.push": "false",
    # Brokers close idle connections; that is not worth a line.
    "log.connection.close": "false",
    # Firewalls forget idle connections; this keeps them open, or shows that they are gone.
    "socket.keepalive.enable": "true",
    # The default is 10 s; every member would wait so long when a broker comes back.
    "reconnect.backoff.max.ms": "1000",
}
_CONSUMER = {
    "check.crcs": "true",
    # A partition whose queue is full is fetched again after this: at the default of 1000
    # the same consumer was 3.9 times slower.
    "fetch.queue.backoff.ms": "5",
    "queued.min.messages": "20000",
    # How soon a new topic that matches a pattern, and a new partition, is seen.
    "topic.metadata.refresh.interval.ms": "30000",
}
# With group.protocol=consumer the broker sets these, and librdkafka refuses them.
_CLASSIC = {
    "partition.assignment.strategy": "cooperative-sticky",
    # Handlers run in other processes, so heartbeats are steady: the others need not wait 45 s
    # for a member that was killed.
    "session.timeout.ms": "10000",
}
_PRODUCER = {
    "enable.idempotence": "true",
    "linger.ms": "5",
    # After that the core tries again, and reports it.
    "delivery.timeout.ms": "30000",
    # How long a topic may be missing before the answer is that it does not exist.
    "topic.metadata.propagation.max.ms": "10000",
    # A record must fit: more than message.max.bytes.
    "queue.buffering.max.kbytes": "131072",
    # The broker decides what is too large: a dead letter is as large as what was consumed.
    # Batches stay at batch.size.
    "message.max.bytes": "104857600",
}

# A listener that wants TLS, or none, only closes the connection.
_ADMIN = {"log.connection.close": "true"}

_QUOTED = re.compile(r"[\"'`]([^\s\"'`]+)[\"'`]")
_FILE_FAILED = re.compile(r"(?<![\w.])(ssl\.[\w.]+\.location) \w+: (.*)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def consumer_properties(
    brokers: str,
    group: str,
    *,
    offset: str = "earliest",
    extra: Mapping[str, str] | None = None,
    members: int = 1,
    member: int = 0,
) -> dict[str, str]:
    """Return the properties of one member of a group.

    Args:
        brokers: `host:port`, several with commas between them.
        group: The group's name.
        offset: Where a group without commits starts: earliest, latest or error.
        extra: Properties of the user; producer-only ones are left out.
        members: How many members share the memory for messages, at least 1.
        member: Which of them this is, from 0. Each needs a name of its own if the user
            made them static with group.instance.id.

    Raises:
        ConfigError: A property of the user is unknown, wrong, or only kqworker sets it.
    """
    extra = dict(extra or {})
    _refuse_own(extra)
    kbytes = max(MEMBER_BYTES, FETCHED_BYTES // members) // 1024
    defaults = _EVERY_CLIENT | _CONSUMER | {"queued.max.messages.kbytes": str(kbytes)}
    # One answer may be this large, beyond the queue's limit. librdkafka wants it to hold the
    # largest message, and raises the limit by itself if it is not set.
    if "message.max.bytes" not in extra:
        defaults["fetch.max.bytes"] = str(max(MESSAGE_MAX_BYTES, kbytes * 1024))
    if extra.get("group.protocol", "classic") == "classic":
        defaults |= _CLASSIC
    if members > 1 and "group.instance.id" in extra:
        extra["group.instance.id"] += f"-{member}"
    own = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "auto.offset.reset": offset,
    }
    return _checked(Consumer, _without(PRODUCER, extra), defaults, own)


def producer_properties(brokers: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the properties of a producer: idempotent, confirmed by all in-sync replicas.

    Args:
        brokers: `host:port`, several with commas between them.
        extra: Properties of the user; consumer-only ones are left out.

    Raises:
        ConfigError: A property of the user is unknown, wrong, or only kqworker sets it.
    """
    _refuse_own(extra or {})
    own = {"bootstrap.servers": brokers, "acks": "all"}
    return _checked(Producer, _without(CONSUMER, extra or {}), _EVERY_CLIENT | _PRODUCER, own)


def largest_message(extra: Mapping[str, str]) -> int:
    """Return how many bytes a record may have with these properties."""
    given = extra.get("message.max.bytes", "")
    # A value that is not a number is refused with all other properties.
    return int(given if given.isdecimal() else _PRODUCER["message.max.bytes"])


def admin_properties(brokers: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the properties of a client that only asks questions.

    Args:
        brokers: `host:port`, several with commas between them.
        extra: Properties of the user; consumer-only and producer-only ones are left out.

    Raises:
        ConfigError: A property of the user is unknown, wrong, or only kqworker sets it.
    """
    _refuse_own(extra or {})
    mine = _without(CONSUMER | PRODUCER, extra or {})
    return _checked(AdminClient, mine, _EVERY_CLIENT | _ADMIN, {"bootstrap.servers": brokers})


def _without(others: frozenset[str], extra: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in extra.items() if name not in others}


def _refuse_own(extra: Mapping[str, str]) -> None:
    refused = [
        f"Kafka property {name!r} cannot be set: {reason}"
        for name in extra
        if (reason := reserved(name)) is not None
    ]
    if refused:
        raise ConfigError("\n".join(refused))


class _Unheard:
    """Drops the log lines of a client that is thrown away."""

    def log(self, *_: object) -> None:
        """Drop a line."""


def _checked(
    client: Callable[..., object],
    extra: Mapping[str, str],
    defaults: Mapping[str, str],
    own: Mapping[str, str],
) -> dict[str, str]:
    """Return all properties together, once librdkafka has accepted them."""
    # Under an alias the user's value would stand beside ours, and the later one would count.
    named = {ALIASES.get(name, name) for name in extra}
    kept = {n: value for n, value in defaults.items() if ALIASES.get(n, n) not in named}
    properties = {**kept, **extra, **own}
    for name, value in properties.items():
        _refuse_unsayable(name, value)
    try:
        # Without brokers it connects to nothing.
        client({**properties, "bootstrap.servers": ""}, logger=_Unheard())
    except KafkaException as error:
        raise ConfigError(_explained(error.args[0].str(), extra)) from None
    return properties


def _refuse_unsayable(name: str, value: str) -> None:
    """Refuse text that C code would cut off, or that crashes confluent_kafka."""
    for text in (name, value):
        if "\0" in text:
            why = "it would end at its NUL character"
        elif _SURROGATE.search(text):
            why = "it is not text that UTF-8 has a form for"
        else:
            continue
        shown = "what it is" if is_secret(name) else repr(value)
        raise ConfigError(f"Kafka property {name!r} cannot be {shown}: {why}")


def _explained(reason: str, extra: Mapping[str, str]) -> str:
    """Return what is wrong with the user's properties, from what librdkafka says."""
    named = _QUOTED.findall(reason)
    known = CONSUMER | PRODUCER | EVERY_CLIENT
    for name in extra:
        if name in named and name not in known:
            return f"unknown Kafka property {name!r}{did_you_mean(name, known - RESERVED.keys())}"
    reason = re.sub(r"^Failed to create [\w ]+: ", "", reason.strip())
    failed = _FILE_FAILED.search(reason)
    if failed and failed[1] in extra:
        why = _unusable(failed[1], extra, failed[2])
        return f"Kafka property {failed[1]!r} cannot be {extra[failed[1]]!r}: {why}"
    for name in extra:
        canonical = ALIASES.get(name, name)
        if canonical in named:
            value = "what it is" if is_secret(name) else repr(extra[name])
            return f"Kafka property {name!r} cannot be {value}: {reason.replace(canonical, name)}"
    return f"Kafka refuses the properties: {reason}"


def _unusable(name: str, extra: Mapping[str, str], reason: str) -> str:
    """Return why a file of certificates or keys cannot be used; OpenSSL names its routines."""
    # ssl.ca.location may be a directory, or no path at all; if it is what failed, it is neither.
    concerned = {
        n: text for n, text in extra.items() if (n == certificates.CA) == (name == certificates.CA)
    }
    fault = certificates.fault(concerned)
    if fault is not None and fault[0] == name:
        return f"it {fault[1]}"
    return f"not PEM, or not what it should hold ({reason})"


def librdkafka_version() -> str:
    """Return the version of librdkafka, the C library beneath confluent_kafka."""
    return confluent_kafka.libversion()[0]


def protocol(extra: Mapping[str, str]) -> str:
    """Return how a group with these properties shares partitions, in common words."""
    if extra.get("group.protocol") == "consumer":
        return "consumer"
    strategy = extra.get("partition.assignment.strategy", "cooperative-sticky")
    return "cooperative" if strategy == "cooperative-sticky" else f"classic, {strategy}"
