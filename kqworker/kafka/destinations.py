"""Which records the topics take that are produced to, as far as brokers say before the start.

Decides what is a mistake and what may only become one. Says nothing if a broker does not answer,
or takes long: librdkafka's mock cluster answers neither question.
Tested by tests/kafka/test_unwanted_records.py and tests/cli/test_mistakes.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # no __all__, but public
    AclOperation,
    ConfigResource,
    ResourceType,
)

from kqworker.kafka.admin import Admin

# The start waits so long for an answer.
SECONDS = 5.0


def forbidden(kafka: Admin, topics: Sequence[str], timeout: float = SECONDS) -> list[str]:
    """Return the topics to which there is no right to write.

    Args:
        kafka: The client to ask.
        topics: Names of topics that exist.
        timeout: Seconds.
    """
    found = kafka.told(
        lambda client: client.describe_topics(
            TopicCollection(list(topics)),
            include_authorized_operations=True,
            request_timeout=timeout,
        ),
        timeout,
    )
    return [
        name
        for name, topic in found.items()
        if topic.authorized_operations and AclOperation.WRITE not in topic.authorized_operations
    ]


def compacted(kafka: Admin, topics: Sequence[str], timeout: float = SECONDS) -> list[str]:
    """Return the topics that take no record without a key.

    Args:
        kafka: The client to ask.
        topics: Names of topics that exist.
        timeout: Seconds.
    """
    found = kafka.told(
        lambda client: client.describe_configs(
            [ConfigResource(ResourceType.TOPIC, topic) for topic in topics],
            request_timeout=timeout,
        ),
        timeout,
    )
    return [
        resource.name
        for resource, entries in found.items()
        if "compact" in str(entries["cleanup.policy"].value)
    ]
