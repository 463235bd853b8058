"""That the quick ways to make arguments make the same as the plain ones."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from kqworker import DecodeError, Message
from kqworker.app.binding import _Draft
from tests.app.segments import given, made, no_context, segment


def test_a_draft_has_the_fields_of_a_message_in_their_order() -> None:
    drafted, wanted = (
        [(field.name, field.type) for field in dataclasses.fields(kind)]
        for kind in (_Draft, Message)
    )

    assert drafted == wanted


def test_a_message_that_was_drafted_is_like_any_other() -> None:
    message: Any = made(lambda m: m, name="m").bind(segment(b"a", keys=[b"k"]), no_context)(0)
    plain = Message(b"a", b"k", "orders", 2, 10)

    assert type(message) is Message
    assert message == plain and hash(message) == hash(plain) and repr(message) == repr(plain)
    assert copy.copy(message) == pickle.loads(pickle.dumps(message)) == plain
    assert dataclasses.replace(message, key=None) == Message(b"a", None, "orders", 2, 10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.value = b"b"


def test_each_message_is_an_object_of_its_own() -> None:
    bound = made(lambda m: m, name="m").bind(segment(b"a", b"b"), no_context)

    first: Any = bound(0)
    second: Any = bound(1)
    assert (first.value, first.offset, second.value, second.offset) == (b"a", 10, b"b", 11)


def pair(key: str, value: str) -> object:
    return key, value


@pytest.mark.parametrize("keys", [[b"a", b"\xc3\xa9"], [b"a", None], None])
def test_key_and_value_as_text(keys: list[bytes | None] | None) -> None:
    key = "" if keys is None or keys[1] is None else "é"

    assert given(pair, b"1", "ü".encode(), keys=keys) == (key, "ü")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (b"\xff", b"1", "cannot decode the key as UTF-8 text"),
        (b"a", b"\xff", "cannot decode the value as UTF-8 text"),
        (b"a", None, "the value is None"),
    ],
)
def test_a_pair_that_is_no_text_names_which_of_the_two(
    key: bytes, value: bytes | None, said: str
) -> None:
    with pytest.raises(DecodeError, match=said):
        given(pair, value, keys=[key])


def test_what_a_handler_decodes_in_vain_is_its_own_failure() -> None:
    def handler(key: str, value: str) -> None:
        b"\xff".decode()

    with pytest.raises(UnicodeDecodeError):
        given(handler, b"1", keys=[b"a"])
