"""What a consumer's errors mean: over for good, or a matter of time.

Decides which errors make going on senseless: those that only an operator or the user can
end. Everything else passes or is tried again by librdkafka, and is said in the log.
Tested by tests/kafka_unit/test_faults.py and, against Apache Kafka, tests/kafka/test_source.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from kqworker.errors import BrokerError
from kqworker.kafka.logs import client_log
from kqworker.kafka.mailbox import Mailbox
from kqworker.watch import logs

logger = logs.logger("kqworker.kafka")

# Brokers learn of a new topic one after the other.
UNKNOWN_TOPIC_SECONDS = 10.0
ASK_SECONDS = 2.0

# What stays as it is however often it is tried.
_FINAL = {
    # As a message, a fatal error does not call itself fatal.
    KafkaError._FATAL,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_GROUP_ID,
}
# How brokers say that two members have one name; a fatal error has no code of its own.
# As librdkafka tells them; a fatal error has only its text, with that in it.
_SAME_NAME = [
    KafkaError(code).str()
    for code in (KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID)
]
_OWN_NAME = "each member of a group needs a group.instance.id of its own"
# These come of a topic that has gone, for one partition or all.
_OF_TOPICS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
# These are not worth a line.
_SILENT = {KafkaError._PARTITION_EOF}


class Faults:
    """The errors of one member.

    Args:
        mailbox: Told of the first one after which going on makes no sense.
        properties: librdkafka's, of the member.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        properties: Mapping[str, object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mailbox = mailbox
        self._assignor = properties.get("partition.assignment.strategy")
        self._clock = clock
        self._assigned: set[str] = set()
        # Topics that a broker does not know, and when to believe it.
        self._unknown: dict[str, float] = {}

    def assigned(self, topics: Iterable[str]) -> None:
        """Note topics that partitions were assigned of: so they exist."""
        self._assigned.update(topics)

    def on_error(self, error: KafkaError) -> None:
        """Take an error that is about no message; librdkafka's `error_cb`."""
        client_log.error(error)
        # Later on it may be a broker that is ending: who was let in once will be again.
        refused = error.code() == KafkaError._AUTHENTICATION and not self._assigned
        if error.fatal() or refused or error.code() in _FINAL:
            self._fail(error.str())

    def is_of_partition(self, message: Message) -> bool:
        """Take an error that came as a message; return whether it is one partition's alone.

        One that is not is dealt with here.
        """
        error, topic = message.error(), message.topic()
        if error is None or error.code() in _SILENT:
            return False
        if error.fatal() or error.code() in _FINAL:
            self._fail(f"{topic}: {error.str()}" if topic else error.str())
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and topic not in self._assigned:
            self._unknown.setdefault(topic or "", self._clock() + UNKNOWN_TOPIC_SECONDS)
        elif error.code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
            # It may join yet, when the others have ended or been changed, too: so it is
            # tried on, several times a second.
            client_log.say(logging.ERROR, "JOIN", "", _excluded(self._assignor))
        elif topic and message.partition() is not None and error.code() not in _OF_TOPICS:
            return True
        else:
            logger.warning("%s: %s", topic or "consumer", error.str())
        return False

    def look(self, consumer: Consumer) -> None:
        """See whether topics that were unknown still are; called about once a second."""
        for topic, due in list(self._unknown.items()):
            if topic in self._assigned:
                del self._unknown[topic]
            elif self._clock() >= due:
                self._unknown[topic] = self._clock() + UNKNOWN_TOPIC_SECONDS
                try:
                    # Asked by a consumer, brokers do not create it.
                    found = consumer.list_topics(topic, ASK_SECONDS).topics[topic].error
                except KafkaException:
                    continue  # no broker answers: that is not the topic's fault
                if found is not None and found.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    self._fail(f"topic {topic!r} does not exist")

    def _fail(self, text: str) -> None:
        if any(words in text for words in _SAME_NAME):
            text = f"{text.removeprefix('Fatal error: ')} ({_OWN_NAME})"
        self._mailbox.fail(BrokerError(text))


def _excluded(assignor: object) -> str:
    return (
        f"cannot join the group: its members do not assign partitions by {assignor}, as this one "
        "does; trying on. Set partition.assignment.strategy to theirs; in a file of go-queue, "
        "beside Go's members, `Kqworker: {assignor: range}`"
    )
