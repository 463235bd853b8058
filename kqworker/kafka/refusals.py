"""Why a record was not delivered: whether to try again, and how the reason is worded.

Pure, except for librdkafka's numbers of errors. Knows nothing of producers. Tested by
tests/kafka_unit/test_sink.py.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, Message

# The broker or librdkafka answers the same record with these again, whenever it is
# produced. All other errors may pass: a broker that is away, a leader that moves, a full disk.
FINAL = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError._INVALID_ARG,
        KafkaError._BAD_MSG,
    }
)

UNKNOWN_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
# Final answers to a question about a topic; an unknown topic may still come.
REFUSED = FINAL - UNKNOWN_TOPIC

# librdkafka's own texts for these describe its internals.
IN_WORDS = {
    KafkaError._PURGE_QUEUE: "it could not be sent before the close",
    KafkaError._PURGE_INFLIGHT: "Kafka had not confirmed it before the close",
    KafkaError._MSG_TIMED_OUT: "Kafka did not confirm it in time",
}
# Not the record is at fault, but the connection to the brokers.
AWAY = frozenset({*IN_WORDS, KafkaError._TRANSPORT, KafkaError._TIMED_OUT})
# No right to write: whoever gives rights must act, not whoever sent the record.
NO_RIGHT = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)
TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# Answers of the broker for a whole batch because of one record in it. Some versions name the
# record, most do not; librdkafka does not pass it on.
OF_ITS_BATCH = TOO_LARGE | {
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError._INVALID_DIFFERENT_RECORD,
}


def reason(error: KafkaError | None, topic: str, heard: str) -> str:
    """Return what an error means.

    Args:
        error: What librdkafka said; None for a topic that has no partitions.
        topic: The topic.
        heard: Why brokers cannot be reached; empty if that is not known.
    """
    if error is None or error.code() in UNKNOWN_TOPIC:
        return f"topic {topic!r} does not exist"
    if error.code() == KafkaError._UNKNOWN_PARTITION:
        return f"topic {topic!r} has no such partition, or is deleted"
    words = IN_WORDS.get(error.code()) or str(error.str())
    if error.code() in NO_RIGHT:
        return f"no right to write to topic {topic!r}, grant WRITE: {words}"
    return f"{words} ({heard})" if heard and error.code() in AWAY else words


def why(error: KafkaError, topic: str, message: Message | None, heard: str) -> str:
    """Return why a record was refused, with a remedy if there is one.

    Args:
        error: What librdkafka said.
        topic: The record's topic.
        message: The record; None if librdkafka itself has refused it.
        heard: Why brokers cannot be reached; empty if that is not known.
    """
    if message is None or error.code() not in (*TOO_LARGE, KafkaError.INVALID_RECORD):
        return reason(error, topic, heard)
    if error.code() == KafkaError.INVALID_RECORD:
        if message.key() is None:
            return (
                f"topic {topic!r} takes no record without a key: is it compacted? ({error.str()})"
            )
        return f"topic {topic!r} does not take this record: has it a schema? ({error.str()})"
    size = len(message.value() or b"") + len(message.key() or b"")
    return (
        f"its {size:,} bytes (before compression) are more than topic {topic!r} takes: "
        "raise the topic's max.message.bytes, or the brokers' message.max.bytes"
    )
