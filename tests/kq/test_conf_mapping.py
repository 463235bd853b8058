"""What fits a field is what fits it in go-zero."""

from __future__ import annotations

import json

import pytest

from kqworker.kq.conf.conf import KQ
from kqworker.kq.conf.formats import read_json, read_json5
from kqworker.kq.conf.mapping import Mapped, decode
from kqworker.kq.conf.sections import ProfilingConf, TelemetryConf
from kqworker.kq.conf.yaml11 import read_yaml

VARIABLE = " (to have the variable there: use_env=True, or --use-env)"
GOOD = {"Name": "orders", "Brokers": ["a:1"], "Group": "g", "Topic": "t"}


def mapped(**more: object) -> Mapped:
    text = json.dumps({**GOOD, **more})
    return decode(read_json(text.encode()), KQ)


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        ("CaFile", None, ""),
        ("Brokers", [], ()),
        ("Brokers", [None], ()),
        ("Brokers", ["a", None, 9092], ("a", "", "9092")),
        ("Brokers", '["a", 1] rest', ("a", "1")),
        ("Brokers", "null", ()),
        ("Conns", -1, -1),
        ("MaxBytes", 2**63 - 1, 2**63 - 1),
        ("Telemetry", None, None),
        ("Name", "", ""),
    ],
)
def test_what_fits_is_taken(field: str, given: object, value: object) -> None:
    found = mapped(**{field: given})

    assert found.problems == []
    assert found.values[next(f.attribute for f in KQ.fields if f.name == field)] == value


@pytest.mark.parametrize(
    ("field", "given", "text"),
    [
        ("Name", None, "Name must be text, not null"),
        ("Name", 5, "Name must be text (put it in quotes), not 5"),
        ("Name", True, "Name must be text (put it in quotes), not true"),
        ("Name", ["a"], "Name must be text, not a list"),
        ("Brokers", "a:1,b:2", "Brokers must be a list of texts, not 'a:1,b:2'"),
        ("Brokers", "10.0.0.1:9", "Brokers must be a list of texts, not '10.0.0.1:9'"),
        ("Brokers", {}, "Brokers must be a list of texts, not a mapping"),
        ("Brokers", ["a", True], "Brokers[1] must be text, not true"),
        ("Brokers", ["a", ["b"]], "Brokers[1] must be text, not a list"),
        ("Brokers", "[null]", "Brokers[0] must be text, not null"),
        ("Offset", "newest", "Offset must be first or last, not 'newest'"),
        ("Conns", "8", "Conns must be a whole number (without quotes), not '8'"),
        ("Conns", 8.0, "Conns must be a whole number, not 8.0"),
        ("Conns", 2**63, "Conns must be a whole number, not 9223372036854775808"),
        ("ForceCommit", "true", "ForceCommit must be true or false (without quotes), not 'true'"),
        ("ForceCommit", 1, "ForceCommit must be true or false, not 1"),
        ("Log", None, "Log must be a section with its own fields, not null"),
        ("Log", "x", "Log must be a section with its own fields, not 'x'"),
        (
            "Log",
            {"MaxContentLength": -1},
            "Log.MaxContentLength must be a whole number, 0 to 4294967295, not -1",
        ),
        (
            "Shutdown",
            {"WaitTime": 5},
            "Shutdown.WaitTime must be a duration with its unit, such as 1s, 5.5s or 100ms, not 5",
        ),
        (
            "Telemetry",
            {"Sampler": "1"},
            "Telemetry.Sampler must be a number (without quotes), not '1'",
        ),
        (
            "Telemetry",
            {"OtlpHeaders": {"a": True}},
            "Telemetry.OtlpHeaders[a] must be text, not ********",
        ),
        (
            "Processors",
            "$N",
            f"Processors must be a whole number, not '$N'{VARIABLE}",
        ),
        (
            "Offset",
            "${WHERE}",
            f"Offset must be first or last, not '${{WHERE}}'{VARIABLE}",
        ),
        ("Offset", "$5", "Offset must be first or last, not '$5'"),
        ("Kqworker", 5, "Kqworker must be a mapping of settings, such as `ordering: key`"),
        ("Password", 12345, "Password must be text (put it in quotes), not ********"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(field: str, given: object, text: str) -> None:
    assert [note.text for note in mapped(**{field: given}).problems] == [text]


@pytest.mark.parametrize(
    "written", ["99999999999999999999", "1.5", "1e-3", "+9_999_999_999_999_999_999_9", "1" * 70]
)
def test_a_number_that_does_not_fit_is_shown_as_it_is_written(written: str) -> None:
    found = decode(read_yaml(f"Conns: {written}".encode()), KQ)

    shown = written if len(written) < 70 else f"{'1' * 60}…"
    assert f"Conns must be a whole number, not {shown}" in [note.text for note in found.problems]


def test_a_number_of_json5_is_shown_with_all_its_digits() -> None:
    found = decode(read_json5(b"{Conns: 99999999999999999999}"), KQ)

    text = "Conns must be a whole number, not 99999999999999999999"
    assert text in [note.text for note in found.problems]


@pytest.mark.parametrize(
    ("threshold", "fits"), [(0, True), (999, True), (1000, False), (-1, False)]
)
def test_a_range_has_an_end_that_belongs_to_it_and_one_that_does_not(
    threshold: int, fits: bool
) -> None:
    found = mapped(Profiling={"ServerAddr": "a", "CpuThreshold": threshold})

    assert (found.problems == []) is fits


def test_all_that_is_missing_is_told_at_once() -> None:
    found = decode(read_json(b'{"Profiling": {}}'), KQ)

    assert [note.text.split(" is missing")[0] for note in found.problems] == [
        "Name",
        "Profiling.ServerAddr",
        "Brokers",
        "Group",
        "Topic",
    ]


@pytest.mark.parametrize(("own", "name"), [({}, "orders"), ({"Name": "p"}, "p")])
def test_the_name_of_profiling_is_inherited(own: dict[str, str], name: str) -> None:
    profiling = mapped(Profiling={"ServerAddr": "a", **own}).values["profiling"]
    assert isinstance(profiling, ProfilingConf)

    assert profiling.name == name


def test_what_is_wrong_with_an_inherited_name_is_told_once() -> None:
    found = mapped(Name=5, Profiling={"ServerAddr": "a"})

    assert [note.text for note in found.problems] == ["Name must be text (put it in quotes), not 5"]


def test_a_long_value_is_shown_in_part() -> None:
    (note,) = mapped(Offset="x" * 1000).problems

    assert len(note.text) < 120


def test_headers_may_be_numbers_or_a_text_of_json() -> None:
    for given in ({"a": "x", "b": 5}, '{"a": "x", "b": "5"}'):
        telemetry = mapped(Telemetry={"OtlpHeaders": given}).values["telemetry"]
        assert isinstance(telemetry, TelemetryConf)
        assert telemetry.otlp_headers == {"a": "x", "b": "5"}


def test_a_key_that_nothing_reads_is_told_with_the_nearest_name() -> None:
    found = mapped(MinByte=5, Log={"Levle": "info"})

    assert [note.text for note in found.notes] == [
        "MinByte is unknown and ignored (did you mean 'MinBytes'?)",
        "Log.Levle is unknown and ignored (did you mean 'Level'?)",
    ]


def test_of_a_key_in_two_cases_the_last_one_counts_and_that_is_told() -> None:
    found = mapped(offset="first", OFFSET="last")

    assert found.values["offset"] == "last"
    assert [note.text for note in found.notes] == [
        "Offset stands here more than once, and the last one counts"
    ]
