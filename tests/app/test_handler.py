"""What a handler is, what may be declared of it, and how it travels."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from kqworker import App, ConfigError, Context, Message, Retry
from kqworker.app.context import take_outputs
from kqworker.app.handler import Handler
from kqworker.core.policy import HandlerPolicy
from kqworker.types import Ordering
from tests.app.segments import in_a_message, made, no_context, segment

app = App("test")


@app.handler(topic="module")
def in_the_module(value: str) -> str:
    """Say it."""
    return value.upper()


@app.handler(topic="async")
async def in_the_module_async(value: str) -> str:
    return value.upper()


def plain(value: str) -> str:
    return value


@pytest.fixture
def collected() -> Iterator[None]:
    with in_a_message():
        yield


def test_a_handler_is_still_the_plain_function() -> None:
    assert in_the_module("a") == "A"
    assert in_the_module.__name__ == "in_the_module"
    assert in_the_module.__doc__ == "Say it."
    assert str(inspect.signature(in_the_module)) == "(value: 'str') -> 'str'"


def test_an_async_handler_returns_its_coroutine() -> None:
    assert in_the_module_async.is_async and not in_the_module.is_async
    bound = in_the_module_async.bind(segment(b"a"), no_context)
    coroutine: Any = bound(0)
    assert asyncio.run(coroutine) == "A"


def test_async_is_seen_through_partials_and_objects() -> None:
    class Object:
        async def __call__(self, value: str) -> None: ...

        async def method(self, value: str) -> None: ...

    async def function(n: int, value: str) -> None: ...

    assert made(functools.partial(function, 1), name="partial").is_async
    assert made(Object(), name="object").is_async
    assert made(Object().method).is_async


def test_a_plain_wrapper_around_an_async_function_is_awaited() -> None:
    async def inner(value: str) -> str:
        return value.upper()

    @functools.wraps(inner)
    def passes_on(value: str) -> Any:
        return inner(value)

    @functools.wraps(inner)
    def runs_it(value: str) -> str:
        return asyncio.run(inner(value))

    @functools.wraps(generator)
    def uses_a_generator(value: str) -> list[str]:
        return list(generator(value))

    coroutine: Any = made(passes_on).bind(segment(b"a"), no_context)(0)
    assert made(passes_on).is_async and asyncio.run(coroutine) == "A"
    wrapper: Any = made(runs_it)
    settling = wrapper.bind(segment(b"a"), no_context)(0)
    with pytest.raises(StopIteration, match="A"):
        # Outside of a loop, because it runs one itself.
        settling.send(None)
    assert not made(uses_a_generator).is_async


def test_a_coroutine_that_nobody_awaited_is_a_failure_not_a_result() -> None:
    handler = made(lambda value: in_the_module_async(value), name="forgot")

    with pytest.raises(
        TypeError, match="returned a coroutine: write async def, and await it there"
    ):
        handler.encode_result(handler("a"))


def test_a_handler_is_named_by_module_and_function() -> None:
    def local(value: str) -> None: ...

    assert in_the_module.name == "tests.app.test_handler.in_the_module"
    assert made(local).name.endswith("a_handler_is_named_by_module_and_function.local")
    assert made(local, name="other").name == "other"


def test_the_core_learns_the_policies() -> None:
    handler = made(
        plain,
        ordering="key",
        retry=Retry(attempts=2),
        dead_letter="orders.dlq",
        time_limit=30,
        output="done",
    )

    assert handler.policy == HandlerPolicy(
        handler.name, "orders", Ordering.KEY, Retry(attempts=2), "orders.dlq", 30.0
    )


def test_a_message_and_a_dead_letter_need_to_know_when_it_was_written() -> None:
    def whole(message: Message[bytes]) -> None: ...
    def keyed(ctx: Context, key: str, value: str) -> None: ...

    assert made(whole).needs_timestamps
    assert made(plain, dead_letter="orders.dlq").needs_timestamps
    assert not made(plain).needs_timestamps
    assert not made(keyed, output="done", ordering="key").needs_timestamps


def test_what_is_left_out_has_its_default() -> None:
    assert made(plain).policy == HandlerPolicy(made(plain).name, "orders")


@pytest.mark.parametrize("ordering", list(Ordering))
def test_an_ordering_is_given_by_word_or_by_name(ordering: Ordering) -> None:
    assert made(plain, ordering=ordering.value).ordering is ordering
    assert made(plain, ordering=ordering).ordering is ordering


def test_a_result_goes_to_the_output_topic() -> None:
    handler = made(plain, output="done")

    output = handler.encode_result({"id": 1})
    assert output is not None
    assert (output.topic, output.value, output.key) == ("done", b'{"id":1}', None)
    assert handler.encode_result(None) is None
    assert made(plain).encode_result("dropped") is None


@pytest.mark.usefixtures("collected")
def test_a_push_goes_to_the_topic_of_the_handler() -> None:
    in_the_module.push("a", key="k", headers={"h": "1"}, partition=3)

    (output,) = take_outputs()
    assert (output.topic, output.value, output.key) == ("module", b"a", b"k")
    assert (output.headers, output.partition) == ((("h", b"1"),), 3)


def test_a_handler_of_a_pattern_has_no_topic_to_push_to() -> None:
    with pytest.raises(ConfigError, match=r"'\^logs' is a pattern: push with app.push\(topic, …\)"):
        made(plain, topic="^logs").push("a")


# How it travels


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_handler_of_a_module_pickles_by_name(pickler: Any) -> None:
    assert pickle.loads(pickler.dumps(in_the_module)) is in_the_module
    assert len(pickler.dumps(in_the_module)) < 120


def test_a_handler_of_a_closure_travels_by_value_with_its_app() -> None:
    suffix = "!"
    theirs = App("closures")

    @theirs.on_worker_start
    def start() -> str:
        return suffix

    @theirs.handler(topic="a", ordering="key")
    def shout(value: str) -> str:
        return value + suffix

    copy = pickle.loads(cloudpickle.dumps(theirs))

    assert copy is not theirs
    (handler,) = copy.handlers
    assert handler is not shout
    assert handler.policy == shout.policy
    assert handler("a") == handler.bind(segment(b"a"), no_context)(0) == "a!"
    assert copy.start_hooks[0]() == "!"
    assert pickle.loads(cloudpickle.dumps(shout)).policy == shout.policy


def test_a_handler_that_its_name_does_not_find_travels_by_value() -> None:
    def renamed(value: str) -> str:
        return value

    for module, qualname in (("no.such.module", "f"), (__name__, "gone"), (__name__, "plain")):
        renamed.__module__, renamed.__qualname__ = module, qualname
        copy = pickle.loads(cloudpickle.dumps(made(renamed)))
        assert copy.name == f"{module}.{qualname}" and copy("a") == "a"


# What is refused


class Methods:
    def method(self, value: str) -> None: ...

    @staticmethod
    def static(value: str) -> None: ...


def generator(value: str) -> Iterator[str]:
    yield value


async def async_generator(value: str) -> Any:
    yield value


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"topic": ""}, "topic '': a topic needs a name; a pattern begins with \"^\""),
        ({"topic": "my orders"}, "topic 'my orders': only letters, digits, '.', '_' and '-' are"),
        ({"topic": 7}, "topic 7: must be str"),
        ({"topic": ["a", "b"]}, "topic ['a', 'b']: must be str"),
        ({"topic": "^logs("}, "topic '^logs(' is not a regular expression: missing ), unter"),
        (
            {"ordering": "keys"},
            ("ordering='keys': must be one of unordered, key, partition (did you mean 'key'?)"),
        ),
        ({"ordering": None}, "ordering=None: must be one of unordered, key, partition"),
        ({"retry": 5}, "retry=5: must be a Retry; write retry=Retry(attempts=5)"),
        ({"retry": False}, "retry=False: must be a Retry; write retry=Retry(attempts=3)"),
        ({"dead_letter": "orders"}, "dead_letter='orders' is its own topic: name another one"),
        ({"dead_letter": "a b"}, "dead_letter: topic 'a b': only letters"),
        (
            {"topic": "^logs", "dead_letter": "logs.dlq"},
            "dead_letter='logs.dlq' is matched by its own topic pattern '^logs': choose",
        ),
        # The caret is the first alternative's; the second is found anywhere.
        (
            {"topic": "^logs|audit", "dead_letter": "dead.audit"},
            "dead_letter='dead.audit' is matched by its own topic pattern '^logs|audit': choose",
        ),
        (
            {"dead_letter_overflow": "drop"},
            "dead_letter_overflow='drop': must be 'truncate' or 'stall'",
        ),
        ({"time_limit": 0}, "time_limit=0: must be seconds above 0; leave it out for no limit"),
        ({"time_limit": float("nan")}, "time_limit=nan: must be seconds above 0"),
        ({"time_limit": float("inf")}, "time_limit=inf: must be seconds above 0"),
        ({"time_limit": "30s"}, "time_limit='30s': must be seconds, a number above 0"),
        ({"time_limit": True}, "time_limit=True: must be seconds, a number above 0"),
        ({"output": "^all"}, "output: topic '^all': only letters"),
    ],
)
def test_a_wrong_option_is_refused_with_its_value_and_remedy(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(plain, **options)

    place = f"tests/app/test_handler.py:{plain.__code__.co_firstlineno}: "
    assert f"{place}handler tests.app.test_handler.plain: {text}" in str(caught.value)


def test_an_output_may_be_the_topic_of_the_handler_itself() -> None:
    assert made(plain, output="orders").output == "orders"


@pytest.mark.parametrize("name", ["", " ", "a\nb", 3])
def test_a_name_that_could_not_be_shown_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"name=.*must be printable text"):
        made(plain, name=name)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Methods, "it is not a function: decorate a function"),
        (Methods.method, "it is a method, and no object would be there to call it on"),
        (vars(Methods)["static"], "decorate a function of the module, not a static method"),
        (generator, "it has a yield, so a call would run nothing"),
        (async_generator, "it has a yield, so a call would run nothing"),
    ],
)
def test_what_cannot_be_called_with_a_message_is_refused(function: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        made(function)


@pytest.mark.parametrize("function", [lambda value: value, functools.partial(plain), 7, str.upper])
def test_what_has_no_name_needs_one(function: Any) -> None:
    with pytest.raises(ConfigError, match=r'give it one, name="…"'):
        made(function)


def test_something_that_cannot_be_called_is_refused_even_with_a_name() -> None:
    with pytest.raises(ConfigError, match="it is not a function"):
        made(7, name="seven")


def test_a_handler_says_what_it_is() -> None:
    assert repr(in_the_module) == "<Handler tests.app.test_handler.in_the_module of 'module'>"
    assert isinstance(in_the_module, Handler)
    assert made(lambda m: m, name="any").bind(segment(b"a"), no_context)(0) == Message(
        b"a", None, "orders", 2, 10
    )
