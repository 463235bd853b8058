"""The page of the Pusher names every option with its default, and its example runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from kqworker import kq
from kqworker.kq.push import push_options, pushing
from kqworker.kq.push.push_options import PushOptions
from tests.kq.test_pushing import Sink
from tests.kq.vectors import hashed

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "kq-pusher.md"
TEXT = PAGE.read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_every_option_is_there_with_its_arguments() -> None:
    shown = {}
    for call, *_ in table("Options"):
        name, arguments = re.fullmatch(r"`(with_\w+)\((.*)\)`", call).groups()  # type: ignore[union-attr]
        shown[name] = [a.split("=")[0] for a in arguments.split(", ") if a]
    there = {
        name: list(inspect.signature(function).parameters)
        for name, function in vars(push_options).items()
        if name.startswith("with_")
    }
    assert shown == there
    assert set(there) <= set(kq.__all__)


def test_defaults_are_as_shown() -> None:
    shown = {call: default for call, default, *_ in table("Options")}
    defaults = PushOptions()
    room = f"{defaults.buffer_bytes // 2**20} MiB, {defaults.buffer_messages}"
    assert f"{room}, {defaults.buffer_timeout:g} s" in shown.values()
    assert f'`"{defaults.compression}"`' in shown.values()
    assert f"`{defaults.balancer!r}`".replace("consistent=False", "") in shown.values()


def test_every_balancer_is_there() -> None:
    shown = {re.findall(r"`(\w+)\(\)`", here)[0] for _, here, *_ in table("Balancers")}
    assert shown == {kind.__name__ for kind in push_options.get_args(push_options.Balancer)}
    assert "for 80 keys" in TEXT and len(hashed("murmur2")) >= 80


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink()
    sink.at_once = lambda delivery: delivery._resolve(0, 0)

    def opened(*_: object) -> Sink:
        sink.closed = False
        return sink

    monkeypatch.setattr(pushing, "_open", opened)
    (example,) = re.findall(r"<!-- example -->\n```python\n(.*?)```", TEXT, re.DOTALL)

    exec(compile(example, PAGE.name, "exec"), {"__name__": "example"})

    assert [output.value for output in sink.sent] == [b'{"id": 1}', b'{"id": 2}', b'{"id": 3}']
    assert sink.sent[1].key == b"customer-7"
