"""The completion map's text: it says what was meant, or nothing at all."""

from __future__ import annotations

import base64
import doctest
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kqworker.core import completion as module
from kqworker.core.completion import Completion, decode, encode
from kqworker.core.offsets import Offsets, Run
from kqworker.errors import BugError

HIGHEST = 2**63 - 1
BUDGET = 4095  # what Apache Kafka takes with its default offset.metadata.max.bytes
BASES = st.integers(0, 2**40) | st.sampled_from([0, 127, 128, 2**62])


@st.composite
def completions(draw: st.DrawFn, base: int) -> Completion:
    """Maps of few or many runs, dense or far apart, and attempts at what is between them."""
    lengths = st.integers(1, 3) | st.integers(1, 200) | st.integers(1, 2**36)
    runs: list[Run] = []
    stop = base - 1
    for gap, length in draw(st.lists(st.tuples(lengths, lengths), max_size=20)):
        start = stop + gap
        stop = start + length
        runs.append((start, stop))
    distances = draw(st.lists(lengths, max_size=5))
    attempts: dict[int, int] = {}
    offset = base - 1
    for distance in distances:
        offset += distance
        if not any(start <= offset < stop for start, stop in runs):
            attempts[offset] = draw(st.integers(1, 3) | st.integers(1, 1_000))
    more = draw(st.none() | beside(base, runs))
    return replace(more or Completion(), done=tuple(runs), attempts=attempts)


@st.composite
def beside(draw: st.DrawFn, base: int, runs: list[Run]) -> Completion:
    """What stands beside a map; all of it or some."""
    begun = draw(st.sets(st.integers(base, base + 1_000), max_size=5))
    return Completion(
        partitions=draw(st.none() | st.integers(0, 3) | st.integers(0, 2**31 - 1)),
        clean=draw(st.booleans()),
        begun=tuple(
            offset
            for offset in sorted(begun)
            if not any(start <= offset < stop for start, stop in runs)
        ),
        handed=draw(st.just(0) | st.integers(max(base, 1), base + 1_000)),
        owner=draw(st.just(0) | st.integers(0, 2**64 - 1)),
    )


MAPS = BASES.flatmap(lambda base: st.tuples(st.just(base), completions(base)))


def text_of(*numbers: int, bitmap: bytes = b"", after: bytes = b"", version: str = "1") -> str:
    """A text with a right checksum, whatever it holds."""
    body = b"".join(map(varint, numbers)) + bitmap + after
    crc = zlib.crc32(version.encode() + body).to_bytes(4, "little")
    return version + base64.urlsafe_b64encode(body + crc).decode().rstrip("=")


def more_of(*numbers: int, bitmap: bytes = b"", after: bytes = b"") -> str:
    """The same in version 2."""
    return text_of(*numbers, bitmap=bitmap, after=after, version="2")


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def encoded(base: int, completion: Completion, budget: int = 10**6) -> str:
    text = encode(base, completion, budget)
    assert text is not None
    return text


@settings(max_examples=1_500, deadline=None)
@given(MAPS)
@example((0, Completion(((0, 1),))))
@example((HIGHEST - 1, Completion(((HIGHEST, HIGHEST + 1),), {HIGHEST - 1: 1})))
def test_what_was_written_is_read(case: tuple[int, Completion]) -> None:
    base, completion = case
    text = encoded(base, completion)
    assert decode(text, base) == completion
    assert text.isascii() and "\0" not in text
    assert bool(text) == (completion != Completion())
    # Who knows version 1 alone reads what it knows, and drops the rest.
    beside = replace(completion, done=(), attempts={})
    assert text[:1] == ("" if not text else "1" if beside == Completion() else "2")


@given(st.integers(0, 200), st.sets(st.integers(0, 400)))
def test_dense_maps_are_read_as_they_were_written(base: int, finished: set[int]) -> None:
    offsets = Offsets(base)
    offsets.admit(range(base, base + 401))
    offsets.finish(sorted(base + index for index in finished))
    watermark = offsets.watermark
    assert watermark is not None
    completion = Completion(tuple(offsets.runs_done()))
    assert decode(encoded(watermark, completion), watermark) == completion


@settings(max_examples=300, deadline=None)
@given(MAPS, st.integers(0, 2**32), st.characters(codec="utf-8"))
def test_a_changed_character_is_noticed(
    case: tuple[int, Completion], where: int, character: str
) -> None:
    base, completion = case
    text = encoded(base, completion)
    if text:
        index = where % len(text)
        if character != text[index]:
            assert decode(text[:index] + character + text[index + 1 :], base) is None


def changes(text: str) -> Iterator[str]:
    """Every text with one bit or one character changed, cut short, or longer by one."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n\0é"
    for index, character in enumerate(text):
        others = set(alphabet) | {chr(ord(character) ^ 1 << bit) for bit in range(8)}
        for other in others - {character}:
            yield text[:index] + other + text[index + 1 :]
        yield text[:index]
        yield text[:index] + text[index + 1 :]
    for other in alphabet:
        yield text + other
        yield other + text


@pytest.mark.parametrize(
    "completion",
    [
        Completion(((1_001, 1_002),)),
        Completion(((1_001, 1_009), (1_012, 1_100)), {1_000: 2, 1_010: 1}),
        Completion(tuple((offset, offset + 1) for offset in range(1_001, 1_070, 2))),
        Completion((), {1_000: 2}),
        Completion(clean=True),
        Completion(((1_001, 1_009),), {1_000: 2}, 4, False, (1_000, 1_010), 1_200, 2**63),
    ],
)
def test_every_small_change_is_noticed(completion: Completion) -> None:
    text = encoded(1_000, completion)
    for changed in changes(text):
        # Cut down to nothing it is the empty map, which commits write all the time.
        assert decode(changed, 1_000) in ((None,) if changed else (Completion(),)), changed


@settings(max_examples=1_000, deadline=None)
@given(st.text() | st.text().map("1".__add__) | st.text().map("2".__add__), st.integers(0, HIGHEST))
def test_any_text_is_refused_and_never_raises(text: str, base: int) -> None:
    assert decode(text, base) == (None if text else Completion())


@settings(max_examples=1_000, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 3), st.sampled_from("12"))
def test_any_content_with_a_right_checksum_is_read_strictly_or_refused(
    body: bytes, base: int, version: str
) -> None:
    text = text_of(base, after=body, version=version)
    completion = decode(text, base)
    if completion is not None:
        assert encode(base, completion, len(text)) == text
        Offsets(base, completion.done)


def test_the_text_is_as_documented() -> None:
    # Texts outlive releases: what one wrote the next must read, or change the version.
    runs = text_of(5, 2 << 1, 19 << 1 | 1, 0, 299 << 1, after=b"\x00\x01")
    assert encode(5, Completion(((6, 26), (27, 327)), {5: 2}), BUDGET) == runs
    bitmap = text_of(5, 2 << 1 | 1, bitmap=b"\x52\x80")
    assert encode(5, Completion(((6, 7), (9, 10), (11, 12), (20, 21))), BUDGET) == bitmap
    whole_byte = text_of(5, 1 << 1 | 1, bitmap=b"\x82")
    assert encode(5, Completion(((6, 7), (12, 13))), BUDGET) == whole_byte
    one_byte, two_bytes = text_of(127, 0, after=b"\x7f\x00"), text_of(128, 0, after=b"\x80\x01\x00")
    assert encode(127, Completion((), {254: 1}), BUDGET) == one_byte
    assert encode(128, Completion((), {256: 1}), BUDGET) == two_bytes


def test_the_text_of_version_2_is_as_documented() -> None:
    alone = more_of(5, 5 << 1, 0, 0, 0)
    assert encode(5, Completion(partitions=4), BUDGET) == alone
    none = more_of(5, 1 << 1, 0, 0, 0)
    assert encode(5, Completion(partitions=0), BUDGET) == none
    clean = more_of(5, 1, 0, 0, 0)
    assert encode(5, Completion(clean=True), BUDGET) == clean
    every = Completion(((6, 26),), {5: 2}, 300, True, (5, 30), 40, 2**64 - 1)
    text = more_of(5, 301 << 1 | 1, 36, 2**64 - 1, 2, 0, 24, 1 << 1, 19 << 1 | 1, 0, 0, 1)
    assert encode(5, every, BUDGET) == text
    assert decode(text, 5) == every


def test_a_text_of_version_1_says_nothing_of_what_came_later() -> None:
    assert decode(text_of(5, 2, 19 << 1 | 1, 0), 5) == Completion(
        ((6, 26),), {}, partitions=None, clean=False, begun=(), handed=0, owner=0
    )


def test_where_all_that_was_handed_out_is_below_the_base_none_of_it_is_open() -> None:
    for handed in (1, 4, 5):
        assert decode(encoded(5, Completion(handed=handed)), 5) == Completion(handed=5)
    assert decode(encoded(5, Completion(handed=6)), 5) == Completion(handed=6)


def test_what_was_begun_and_is_finished_is_left_out() -> None:
    completion = Completion(((7, 9),), {}, begun=(9, 4, 7, 6, 8, 6))
    assert decode(encoded(5, completion), 5) == Completion(((7, 9),), begun=(6, 9))
    assert encode(5, Completion(begun=(4,)), 0) == ""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1", id="a version alone"),
        pytest.param("1A", id="a broken base64"),
        pytest.param("1AAAA", id="less than a checksum"),
        pytest.param(text_of(), id="nothing"),
        pytest.param(text_of(5), id="a base alone"),
        pytest.param(text_of(5, 0), id="an empty map"),
        pytest.param("2" + text_of(5, 2, 3, 0)[1:], id="another version"),
        pytest.param(text_of(5, 2, 3, 0, version="3"), id="a version to come"),
        pytest.param("1" + more_of(5, 8, 0, 0, 0)[1:], id="version 2 that is called the first"),
        pytest.param(more_of(), id="nothing, in version 2"),
        pytest.param(more_of(5, 8, 0, 0), id="half of what version 2 says"),
        pytest.param(more_of(5, 0, 0, 0, 0), id="nothing that version 1 does not say"),
        pytest.param(more_of(5, 0, 0, 0, 0, 2, 39, 0), id="a map that version 1 can hold"),
        pytest.param(more_of(5, 8, 0, 0, 0, 0), id="an empty map in version 2"),
        pytest.param(more_of(5, 8, 0, 0, 2, 0), id="fewer begun than said"),
        pytest.param(more_of(5, 8, 0, 0, 2**64), id="more begun than fit"),
        pytest.param(more_of(5, 8, 0, 0, 1, 2**63), id="one begun above all offsets"),
        pytest.param(more_of(5, 8, 0, 0, 1, 1, 2, 39, 0), id="one begun that is finished"),
        pytest.param(more_of(5, 8, 2**63 - 3, 0, 0), id="handed out above all offsets"),
        pytest.param(more_of(5, 8, 0, 2**64, 0), id="an owner above all numbers"),
        pytest.param(text_of(5, 0, 0, 0) + "=", id="padding"),
        pytest.param(text_of(5, 4, 1, 0), id="fewer runs than said"),
        pytest.param(text_of(5, 2, 9, 0, 7), id="half an attempt"),
        pytest.param(text_of(5, 2, 9, 0, after=b"\x80"), id="half a varint"),
        pytest.param(text_of(5, 2, after=b"\x89\x00\x00"), id="a varint with a needless zero"),
        pytest.param(text_of(5, 3, bitmap=b"\0"), id="an empty bitmap"),
        pytest.param(text_of(5, 3, bitmap=b"\x01"), id="a bitmap where runs are no longer"),
        pytest.param(text_of(5, 4, 1, 0, 0), id="runs where a bitmap is shorter"),
        pytest.param(text_of(5, 5, bitmap=b"\x55\x00"), id="a bitmap with a needless zero"),
        pytest.param(text_of(5, 5, bitmap=b"\x55"), id="a bitmap cut short"),
        pytest.param(text_of(5, 2, 1, 2**63 - 6), id="a run above all offsets"),
        pytest.param(text_of(5, 2, 2**64), id="a run longer than all offsets"),
        pytest.param(text_of(5, 0, 2**63 - 5, 0), id="attempts above all offsets"),
        pytest.param(
            text_of(5, 3, bitmap=b"\x02", after=b"\x01\x00"), id="attempts at what is finished"
        ),
        pytest.param(text_of(5, 2, after=b"\xff" * 10 + b"\x01"), id="a varint without end"),
        pytest.param(text_of(5, 2**64), id="more runs than fit"),
        pytest.param(text_of(5, 2**64 + 1), id="a larger bitmap than fits"),
    ],
)
def test_what_this_version_would_not_write_is_refused(text: str) -> None:
    assert decode(text, 5) is None


def test_a_map_of_another_base_is_refused() -> None:
    text = encoded(5, Completion(((6, 7),)))
    assert decode(text, 5) == Completion(((6, 7),))
    assert decode(text, 4) is None
    assert decode(text, 6) is None


def test_base64_of_the_other_alphabet_is_refused() -> None:
    for base in range(1_000):
        text = encoded(base, Completion(((base + 1, base + 2),)))
        if "-" in text or "_" in text:
            assert decode(text.replace("-", "+").replace("_", "/"), base) is None
            return
    pytest.fail("no text had a character in which the alphabets differ")


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    hostile = [
        text_of(0, 2**62),
        text_of(0, 2**62 + 1),
        text_of(0, 2**62, after=b"\0" * 3_000),
        text_of(0, 2, 2**62, 2**62),
        text_of(0, 0, after=b"\xff" * 3_000),
        more_of(0, 8, 0, 0, 2**62),
        more_of(0, 8, 0, 0, 2**62, after=b"\0" * 3_000),
        more_of(0, 8, 2**62, 2**62, 0, 2**62),
    ]
    tracemalloc.start()
    try:
        assert [decode(text, 0) for text in hostile] == [None] * len(hostile)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("spread", [2_600, 20_000, 100_000, 1_000_000])
def test_1300_scattered_open_messages_fit(spread: int) -> None:
    open_offsets = sorted(Random(spread).sample(range(10**12, 10**12 + spread), 1_300))
    offsets = Offsets(open_offsets[0])
    offsets.admit(range(open_offsets[0], 10**12 + spread))
    offsets.finish(sorted(set(range(open_offsets[0], 10**12 + spread)) - set(open_offsets)))
    completion = Completion(tuple(offsets.runs_done()), {open_offsets[7]: 2})
    text = encode(open_offsets[0], completion, BUDGET)
    assert text is not None and len(text) <= BUDGET
    assert decode(text, open_offsets[0]) == completion


def test_a_map_fits_the_budget_that_is_its_length_and_no_less() -> None:
    completion = Completion(((6, 9), (12, 700)), {5: 1})
    text = encoded(5, completion)
    assert encode(5, completion, len(text)) == text
    assert encode(5, completion, len(text) - 1) is None


def test_far_too_many_runs_do_not_fit() -> None:
    runs = tuple((offset, offset + 1) for offset in range(1, 1_000_000, 100))
    assert encode(0, Completion(runs), BUDGET) is None


def test_an_empty_map_is_an_empty_text_whatever_the_budget() -> None:
    assert encode(5, Completion(), 0) == ""
    assert decode("", 5) == Completion()


def test_attempts_at_finished_messages_are_left_out() -> None:
    completion = Completion(((7, 9),), {4: 1, 5: 2, 6: 3, 7: 4, 8: 5, 9: 6})
    assert decode(encoded(5, completion), 5) == Completion(((7, 9),), {5: 2, 6: 3, 9: 6})
    assert encode(5, Completion((), {4: 1}), 0) == ""


@pytest.mark.parametrize(
    "completion",
    [
        Completion(((4, 6),)),
        Completion(((7, 7),)),
        Completion(((7, 9), (9, 11))),
        Completion(((9, 11), (6, 8))),
        Completion((), {7: 0}),
        Completion(((4, 6),), clean=True),
    ],
)
def test_a_map_that_makes_no_sense_is_a_bug(completion: Completion) -> None:
    with pytest.raises(BugError):
        encode(5, completion, BUDGET)


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
