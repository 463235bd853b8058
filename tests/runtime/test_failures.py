"""Exceptions become short, honest text, whatever they do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kqworker.app.payload import decoder, payload_for
from kqworker.errors import DecodeError, Reject
from kqworker.runtime import failures
from kqworker.runtime.failures import TEXT_SIZE, TRACEBACK_SIZE, cut, describe


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_failure_has_type_text_and_traceback() -> None:
    failure = describe(raised(KeyError("k")))

    assert (failure.type, failure.text) == ("KeyError", "'k'")
    assert failure.traceback.startswith("Traceback (most recent call last):\n  File ")
    assert failure.traceback.endswith("KeyError: 'k'\n")


def test_a_type_is_named_with_its_module() -> None:
    assert describe(Reject("no")).type == "kqworker.errors.Reject"


def test_the_cause_is_part_of_the_traceback() -> None:
    def both() -> None:
        try:
            raise OSError("cause")
        except OSError as error:
            raise ValueError("effect") from error

    with pytest.raises(ValueError, match="effect") as caught:
        both()

    assert "OSError: cause" in describe(caught.value).traceback


def test_long_texts_lose_their_middle() -> None:
    failure = describe(raised(ValueError("a" + "é" * 100_000 + "z")))

    assert len(failure.text.encode()) <= TEXT_SIZE
    assert failure.text.startswith("aé") and failure.text.endswith("éz")
    assert "\n[...]\n" in failure.text
    assert TRACEBACK_SIZE - 10 <= len(failure.traceback.encode()) <= TRACEBACK_SIZE


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert describe(ValueError("\udc80")).text == "?"
    assert cut("\udc80" * 3, 100) == "???"


def test_deep_recursion_has_a_short_traceback() -> None:
    def deeper() -> None:
        deeper()

    with pytest.raises(RecursionError) as caught:
        deeper()

    assert len(describe(caught.value).traceback.encode()) <= TRACEBACK_SIZE


class Mute(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Nameless(Exception):
    __module__ = 3  # type: ignore[assignment]


def test_an_exception_whose_text_raises_is_described_without_it() -> None:
    failure = describe(raised(Mute()))

    assert failure.type == "tests.runtime.test_failures.Mute"
    assert failure.text == "(its text cannot be shown: __str__ raised KeyboardInterrupt)"


def test_an_exception_that_lies_about_its_class_is_still_a_failure() -> None:
    assert describe(raised(Nameless())).type.endswith("Nameless")


def test_when_memory_is_out_it_is_still_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> str:
        raise MemoryError

    monkeypatch.setattr(failures, "cut", no_memory)
    assert describe(raised(ValueError("v"))).text == "an exception that cannot be described"


def test_a_traceback_that_cannot_be_made_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[str]:
        raise RuntimeError

    monkeypatch.setattr("traceback.format_exception", broken)
    assert describe(raised(ValueError("v"))).traceback == ""


def test_an_error_of_ours_about_a_payload_has_no_traceback() -> None:
    decode = decoder(payload_for(dict[str, int]))
    with pytest.raises(DecodeError) as caught:
        decode(b"{")

    assert describe(caught.value.with_traceback(None)).traceback == ""


def test_an_error_of_ours_about_the_users_own_check_has_its_traceback() -> None:
    @dataclass
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ValueError("below 0")

    decode = decoder(payload_for(Positive))
    with pytest.raises(DecodeError) as caught:
        decode(b'{"n": -1}')

    assert "in __post_init__" in describe(caught.value.with_traceback(None)).traceback
