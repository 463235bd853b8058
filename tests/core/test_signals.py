"""The catalogue names everything that there is, once, and only that."""

from __future__ import annotations

import dataclasses

import pytest

from kqworker.core.commands import ReportKind
from kqworker.core.signals import INCIDENTS, NUMBERS, OTHERS, Incident, Number, numbers
from kqworker.core.snapshot import Snapshot


def test_every_field_of_a_snapshot_is_a_number_of_the_catalogue() -> None:
    fields = [field.name for field in dataclasses.fields(Snapshot) if field.name != "seats"]

    assert [number.name for number in NUMBERS] == fields
    assert numbers(Snapshot(handled=3, remaining=2)) == {
        **dict.fromkeys(fields, 0),
        "handled": 3,
        "remaining": 2,
    }


def test_every_report_is_an_event_of_the_catalogue() -> None:
    assert set(INCIDENTS) == set(ReportKind)


def test_no_two_events_have_one_name() -> None:
    names = [incident.name for incident in (*INCIDENTS.values(), *OTHERS)]

    assert len(set(names)) == len(names)
    assert not [name for name in names if name != name.lower() or " " in name]


@pytest.mark.parametrize("entry", [*NUMBERS, *INCIDENTS.values(), *OTHERS], ids=lambda e: e.name)
def test_each_says_when_it_moves_and_what_to_do(entry: Number | Incident) -> None:
    for text in (entry.moves, entry.remedy):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")
