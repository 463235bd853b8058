"""What an app holds together, its hooks, and its pushes outside of workers."""

from __future__ import annotations

import asyncio
import os
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from kqworker import App, ConfigError, Delivery
from kqworker.app import plugs
from kqworker.app.context import take_outputs
from kqworker.types import Output
from tests.app.segments import in_a_message


class RecordingSink:
    def __init__(self, delivered: bool = True) -> None:
        self.sent: list[Output] = []
        self.closed: list[float] = []
        self.delivered = delivered

    def send(self, output: Output) -> Delivery:
        self.sent.append(output)
        return Delivery()

    def close(self, timeout: float) -> bool:
        self.closed.append(timeout)
        return self.delivered


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> list[RecordingSink]:
    """The sinks that pushes have opened; what opens them is replaced."""
    opened: list[RecordingSink] = []

    def open_app_sink(app: App) -> RecordingSink:
        assert isinstance(app, App)
        opened.append(RecordingSink())
        return opened[-1]

    monkeypatch.setattr(plugs, "open_push_sink", open_app_sink)
    return opened


@pytest.fixture
def in_a_worker() -> Iterator[None]:
    with in_a_message():
        yield


def test_an_app_keeps_what_it_was_given() -> None:
    app = App("orders", brokers=["a:1", "b"], group="g", offset="latest", members=2)

    assert (app.name, app.brokers, app.group) == ("orders", ("a:1", "b:9092"), "g")
    assert (app.offset, app.members) == ("latest", 2)


def test_what_an_app_was_not_given_is_left_to_others() -> None:
    app = App("orders")

    assert (app.brokers, app.group, app.offset, app.members) == (None, None, None, None)
    assert (app.handlers, app.start_hooks, app.stop_hooks) == ((), (), ())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, r"App\(name=''\): must be text"),
        ({"brokers": "a:b"}, r"App\(brokers='a:b'\): must be host:port"),
        ({"brokers": []}, r"App\(brokers=\[\]\): must be host:port"),
        ({"group": ""}, r"App\(group=''\): must be text"),
        ({"offset": "first"}, r"App\(offset='first'\): must be earliest, latest or error"),
        ({"members": 0}, r"App\(members=0\): must be a whole number of at least 1"),
    ],
)
def test_a_wrong_value_is_refused_by_name(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^tests/app/test_app\.py:\d+: {text}"):
        App(**{"name": "orders", **options})


# Handlers


def first(value: str) -> None: ...
def second(value: str) -> None: ...


def test_handlers_stand_in_the_order_of_their_declaration() -> None:
    app = App("orders")
    a = app.handler(topic="a")(first)
    b = app.handler(topic="^b")(second)

    assert app.handlers == (a, b)
    assert [policy.topic for policy in app.policies()] == ["a", "^b"]
    assert repr(app) == "<App 'orders', 2 handlers>"


def test_a_topic_has_one_handler_an_app() -> None:
    app = App("orders")
    app.handler(topic="a")(first)

    with pytest.raises(ConfigError) as caught:
        app.handler(topic="a")(second)

    lines = [f"tests/app/test_app.py:{f.__code__.co_firstlineno}" for f in (first, second)]
    assert str(caught.value) == (
        f"{lines[1]}: handler tests.app.test_app.second: topic 'a' already has the handler "
        f"tests.app.test_app.first ({lines[0]}): a topic has one handler an app"
    )
    assert len(app.handlers) == 1


def test_a_name_is_given_once() -> None:
    app = App("orders")
    app.handler(topic="a")(first)

    with pytest.raises(ConfigError, match=r"the name is taken by the handler of 'a' \(tests/"):
        app.handler(topic="b")(first)


def test_a_function_may_handle_two_topics_under_two_names() -> None:
    app = App("orders")

    handler = app.handler(topic="b", name="b")(app.handler(topic="a")(first))

    assert [h.topic for h in app.handlers] == ["a", "b"]
    assert handler.function is first


# Hooks


def test_hooks_run_in_order_and_stay_plain_functions() -> None:
    app = App("orders")
    ran = []

    @app.on_worker_start
    def start() -> None:
        ran.append("start")

    @app.on_worker_stop
    async def stop() -> None:
        ran.append("stop")

    app.on_worker_start(lambda: ran.append("second"))

    for hook in app.start_hooks:
        hook()
    (hook,) = app.stop_hooks
    coroutine: Any = hook()
    asyncio.run(coroutine)
    start()

    assert ran == ["start", "second", "stop", "start"]


@pytest.mark.usefixtures("in_a_worker")
def test_a_hook_cannot_push_because_no_message_would_wait_for_it() -> None:
    app = App("orders")

    @app.on_worker_start
    def start() -> None:
        app.push("a", "lost")

    @app.on_worker_stop
    async def stop() -> None:
        await asyncio.sleep(0)
        app.push("a", "lost")

    with pytest.raises(RuntimeError, match="@on_worker_start cannot push"):
        app.start_hooks[0]()
    with pytest.raises(RuntimeError, match="@on_worker_stop cannot push"):
        coroutine: Any = app.stop_hooks[0]()
        asyncio.run(coroutine)
    app.push("a", "kept")
    assert [output.value for output in take_outputs()] == [b"kept"]


def test_a_hook_that_wants_arguments_or_yields_is_refused() -> None:
    app = App("orders")

    def yields() -> Iterator[None]:
        yield

    with pytest.raises(ConfigError, match=r"test_app.py:\d+: @on_worker_start needs a function"):
        app.on_worker_start(lambda model: None)  # type: ignore[arg-type,misc]
    with pytest.raises(ConfigError, match="@on_worker_stop: it has a yield"):
        app.on_worker_stop(yields)


def test_what_runs_in_the_supervisor_is_not_async_and_does_not_travel() -> None:
    app = App("orders")

    async def serve() -> None: ...

    with pytest.raises(ConfigError, match=r"test_app.py:\d+: @on_start: the supervisor has no"):
        app.on_start(serve)
    app.on_start(lambda: None)

    assert len(app.run_hooks) == 1
    assert pickle.loads(pickle.dumps(app)).run_hooks == ()


# Pushes


def test_a_push_outside_of_workers_goes_through_one_sink(sinks: list[RecordingSink]) -> None:
    app = App("orders")
    app.push("a", {"id": 1}, key="k")
    app.handler(topic="b")(first).push("x")

    (sink,) = sinks
    assert [(o.topic, o.value, o.key) for o in sink.sent] == [
        ("a", b'{"id":1}', b"k"),
        ("b", b"x", None),
    ]
    assert app.close(3.0) and sink.closed == [3.0]


def test_a_push_after_close_opens_a_sink_again(sinks: list[RecordingSink]) -> None:
    app = App("orders")
    assert app.close()
    app.push("a", "1")
    app.close()
    app.push("a", "2")
    app.close()

    assert [[o.value for o in sink.sent] for sink in sinks] == [[b"1"], [b"2"]]


def test_close_says_when_something_was_not_delivered(
    sinks: list[RecordingSink], caplog: pytest.LogCaptureFixture
) -> None:
    app = App("orders")
    app.push("a", "1")
    sinks[0].delivered = False

    # What is left of ten seconds at an exit.
    assert not app.close(9.99997)
    assert caplog.messages == ["pushes were not delivered within 10 s"]


def test_a_wrong_push_opens_nothing(sinks: list[RecordingSink]) -> None:
    with pytest.raises(ValueError, match="only letters"):
        App("orders").push("my topic", "a")
    assert sinks == []


@pytest.mark.usefixtures("in_a_worker")
def test_a_push_in_a_worker_opens_nothing(sinks: list[RecordingSink]) -> None:
    App("orders").push("a", "1")

    assert sinks == []
    assert [output.value for output in take_outputs()] == [b"1"]


def test_a_forked_child_opens_a_sink_of_its_own(
    sinks: list[RecordingSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App("orders")
    app.push("a", "1")
    parents = weakref.ref(sinks[0])
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        assert app.close()  # does not touch the parent's
        app.push("a", "2")
        app.close()
    assert [len(sink.sent) for sink in sinks] == [1, 1]
    assert [len(sink.closed) for sink in sinks] == [0, 1]
    sinks.clear()
    # Collecting it would hang, if it were a handle of librdkafka.
    assert parents() is not None
