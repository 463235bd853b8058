"""What of the program itself reaches a worker, by value, and what is refused."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kqworker import App, DecodeError
from kqworker.errors import ConfigError
from kqworker.runtime.packing import pack
from tests.app.segments import segment

ROOT = Path(__file__).parents[2]

# The classes of a program, as `python program.py` has them: in `__main__`.
PROGRAM = """
import base64, enum, json
from dataclasses import dataclass, field
from typing import ClassVar, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar
import pydantic, pydantic.dataclasses
from kqworker import App
from kqworker.runtime.packing import pack

T = TypeVar("T")

class Model(pydantic.BaseModel):
    a: int = pydantic.Field(gt=0)

@pydantic.dataclasses.dataclass
class Checked:
    model: "Model"

class Kind(enum.Enum):
    FEW = "few"

@dataclass
class Item:
    number: int
    kind: Kind = Kind.FEW
    tags: list[str] = field(default_factory=list)

@dataclass(frozen=True, slots=True)
class Order:
    items: "list[Item]"
    more: ClassVar[int] = 3

    def total(self):
        return sum(item.number for item in self.items) + self.more

@dataclass
class Node:
    value: int
    children: "list[Node]" = field(default_factory=list)

@dataclass(kw_only=True)
class Base:
    a: "int"

@dataclass
class Sub(Base):
    b: "Item"

@dataclass
class Box(Generic[T]):
    item: T

class Dict(TypedDict, total=False):
    a: Required[int]
    item: "Item"

class SubDict(Dict):
    b: NotRequired["list[Dict]"]

class Tuple(NamedTuple):
    a: int
    item: "Item" = Item(3)

TYPES = [Kind, Item, Order, Node, Sub, Box[int], Box[Item], Dict, SubDict, Tuple, Model, Checked]
TYPES += [list[Item] | None]
sent = {}
for kind in TYPES:
    app = App("main")
    def handler(value):
        return repr(value), getattr(value, "total", int)()
    handler.__annotations__ = {"value": kind}
    app.handler(topic="t")(handler)
    name = kind.__name__ if isinstance(kind, type) else str(kind).replace("__main__.", "")
    sent[name] = base64.b64encode(pack(app)).decode()
print(json.dumps(sent))
"""


@pytest.fixture(scope="module", params=["", "from __future__ import annotations"])
def sent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the apps that the program has packed, by the name of what they take."""
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(request.param + PROGRAM)
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def handled(app: App, data: bytes) -> Any:
    (handler,) = app.handlers
    return handler.bind(segment(data), lambda i: None)(0)  # type: ignore[arg-type,return-value]


ITEM = "Item(number=1, kind=<Kind.FEW: 'few'>, tags=[])"


@pytest.mark.parametrize(
    ("name", "good", "made", "bad"),
    [
        ("Kind", '"few"', "<Kind.FEW: 'few'>", '"many"'),
        ("Item", '{"number": 1}', ITEM, "{}"),
        ("Order", '{"items": [{"number": 1}]}', f"Order(items=[{ITEM}])", '{"items": [{}]}'),
        (
            "Node",
            '{"value": 1, "children": [{"value": 2}]}',
            "Node(value=1, children=[Node(value=2, children=[])])",
            '{"value": 1, "children": [{}]}',
        ),
        ("Sub", '{"a": 1, "b": {"number": 1}}', f"Sub(a=1, b={ITEM})", '{"b": {"number": 1}}'),
        ("Box[int]", '{"item": 1}', "Box(item=1)", '{"item": "x"}'),
        ("Box[Item]", '{"item": {"number": 1}}', f"Box(item={ITEM})", '{"item": {}}'),
        ("Dict", '{"a": 1, "item": {"number": 1}}', "{'a': 1, 'item': " + ITEM + "}", "{}"),
        ("SubDict", '{"a": 1, "b": [{"a": 2}]}', "{'a': 1, 'b': [{'a': 2}]}", '{"b": []}'),
        ("Tuple", '[1, {"number": 1}]', f"Tuple(a=1, item={ITEM})", "[]"),
        ("Model", '{"a": 1}', "Model(a=1)", '{"a": 0}'),
        ("Checked", '{"model": {"a": 1}}', "Checked(model=Model(a=1))", '{"model": {"a": 0}}'),
        ("list[Item] | None", '[{"number": 1}]', f"[{ITEM}]", "[{}]"),
    ],
)
def test_a_class_of_the_program_itself_arrives_as_it_is(
    sent: dict[str, str], name: str, good: str, made: str, bad: str
) -> None:
    app = pickle.loads(base64.b64decode(sent[name]))

    assert handled(app, good.encode()) == (made, 4 if name == "Order" else 0)
    with pytest.raises(DecodeError):
        handled(app, bad.encode())


def test_a_class_that_was_sent_still_decodes_where_it_is() -> None:
    @dataclass
    class Order:
        number: int

    app = asking(Order)
    pack(app)

    with pytest.raises(DecodeError):
        handled(app, b"{}")


def asking(kind: object) -> App:
    app = App("a")

    def handler(value: object) -> None: ...

    handler.__annotations__ = {"value": kind}
    app.handler(topic="t")(handler)
    return app


def within() -> App:
    class Inner(msgspec.Struct):
        number: int

    app = App("a")

    @app.handler(topic="t")
    def handler(value: bytes) -> None:
        msgspec.json.decode(value, type=Inner)

    return app


def nested() -> App:
    class Inner(msgspec.Struct):
        number: int

    return asking(list[make_dataclass("Outer", [("inner", Inner)])])  # type: ignore[misc]


@pytest.mark.parametrize("app", [within, nested])
def test_a_struct_that_no_worker_can_import_is_refused(app: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        pack(app())

    assert str(caught.value).endswith(
        " is a msgspec.Struct of tests.runtime.test_packing, from where its fields cannot be sent "
        "to the worker processes: define it at the level of a module of its own and import it, "
        "or make it a dataclass"
    )
    assert str(caught.value).startswith(f"{app.__name__}.<locals>.Inner is")


class Imported(msgspec.Struct):
    number: int


def test_a_struct_of_a_module_is_imported_from_there() -> None:
    app = pickle.loads(pack(asking(Imported)))

    with pytest.raises(DecodeError):
        handled(app, b"{}")
    assert handled(app, b'{"number": 1}') is None


def test_what_cannot_be_sent_is_refused_with_what_it_is() -> None:
    lock = threading.Lock()
    app = App("a")

    @app.handler(topic="t")
    def handler(value: bytes) -> None:
        with lock:
            pass

    with pytest.raises(ConfigError, match=r"cannot be sent to the worker processes: .*lock"):
        pack(app)
