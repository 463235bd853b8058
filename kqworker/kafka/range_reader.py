"""Reads a part of a topic once, outside of any group.

Decides nothing. Tested by tests/kafka_unit/test_range_reader.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kqworker import types
from kqworker.errors import BrokerError
from kqworker.kafka.logs import ClientLog
from kqworker.watch import logs

SILENCE = 30.0
BATCH = 1000


def read(
    properties: Mapping[str, str],
    since: Mapping[types.TopicPartition, int],
    until: Mapping[types.TopicPartition, int],
) -> Iterator[bytes | None]:
    """Yield the values from `since` up to, not including, `until`, partition by partition.

    Args:
        properties: Those of a consumer; its group is not joined and nothing is committed.
        since: The first offset of each partition; 0 where none is given.
        until: The end of each partition.

    Raises:
        BrokerError: Nothing has come for 30 s, Kafka refuses, or a part of it is gone or
            cannot be read.
    """
    log = ClientLog(logs.logger("kqworker.kafka"))
    left = {tp: end for tp, end in until.items() if end > since.get(tp, 0)}
    # A missing or unreadable message is an error: nothing is left out without a word.
    own = {"enable.partition.eof": "true", "auto.offset.reset": "error"}
    consumer = Consumer({**properties, **own}, logger=log)
    try:
        consumer.assign([TopicPartition(*tp, since.get(tp, 0)) for tp in left])
        while left:
            batch = consumer.consume(BATCH, 1.0) or consumer.consume(1, SILENCE)
            if not batch:
                raise BrokerError(f"nothing came from {next(iter(left))} for {SILENCE:g} s", True)
            for message in batch:
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                if topic is None or partition is None or offset is None:
                    raise BrokerError(f"cannot read: {message.error()}")
                tp = types.TopicPartition(topic, partition)
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    where = f"{topic}[{partition}]@{offset}"
                    raise BrokerError(f"cannot read: {where}: {error.str()}")
                if error is None and offset < until[tp]:
                    yield message.value()
                # The end of a partition comes as an "error" that carries its position.
                if offset + (error is None) >= until[tp]:
                    left.pop(tp, None)
    except KafkaException as error:
        raise BrokerError(f"cannot read: {error.args[0].str()}") from None
    finally:
        consumer.close()
