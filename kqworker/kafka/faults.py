"""What a consumer's errors mean: over for good, or a matter of time.

Decides which errors make it useless to go on: those that only an operator or the user can
fix. Any other error passes, or librdkafka tries again; the log says so.
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

# Errors that stay, however often it is tried again.
_FINAL = {
    # In a message, a fatal error does not say that it is fatal.
    KafkaError._FATAL,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_GROUP_ID,
}
# librdkafka's texts if two members have one name. A fatal error has no code of its own, only its
# text, which contains them.
_SAME_NAME = [
    KafkaError(code).str()
    for code in (KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID)
]
_OWN_NAME = "each member of a group needs a group.instance.id of its own"
# A topic that has gone causes these, for one partition or for all.
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
        mailbox: Gets the first error after which it is useless to go on.
        properties: librdkafka's properties of the member.
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
        # Topics that a broker does not know, and when to believe that.
        self._unknown: dict[str, float] = {}

    def assigned(self, topics: Iterable[str]) -> None:
        """Note topics whose partitions were assigned: they exist."""
        self._assigned.update(topics)

    def on_error(self, error: KafkaError) -> None:
        """Take an error that concerns no message; librdkafka's `error_cb`."""
        client_log.error(error)
        # Later, a broker that is ending may cause it: a member that was let in will be again.
        refused = error.code() == KafkaError._AUTHENTICATION and not self._assigned
        if error.fatal() or refused or error.code() in _FINAL:
            self._fail(error.str())

    def is_of_partition(self, message: Message) -> bool:
        """Take an error that came as a message; return whether it concerns one partition alone.

        Handles any other error itself.
        """
        error, topic = message.error(), message.topic()
        if error is None or error.code() in _SILENT:
            return False
        if error.fatal() or error.code() in _FINAL:
            self._fail(f"{topic}: {error.str()}" if topic else error.str())
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and topic not in self._assigned:
            self._unknown.setdefault(topic or "", self._clock() + UNKNOWN_TOPIC_SECONDS)
        elif error.code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
            # It may still join when the others have ended or changed, too: librdkafka goes on
            # trying, several times a second.
            client_log.say(logging.ERROR, "JOIN", "", _excluded(self._assignor))
        elif topic and message.partition() is not None and error.code() not in _OF_TOPICS:
            return True
        else:
            logger.warning("%s: %s", topic or "consumer", error.str())
        return False

    def look(self, consumer: Consumer) -> None:
        """Look whether unknown topics are still unknown; called about once a second."""
        for topic, due in list(self._unknown.items()):
            if topic in self._assigned:
                del self._unknown[topic]
            elif self._clock() >= due:
                self._unknown[topic] = self._clock() + UNKNOWN_TOPIC_SECONDS
                try:
                    # A consumer's question does not create the topic.
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
