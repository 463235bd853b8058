"""JSON, TOML and JSON5 become the same tree as in go-zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.kq.conf.formats import json_number, read_json, read_json5, read_toml
from kqworker.kq.conf.trees import FormatError, Number


def test_json_numbers_stay_as_they_are_written() -> None:
    root = read_json(b'{"a": 8.0, "b": 1e3, "c": -0}').value
    assert isinstance(root, dict)

    assert [entry.value for entry in root.values()] == [Number("8.0"), Number("1e3"), Number("-0")]


def test_json_ends_after_its_first_value() -> None:
    assert read_json(b' {"a": [1, "b", null, true]} trailing').plain() == {
        "a": [1, "b", None, True]
    }


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (b"{", 1),
        (b'{\n"a": 1,\n}', 3),
        (b"{\n'a': 1}", 2),
        (b'{"a":\n NaN}', 2),
        (b'{"a": 01}', 1),
        (b'{"a": "\n"}', 1),
        (b'{"a" 1}', 1),
        (b"[1 2]", 1),
        (b"\xef\xbb\xbf{}", 1),
    ],
)
def test_what_is_not_json_is_refused_with_its_line(content: bytes, line: int) -> None:
    with pytest.raises(FormatError) as caught:
        read_json(content)

    assert caught.value.line == line


@pytest.mark.parametrize(
    ("content", "column", "told"),
    [
        ('{"a": 1 "b": 2}', 9, "a comma or } is missing"),
        ('{"a": [1 2]}', 10, "a comma or ] is missing"),
        ('{"a": 1,}', 9, "there is a comma too many before }"),
        ('{"a": [1,]}', 10, "there is a comma too many before ]"),
        ("{'a': 1}", 2, 'a text has " around it, not an apostrophe'),
        ("{a: 1}", 2, 'here should be a key, with " around it'),
        ('{"a" 1}', 6, "a colon is missing after the key"),
        ('{"a": x}', 7, "here should be a value"),
        (
            '{"a": ${N}}',
            7,
            "here should be a value (to have the variable there: use_env=True, or --use-env)",
        ),
        ('{"a": 1 // b\n}', 9, "it has no comments; a .json5 may have some"),
        ('{"a": 1, /* b */}', 10, "it has no comments; a .json5 may have some"),
        ('{"a": 1 # b\n}', 9, "it has no comments; a .json5 may have some"),
        ('{"a": "\\q"}', 8, "a text has no end in its line, or a \\ too many"),
        ('{"a": 1', 8, "its end comes too early"),
    ],
)
def test_a_mistake_in_json_is_told_in_plain_words(content: str, column: int, told: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_json(content.encode())

    assert (caught.value.column, str(caught.value)) == (column, f"not valid JSON: {told}")


@pytest.mark.parametrize(
    ("content", "line", "column", "told"),
    [
        ("", None, None, "it is empty"),
        (" // b\n", None, None, "it is empty"),
        ("{a: 'b\n'}", 1, 5, "a text has no end in its line, or a \\ too many"),
        ("{\na: é}", 2, 4, "this character cannot stand here"),
    ],
)
def test_a_mistake_in_json5_is_told_where_it_stands(
    content: str, line: int | None, column: int | None, told: str
) -> None:
    with pytest.raises(FormatError) as caught:
        read_json5(content.encode())

    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value) == f"not valid JSON5: {told}"


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [("{\n  // a: 1\n  /* b\n  */ a: 1,\n  b: 2 c: 3\n}", 5, 8), ("{a: 1,\n", 2, 1)],
)
def test_a_mistake_that_the_package_json5_finds_has_its_place(
    content: str, line: int, column: int
) -> None:
    with pytest.raises(FormatError, match=r"^not valid JSON5: .") as caught:
        read_json5(content.encode())

    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("said", "line", "told"),
    [
        ('<string>:5 Unexpected "c" at column 8', 5, 'unexpected "c"'),
        ("<string>:2 Unexpected end of input at column 1", 2, "its end comes too early"),
        ("something is wrong in line 5", None, "something is wrong in line 5"),
    ],
)
def test_what_the_package_json5_says_is_told_whatever_its_words(
    said: str, line: int | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(text: str) -> object:
        raise ValueError(said)

    monkeypatch.setattr("json5.loads", loads)

    with pytest.raises(FormatError) as caught:
        read_json5(b"{a: 1}")

    assert (caught.value.line, str(caught.value)) == (line, f"not valid JSON5: {told}")


def test_what_is_no_unicode_is_replaced_as_in_go() -> None:
    root = read_json(b'["\xff\xfe", "\\ud800", "\\ud83d\\ude00"]').plain()

    assert root == ["\ufffd\ufffd", "\ufffd", "\U0001f600"]


def test_a_key_that_stands_twice_is_known() -> None:
    root = read_json(b'{"a": 1,\n"a": 2}').value
    assert isinstance(root, dict)

    assert (root["a"].value, root["a"].line, root["a"].again) == (Number("2"), 2, True)


def test_toml_has_its_lines_and_dates_become_texts() -> None:
    root = read_toml(b"a = 1.0\n[Log]\nb = 1979-05-27\nc = 1979-05-27T07:32:00.500Z\n").value
    assert isinstance(root, dict)
    log = root["Log"].value
    assert isinstance(log, dict)

    assert (root["a"].value, root["a"].line, root["Log"].line) == (Number("1"), 1, 2)
    assert (log["b"].value, log["b"].line) == ("1979-05-27", 3)
    assert log["c"].value == "1979-05-27T07:32:00.5Z"


def test_toml_in_which_a_text_could_look_like_a_key_has_no_lines() -> None:
    root = read_toml(b'a = """\nb = 1\n"""\nb = 2\n').value
    assert isinstance(root, dict)

    assert root["b"].line is None


@pytest.mark.parametrize(
    "content",
    [
        b"a",
        b"a = 1\na = 2",
        b"a = nan",
        b"a = 9223372036854775808",
        b"a = " + b"1" * 5000,
        b"a = '\xff'",
    ],
)
def test_what_is_not_toml_for_the_original_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        read_toml(content)


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("a = {b = 1,\n # c\n c = 2, }\nd = 3", {"a": {"b": 1, "c": 2}, "d": 3}),
        ("a = {\n}", {"a": {}}),
        ("a = [ {b = 1,\n}, {b = [1,\n2,], } ]", {"a": [{"b": 1}, {"b": [1, 2]}]}),
        (r'a = "\e\x41\\e"', {"a": "\x1bA\\e"}),
        (r"a = '\e # {'", {"a": "\\e # {"}),
        ('a = """{ #\n"""', {"a": "{ #\n"}),
        ("a = 07:32", {"a": "07:32:00"}),
        ("a = 1979-05-27 07:32", {"a": "1979-05-27T07:32:00"}),
        ("a = 1979-05-27T07:32-07:00", {"a": "1979-05-27T07:32:00-07:00"}),
    ],
)
def test_what_is_new_in_toml_11_is_taken(content: str, read: object) -> None:
    assert read_toml(content.encode()).plain() == read


@pytest.mark.parametrize(
    "content",
    [
        "a = {,}",
        "a = {b = 1,,}",
        "a = {b =\n1}",
        "a = {b = 1",
        "a = {b = 1,\n}c = 2",
        "a = { #\x00\n}",
        "a = 07:32.5",
    ],
)
def test_what_is_wrong_in_toml_11_too_is_refused(content: str) -> None:
    with pytest.raises(FormatError):
        read_toml(content.encode())


def test_a_mistake_below_an_inline_table_keeps_its_line() -> None:
    with pytest.raises(FormatError) as caught:
        read_toml(b"a = {\nb = 1,\n}\nc d")

    assert (caught.value.line, caught.value.column) == (4, 3)
    assert str(caught.value) == "not valid TOML: Expected '=' after a key in a key/value pair"


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"{a:\n'\t'}", 2), (b"{a: '\\s'}", 1), ("{é: 1}".encode(), 1), (b"{a: 1\x0b}", 1)],
)
def test_json5_is_less_than_json5_has(content: bytes, line: int) -> None:
    with pytest.raises(FormatError) as caught:
        read_json5(content)

    assert caught.value.line == line


def test_json5_numbers_are_floats() -> None:
    root = read_json5(b"{a: 8.0, b: 0x10, c: 9007199254740993, d: .5, /* no */ e: 'x',}")

    assert root.plain() == {"a": 8, "b": 16, "c": 9007199254740992, "d": 0.5, "e": "x"}


@pytest.mark.parametrize("content", [b"{a: NaN}", b"{a: -Infinity}", b"{a", b""])
def test_what_json_cannot_say_is_refused_in_json5_too(content: bytes) -> None:
    with pytest.raises(FormatError):
        read_json5(content)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_without_a_loss(value: float) -> None:
    assert float(json_number(value)) == value
