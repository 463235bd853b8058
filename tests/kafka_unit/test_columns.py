"""Messages become columns, and nothing gets lost or mixed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, Message
from hypothesis import given
from hypothesis import strategies as st

from kqworker.kafka import columns
from kqworker.kafka.columns import to_records
from kqworker.types import TopicPartition, payload_size

Fields = tuple[str, int, int, bytes | None, bytes | None, list[tuple[str, bytes]] | None, int]


def message(fields: Fields) -> Message:
    topic, partition, offset, key, value, headers, time = fields
    kind = TIMESTAMP_NOT_AVAILABLE if time < 0 else TIMESTAMP_CREATE_TIME
    # librdkafka gives a message without a time any number.
    stamp = (kind, 0 if time < 0 else time)
    return Message(topic, partition, offset, key, value, headers, None, stamp)


payloads = st.none() | st.binary(max_size=3)
fields = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 2),
    st.integers(0, 3),
    payloads,
    payloads,
    st.none() | st.just([("h", b"1"), ("h", b"2")]),
    st.integers(-1, 5),
)


def ascending(batch: Sequence[Fields]) -> list[Fields]:
    """Each partition's offsets ascend, as Kafka's do; what was drawn is the distance."""
    at: dict[tuple[str, int], int] = {}
    result = []
    for topic, partition, gap, *rest in batch:
        offset = at.get((topic, partition), 0) + gap
        at[topic, partition] = offset + 1
        result.append((topic, partition, offset, *rest))
    return result  # type: ignore[return-value]


@given(st.lists(fields, max_size=20).map(ascending))
def test_columns_hold_what_the_messages_held_in_their_order(batch: list[Fields]) -> None:
    records = to_records([message(each) for each in batch])

    rows = []
    for run in records:
        count = len(run.values)
        keys = run.keys if run.keys is not None else [None] * count
        headers = run.headers if run.headers is not None else [None] * count
        columns = (run.offsets, keys, run.values, headers, run.times)
        rows += [(*run.partition, *row) for row in zip(*columns, strict=True)]
        assert run.keys is None or any(key is not None for key in run.keys)
        assert run.headers is None or any(header is not None for header in run.headers)
        assert run.size == payload_size(run.keys, run.values)
    assert rows == batch


@given(st.lists(fields, min_size=1, max_size=20).map(ascending))
def test_a_run_ends_where_the_partition_changes(batch: list[Fields]) -> None:
    records = to_records([message(each) for each in batch])

    assert all(len(run) > 0 for run in records)
    assert all(one.partition != other.partition for one, other in pairwise(records))


def test_offsets_without_gaps_are_a_range_and_others_a_list() -> None:
    (whole,) = to_records([message(("t", 0, at, None, b"", None, 0)) for at in (4, 5, 6)])
    (gaps,) = to_records([message(("t", 0, at, None, b"", None, 0)) for at in (4, 6, 7)])

    assert whole.partition == TopicPartition("t", 0)
    assert whole.offsets == range(4, 7)
    assert gaps.offsets == [4, 6, 7]


@given(st.lists(fields, min_size=1, max_size=20).map(ascending))
def test_times_that_nobody_needs_are_not_read_and_nothing_else_changes(
    batch: list[Fields],
) -> None:
    whole = to_records([message(each) for each in batch])
    fewer = to_records([message(each) for each in batch], timestamps=False)

    assert [replace(run, timestamps=None) for run in whole] == fewer
    assert all(list(run.times) == [-1] * len(run) for run in fewer)


def test_empty_keys_are_keys() -> None:
    (run,) = to_records([message(("t", 0, at, b"", b"", None, 0)) for at in (0, 1)])

    assert run.keys == [b"", b""]


def test_offsets_that_go_back_begin_a_run_of_their_own() -> None:
    offsets = (5, 9, 7, 8, 8)
    records = to_records([message(("t", 0, at, None, b"", None, 0)) for at in offsets])

    assert [list(run.offsets) for run in records] == [[5, 9], [7, 8], [8]]


def test_a_record_with_unreadable_headers_comes_without_them_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Unreadable(Message):
        """As confluent_kafka does for a header's name that is not UTF-8: it raises, once."""

        @staticmethod
        def headers(message: Message) -> object:  # type: ignore[override]
            if message.offset() != 1:
                return Message.headers(message)
            assert message.offset() not in asked, "the second time is a segfault"
            asked.add(message.offset())
            raise SystemError("returned a result with an exception set")

    asked: set[int | None] = set()
    monkeypatch.setattr(columns, "Message", Unreadable)
    sent = [message(("t", 0, offset, None, b"v", [("h", b"1")], 0)) for offset in range(3)]

    (records,) = to_records(sent)

    assert records.offsets == range(3)
    assert records.headers == [[("h", b"1")], None, [("h", b"1")]]
    (line,) = caplog.records
    assert (line.topic, line.partition, line.offset) == ("t", 0, 1)  # type: ignore[attr-defined]
