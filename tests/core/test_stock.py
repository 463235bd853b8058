"""What may be taken of what is fetched ahead, and what its bytes are taken for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kqworker.core.stock import SMALL, Stock
from tests.core.supervised import records


def stock_of(size: int, *values: bytes) -> Stock:
    stock = Stock()
    stock.size = size
    stock.put(records(*range(len(values)), values=values))
    return stock


@given(
    values=st.lists(st.binary(max_size=40), min_size=1, max_size=20),
    size=st.integers(1, 2 * SMALL * 40),
    wanted=st.lists(st.tuples(st.integers(1, 9), st.integers(-5, 200)), max_size=20),
)
def test_whatever_is_taken_all_bytes_are_counted_once(
    values: list[bytes], size: int, wanted: list[tuple[int, int]]
) -> None:
    stock = stock_of(size, *values)
    small = sum(map(len, values)) * SMALL <= size
    offsets: list[int] = []
    weighed = 0
    for count, room in [*wanted, (len(values), 1 << 30)]:
        pieces, taken, weight = stock.take(count, room)
        parts = [batch.slice(start, stop) for batch, start, stop in pieces]
        offsets += [offset for part in parts for offset in part.offsets]
        weighed += weight
        assert sum(map(len, parts)) == taken <= count
        assert weight <= max(0, room)
        if not small:
            assert weight == sum(part.size for part in parts)
    assert offsets == list(range(len(values)))
    assert weighed == sum(map(len, values))
    assert (stock.ahead, stock.ahead_bytes) == (0, 0)


def test_each_message_of_a_batch_that_is_much_of_the_share_is_weighed() -> None:
    stock = stock_of(100, b"", b"x" * 60, b"x" * 60)
    assert stock.take(3, 100)[1:] == (2, 60)


def test_part_of_a_batch_that_is_little_of_the_share_is_taken_for_what_is_usual_in_it() -> None:
    stock = stock_of(1000 * SMALL, b"", b"x" * 60, b"x" * 60)
    assert stock.take(1, 100)[1:] == (1, 40)
    assert stock.take(1, 39)[1:] == (0, 0)
    assert stock.take(2, 80)[1:] == (2, 80)
