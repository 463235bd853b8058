"""Numbers that JSON does not have: refused wherever they are in a value, with their place."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.app.payload import encode, make_output
from tests.app.segments import made


@dataclass
class Reading:
    celsius: float
    note: str | None = None


class Row(msgspec.Struct, rename="camel"):
    mean_value: float


class Pair(NamedTuple):
    low: float
    high: float


class Level(enum.Enum):
    UNKNOWN = math.nan


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([msgspec.Raw(b"null"), math.inf], "$[1] is inf"),
        (math.nan, "$ is nan"),
        (-math.inf, "$ is -inf"),
        ({"rates": [1.0, None, math.inf]}, "$.rates[2] is inf"),
        ([Reading(math.nan, "finance")], "$[0].celsius is nan"),
        ({"row": Row(math.nan)}, "$.row.meanValue is nan"),
        (Pair(1.0, math.inf), "$[1] is inf"),
        ({"level": Level.UNKNOWN}, "$.level is nan"),
        ({math.nan: 1}, "a key of $ is nan"),
        ({"total": Decimal("NaN")}, "$.total is NaN"),
        ([Decimal("-Infinity")], "$[0] is -Infinity"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_and_its_field_named(
    value: object, place: str
) -> None:
    with pytest.raises(ValueError, match="and JSON has no such number") as caught:
        encode(value)

    assert f"cannot encode {type(value).__qualname__} as JSON: {place}, and JSON" in str(
        caught.value
    )
    with pytest.raises(ValueError, match="no such number"):
        make_output("t", value)
    with pytest.raises(ValueError, match="no such number"):
        made(lambda message: None, name="handler", output="out").encode_result(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "nan",
        {"nan": "Infinity", "null": None},
        {"inf": ["NaN", b"nan"]},
        Reading(1.5),
        [1e308, -0.0, Decimal("1e999"), 10**30],
        [msgspec.Raw(b'{"info": null}'), 1.5],
    ],
)
def test_texts_and_numbers_that_only_look_so_are_taken(value: object) -> None:
    encode(value)


@given(
    st.recursive(
        st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_what_is_encoded_comes_back_as_it_was(value: Any) -> None:
    try:
        data = encode([value])
    except (ValueError, UnicodeEncodeError):
        return
    assert msgspec.json.decode(data or b"") == [value]
