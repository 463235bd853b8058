"""Whether librdkafka takes a queue's properties, reported as they stand in the configuration.

Decides the words. `kqworker.kafka.properties` decides what is right, and is asked only at the
start: a program that only makes a queue need not load librdkafka.
Tested by tests/kq/test_properties.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kqworker.errors import ConfigError
from kqworker.kafka import names
from kqworker.settings.settings import Settings

# The fields of go-queue's configuration that set them.
_FIELDS = {
    "bootstrap.servers": "set Brokers",
    "metadata.broker.list": "set Brokers",
    "group.id": "set Group",
    "auto.offset.reset": "set Offset",
    "log.queue": "set Log.Level",
}
_NAMED = re.compile(r"(?<=Kafka property ')[^']+|(?<![\w.])[a-z]+(?:\.[a-z]+)+(?= \w+: )")


def reserved(name: str) -> str | None:
    """Return why a property cannot be given, or what to set instead; None if it can.

    >>> reserved("group.id"), reserved("fetch.min.bytes")
    ('set Group', None)
    """
    return _FIELDS.get(name) or names.reserved(name)


def refuse_wrong(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse the properties that librdkafka does not know or take, all at once.

    Args:
        settings: The queue's, with brokers.
        origins: Where each property was given.

    Raises:
        ConfigError: There are such properties; the text has a line for each.
    """
    from kqworker import preflight

    to = preflight.connection(settings)
    left, wrong = dict(to.kafka), {}
    while (fault := _fault(to.brokers, left)) is not None:
        named = _NAMED.search(fault)
        name = named[0] if named else ""
        wrong[name] = f"{origins[name]}: {fault}" if name in origins else fault
        # Without it, the mistakes in the others are found.
        if left.pop(name, None) is None:
            break
    if wrong:
        # In the order of the file.
        told = dict.fromkeys(name for name in (*origins, *wrong) if name in wrong)
        raise ConfigError("\n".join(wrong[name] for name in told))


def _fault(brokers: str, extra: Mapping[str, str]) -> str | None:
    from kqworker.kafka.properties import admin_properties, consumer_properties, producer_properties

    try:
        consumer_properties(brokers, "group", extra=extra)
        producer_properties(brokers, extra)
        admin_properties(brokers, extra)
    except ConfigError as error:
        return str(error)
    return None
