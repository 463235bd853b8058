"""The page of the Python API names what there is, with its defaults."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import inspect
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import kqworker
from kqworker import App, Context, Delivery, Message, Retry
from kqworker.app.around import serve
from kqworker.types import Output
from tests.app.segments import segment

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"
TEXT = PAGE.read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def named_in(title: str) -> set[str]:
    """Return the names in the first column of a section's tables."""
    cells = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return {
        re.sub(r"^@?(app\.)?|\(.*", "", name) for cell in cells for name in cell.split("`")[1::2]
    }


def public(cls: type, *extra: str) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")} | set(extra)


def test_every_public_name_is_on_the_page() -> None:
    for name in set(kqworker.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", TEXT), name


def test_members_are_named_all_and_only() -> None:
    said = {"name", "brokers", "group", "offset", "members"}  # as it was given them
    assert named_in("App") == public(App) - said
    assert named_in("Context") == public(Context)
    assert named_in("Delivery") == public(Delivery)
    assert named_in("Message") == {field.name for field in dataclasses.fields(Message)}


def shown_as(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else str(default)


def test_a_handlers_arguments_have_the_defaults_of_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `?(.*?)`? ?\| ", section("Handlers"), re.MULTILINE)
    shown = dict(rows[: [name for name, _ in rows].index("name") + 1])
    parameters = inspect.signature(App.handler).parameters
    there = {
        name: "" if p.default is p.empty else shown_as(p.default)
        for name, p in parameters.items()
        if name != "self"
    }
    # None stands for it.
    assert there.pop("retry") == "None" and shown.pop("retry") == "Retry()"
    assert shown == there


def test_signatures_are_as_shown() -> None:
    retry = ", ".join(f"{f.name}={f.default}" for f in dataclasses.fields(Retry))
    assert f"`Retry({retry})`" in section("Retry")
    app = inspect.signature(App).parameters
    assert f"`App(name, *, {', '.join(f'{p}=None' for p in app if p != 'name')})`" in TEXT
    push = list(inspect.signature(App.push).parameters)[3:]
    assert f"`app.push(topic, value, *, {', '.join(f'{p}=None' for p in push)})`" in TEXT


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[Output] = []

    class Sink:
        def send(self, output: Output) -> Delivery:
            pushed.append(output)
            delivery = Delivery()
            delivery._resolve(0, len(pushed))
            return delivery

        def close(self, timeout: float) -> bool:
            return True

    monkeypatch.setattr("kqworker.sinks.open_app_sink", lambda app: Sink())
    (example,) = re.findall(r"<!-- example -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {"__name__": "example"}

    exec(compile(example, "api.md", "exec"), names)

    assert [output.value for output in pushed] == [b'{"id":1}', b'{"id":2}']
    app = names["app"]
    assert isinstance(app, App)
    app.close()


def test_the_example_of_middleware_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("orders.db") as database:
        database.execute("create table orders (id)")
    (example,) = re.findall(r"<!-- middleware -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "api.md", "exec", dont_inherit=True), names)
    (handler,) = names["app"].handlers
    messages = segment(b'{"id": 1}', b'{"no": "id"}')
    call = serve(handler, messages, lambda i: Context(handler, messages, i, None), asyncio.run)

    with caplog.at_level("INFO", "kqworker.handler"):
        contextvars.copy_context().run(call, 0)
        with pytest.raises(KeyError):
            contextvars.copy_context().run(call, 1)

    assert sqlite3.connect("orders.db").execute("select id from orders").fetchall() == [(1,)]
    assert [line[:5] for line in caplog.messages] == ["took "] * 2
