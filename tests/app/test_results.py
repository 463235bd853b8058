"""What becomes of what a handler returns: its topic, its key, its headers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from kqworker import Output, types
from kqworker.app.payload import encode
from tests.app.segments import made

Record = partial(types.Output, returned=True)


def plain(value: str) -> None: ...


def result(returned: object, key: bytes | None = b"k", **options: Any) -> types.Output | None:
    return made(plain, **options).encode_result(returned, key)


@pytest.mark.parametrize("key", [b"k", None])
def test_a_result_keeps_the_key_of_its_message_and_has_no_headers(key: bytes | None) -> None:
    assert result({"id": 1}, key, output="done") == Record("done", b'{"id":1}', key)
    assert result(Output({"id": 1}), key, output="done") == Record("done", b'{"id":1}', key)


@pytest.mark.parametrize(
    ("returned", "record"),
    [
        (Output("v", key="other"), Record("done", b"v", b"other")),
        (Output("v", key=b"other"), Record("done", b"v", b"other")),
        (Output("v", key=None), Record("done", b"v", None)),
        (Output("v", headers={"a": "1"}), Record("done", b"v", b"k", (("a", b"1"),))),
        (Output("v", topic="elsewhere"), Record("elsewhere", b"v", b"k")),
        (Output("v", partition=3), Record("done", b"v", b"k", (), 3)),
        (Output("v", "o", [("a", None)], "t", 0), Record("t", b"v", b"o", (("a", None),), 0)),
        (Output(None), Record("done", None, b"k")),
    ],
)
def test_an_output_says_otherwise(returned: Output, record: types.Output) -> None:
    assert result(returned, output="done") == record


def test_an_output_may_name_the_only_topic() -> None:
    assert result(Output("v", topic="t")) == Record("t", b"v", b"k")
    with pytest.raises(TypeError, match=r"an Output without a topic: write Output\(…, topic=…\)"):
        result(Output("v"))


@pytest.mark.parametrize(
    ("returned", "error", "text"),
    [
        (Output("v", key=7), TypeError, "key=7: a key is str, bytes or None"),  # type: ignore[arg-type]
        (Output("v", topic="a b"), ValueError, "topic 'a b': only letters"),
        (Output("v", partition=-1), ValueError, "partition=-1: must be"),
        (Output("v", headers={"a": 1}), TypeError, "header 'a': 1 is neither"),  # type: ignore[dict-item]
        (Output(letter for letter in "v"), TypeError, "returned a generator"),
        ([Output("v")], TypeError, "cannot encode list as JSON"),
    ],
)
def test_an_output_that_cannot_be_sent_is_a_failure(
    returned: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        result(returned, output="done")


def test_an_output_is_returned_and_not_pushed() -> None:
    with pytest.raises(TypeError, match="an Output is for a handler to return: push its value"):
        encode(Output("v"))


def test_outputs_compare_and_show_what_they_were_given() -> None:
    assert Output({"id": 1}, key="k") == Output({"id": 1}, "k")
    assert Output("v", key=None) != Output("v") != "v"
    assert repr(Output("v")) == "Output('v')"
    assert repr(Output("v", None, {"a": "1"}, "t", 0)) == (
        "Output('v', key=None, headers={'a': '1'}, topic='t', partition=0)"
    )
