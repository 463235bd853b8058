"""YAML is what go-zero's parser takes it for."""

from __future__ import annotations

import pytest
import yaml

from kqworker.kq.conf.trees import FormatError
from kqworker.kq.conf.yaml11 import read_yaml


def value(text: str) -> object:
    root = read_yaml(text.encode()).plain()
    assert isinstance(root, dict)
    return root["v"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("oN", "oN"),
        ("8", 8),
        ("+8", 8),
        ("-0", 0),
        ("010", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b101", -5),
        ("0b+1", 1),
        ("08", 8),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("1e3", 1000),
        ("1.50", 1.5),
        (".5", 0.5),
        ("+.5", 0.5),
        ("18446744073709551615", 18446744073709551615),
        ("1e400", "1e400"),
        ("2001-01-01", "2001-01-01"),
        ("~", ""),
        ("", ""),
        ("NULL", ""),
        ("nULL", "nULL"),
        ('"8"', "8"),
        ("'yes'", "yes"),
        ("!!str 8", "8"),
        ('!!int "8"', 8),
        ("!!float 8", 8),
        ("! 8", "8"),
        ("! '8'", "8"),
        ("a\tb", "a\tb"),
        ("\t8\t# eight", 8),
        ("{a:}", {"a:": ""}),
        ("!ours 8", "8"),
        ("!!binary YQ==", "a"),
        ("!!timestamp 2001-01-01", "2001-01-01"),
        (r'"\x41\'\t"', "A'\t"),
        ("[1, yes, [a]]", [1, True, ["a"]]),
        ("{1: a, yes: b, ~: c}", {"1": "a", "true": "b", "": "c"}),
    ],
)
def test_a_word_is_what_the_original_takes_it_for(written: str, read: object) -> None:
    found = value(f"v: {written}\n")

    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    "written",
    [
        ".nan",
        "-.inf",
        "!!int a",
        "!!binary %",
        "!!timestamp x",
        r'"\ud800"',
        r'"\U00110000"',
        r'"\UFFFFFFFF"',
        r'"\/"',
        "!!binary YWJj=",
        "&a [*a]",
        "*a",
        "{[a]: 1}",
        "@a",
    ],
)
def test_what_the_original_refuses_is_refused_with_its_line(written: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_yaml(f"u: 1\nv: {written}\n".encode())

    assert caught.value.line == 2


def test_a_merge_wins_over_what_stands_above_it_and_loses_to_what_follows() -> None:
    text = "base: &base {a: 1, b: 1}\nv:\n  a: 2\n  <<: *base\n  b: 2\n"

    assert value(text) == {"a": 1, "b": 2}


def test_of_merged_mappings_the_first_wins() -> None:
    assert value("x: &x {a: 1}\ny: &y {a: 2, b: 2}\nv:\n  <<: [*x, *y]\n") == {"a": 1, "b": 2}


@pytest.mark.parametrize("directive", ["%YAML 1.2", "%OURS x"])
def test_a_directive_of_something_newer_is_refused(directive: str) -> None:
    with pytest.raises(FormatError, match=r"only %YAML 1\.1"):
        read_yaml(f"{directive}\n---\nv: 1\n".encode())


def test_a_merge_of_no_mapping_is_refused() -> None:
    with pytest.raises(FormatError, match="<< needs a mapping"):
        read_yaml(b"v:\n  <<: 3\n")


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        ("a:\n  {b: 1,\n  c: 2\nd: 3\n", 4, 2),
        ("a: [1,\n  2\n", 3, 1),
        ("a: b: c\n", 1, 5),
        ("a:\n\tb: 1\n", 2, 1),
        ("a:\n  - b\n c: 1\n", 3, 2),
        ("a: @x\n", 1, 4),
        ("a: *hidden\n", 1, 4),
    ],
)
def test_a_mistake_is_told_where_it_stands(content: str, line: int, column: int) -> None:
    with pytest.raises(FormatError, match=r"^not valid YAML: .") as caught:
        read_yaml(content.encode())

    assert (caught.value.line, caught.value.column) == (line, column)


HERE, THERE = yaml.Mark("", 0, 0, 0, "", 0), yaml.Mark("", 0, 4, 2, "", 0)
FLOW = "while parsing a flow mapping"


# As PyYAML 6 says them.
@pytest.mark.parametrize(
    ("context", "problem", "line", "told"),
    [
        (FLOW, "expected ',' or '}', but got ':'", 5, "a comma or } is missing (opened in line 1)"),
        (FLOW, "expected ',' or ']', but got ':'", 5, "a comma or ] is missing (opened in line 1)"),
        (None, "mapping values are not allowed here", 5, "a colon cannot stand here: put the "),
        (None, "found character '\\t' that cannot start any token", 5, "a tab cannot stand here: "),
        ("a simple key", "could not find expected ':'", 1, "this line is neither a key with a "),
        ("a block", "expected <block end>, but found '?'", 5, "this does not stand as far to the "),
        ("a scalar", "found unexpected end of stream", 1, "the quote that opens here is not "),
        (None, "found character '@' that cannot start", 5, "found character @ that cannot start"),
        (None, "found undefined alias 'hidden'", 5, "found undefined alias …"),
        (None, "something that it never said", 5, "something that it never said"),
    ],
)
def test_what_pyyaml_says_is_told_in_plain_words(
    context: str | None, problem: str, line: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_node(_: object) -> yaml.Node:
        raise yaml.MarkedYAMLError(context, HERE, problem, THERE)

    monkeypatch.setattr("kqworker.kq.conf.yaml11.Loader.get_node", get_node)

    with pytest.raises(FormatError) as caught:
        read_yaml(b"a: 1\n")

    assert caught.value.line == line
    assert str(caught.value).startswith(f"not valid YAML: {told}")


def test_only_the_first_document_counts() -> None:
    assert value("v: 1\n---\nv: 2\n") == 1


def test_an_anchor_may_be_given_anew() -> None:
    assert value("a: &x 1\nb: &x 2\nv: *x\n") == 2


def test_a_null_is_the_empty_text_and_known_as_what_it_was() -> None:
    root = read_yaml(b"v: {limit: null, more: [~]}\n")

    assert root.plain() == {"v": {"limit": "", "more": [""]}}
    assert root.plain(nulls=True) == {"v": {"limit": None, "more": [None]}}


def test_what_repeats_its_anchors_without_end_is_refused() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

    with pytest.raises(FormatError, match="too often"):
        read_yaml("\n".join(lines).encode())


def test_a_mistake_does_not_show_what_may_be_a_secret() -> None:
    with pytest.raises(FormatError) as caught:
        read_yaml(b"Password: *hunter2\n")

    assert "hunter2" not in str(caught.value)


def test_lines_are_those_of_the_keys() -> None:
    root = read_yaml(b"# first\na: 1\nb:\n  - x\n  - y\n").value
    assert isinstance(root, dict)
    items = root["b"].value
    assert isinstance(items, list)

    assert (root["a"].line, root["b"].line, items[1].line) == (2, 3, 5)
