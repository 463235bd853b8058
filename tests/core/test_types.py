"""Columns of messages: what a slice and a choice of them hold."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker import types
from kqworker.types import (
    Headers,
    Message,
    Ordering,
    Outcome,
    Records,
    Segment,
    Task,
    TopicPartition,
    Verdict,
    payload_size,
)

TP = TopicPartition("orders", 3)
ROW = tuple[int, bytes | None, bytes | None, int, Headers | None]


def records(
    count: int = 5,
    *,
    keys: bool = True,
    headers: bool = True,
    gaps: bool = True,
    timestamps: bool = True,
) -> Records:
    values = [None if index % 4 == 3 else b"v" * index for index in range(count)]
    key_column = [None if index % 3 == 2 else b"k%d" % index for index in range(count)]
    return Records(
        TP,
        list(range(10, 10 + 2 * count, 2)) if gaps else range(10, 10 + count),
        values,
        key_column if keys else None,
        range(1_000, 1_000 + count) if timestamps else None,
        [[("h", b"%d" % index)] if index % 2 else None for index in range(count)]
        if headers
        else None,
        payload_size(key_column if keys else None, values),
    )


def rows(some: Records) -> list[ROW]:
    nothing = [None] * len(some)
    return list(
        zip(
            some.offsets,
            some.values,
            some.keys or nothing,
            some.times,
            some.headers or nothing,
            strict=True,
        )
    )


def honest(some: Records) -> bool:
    return some.partition == TP and some.size == sum(
        len(value or b"") + len(key or b"") for _, value, key, _, _ in rows(some)
    )


RECORDS = st.builds(
    records,
    st.integers(1, 12),
    keys=st.booleans(),
    headers=st.booleans(),
    gaps=st.booleans(),
    timestamps=st.booleans(),
)


def test_a_partition_reads_as_people_write_it() -> None:
    assert str(TP) == "orders[3]"
    assert {("orders", 3): 1}[TP] == 1


@given(RECORDS, st.integers(0, 14), st.integers(0, 14))
def test_a_slice_holds_those_rows(some: Records, start: int, stop: int) -> None:
    part = some.slice(start, stop)
    assert rows(part) == rows(some)[start:stop]
    assert honest(part)


@given(RECORDS, st.data())
def test_a_choice_holds_those_rows(some: Records, data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, len(some) - 1))))
    part = some.pick(indices)
    assert rows(part) == [rows(some)[index] for index in indices]
    assert honest(part)
    for column in ("keys", "headers", "timestamps"):
        assert (getattr(part, column) is None) == (getattr(some, column) is None)


def test_all_of_them_are_no_copy() -> None:
    some = records()
    assert some.slice(0, 5) is some
    assert some.slice(0, 99) is some
    assert some.pick(range(5)) is some


def test_neighbours_without_gaps_stay_a_range() -> None:
    assert records(gaps=False).pick([1, 2, 3]).offsets == range(11, 14)


@pytest.mark.parametrize(
    ("keys", "values", "size"),
    [
        (None, [], 0),
        (None, [None, b"", b"abc"], 3),
        ([None, b"", b"k"], [b"ab", None, None], 3),
    ],
)
def test_size_counts_keys_and_values(
    keys: list[bytes | None] | None, values: list[bytes | None], size: int
) -> None:
    assert payload_size(keys, values) == size


@pytest.mark.parametrize("counts", [[1], [7], [1, 3], [2, 2, 5]])
def test_a_task_is_as_long_as_its_segments(counts: list[int]) -> None:
    segments = tuple(Segment(records(count)) for count in counts)
    assert len(Task(1, 0, Ordering.KEY, segments)) == sum(counts)


def test_the_numbers_of_verdicts_are_those_of_the_wire() -> None:
    assert [(verdict.name, verdict.value) for verdict in Verdict] == [
        ("ACCEPT", 0),
        ("RELEASE", 1),
        ("REJECT", 2),
    ]


def test_what_is_not_said_is_the_plain_case() -> None:
    assert Segment(records()).attempt == 1
    outcome = Outcome(4, Verdict.ACCEPT)
    assert (outcome.failure, outcome.delay, outcome.outputs) == (None, None, ())
    message = Message("text")
    assert (message.key, message.timestamp, message.headers) == (None, None, ())


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(types).values() if dataclasses.is_dataclass(kind)]
)
def test_values_are_frozen_and_slotted(kind: type) -> None:
    assert inspect.isclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
