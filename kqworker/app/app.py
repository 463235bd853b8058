"""The app: its handlers, its hooks, and the push that works inside and outside of workers.

Decides what belongs together; `handler` decides what one handler may be.
Imports neither Kafka nor processes; it is handed the function that opens the sink of its pushes.
Tested by tests/app/test_app.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

from kqworker.app import plugs
from kqworker.app.around import Middleware, read_middleware
from kqworker.app.connection import Connection, PushSink
from kqworker.app.context import Context, collect
from kqworker.app.delivery import Delivery
from kqworker.app.handler import Handler, locate, place
from kqworker.app.hooks import hook
from kqworker.app.payload import HeadersLike, make_output
from kqworker.app.signature import is_async
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.errors import ConfigError
from kqworker.settings import values
from kqworker.settings.settings import Given, Layer, Settings
from kqworker.types import Ordering
from kqworker.watch import logs

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[[], object])
# Any: what the handler returns
M = TypeVar("M", bound=Callable[[Context, Callable[[], Any]], object])

_logger = logs.logger("kqworker.app")


class App:
    """Handlers that run together, under one consumer group.

    Args:
        name: The app's name; the default of its group.
        brokers: Bootstrap addresses, `host:port`, a list or with commas between them.
            None leaves them to the command line, the environment or a file.
        group: The consumer group; None for the app's name.
        offset: Where a group without committed offsets starts; None for "earliest".
        members: How many members of the group a supervisor owns, at least 1; None for 1.

    Raises:
        ConfigError: A value is outside its bounds; the text names it.
    """

    def __init__(
        self,
        name: str,
        *,
        brokers: str | Sequence[str] | None = None,
        group: str | None = None,
        offset: Literal["earliest", "latest", "error"] | None = None,
        members: int | None = None,
    ) -> None:
        self.name = _checked("name", values.text, name)
        self.brokers = _checked("brokers", _addresses, brokers)
        self.group = _checked("group", values.maybe(values.text), group)
        offsets = values.one_of("earliest", "latest", "error")
        self.offset = _checked("offset", values.maybe(offsets), offset)
        self.members = _checked("members", values.maybe(values.whole(1)), members)
        self._handlers: list[Handler[..., Any]] = []  # Any: each has a result of its own
        self._middleware: list[Middleware] = []
        self._run_hooks: list[Callable[[], object]] = []
        self._start_hooks: list[Callable[[], object]] = []
        self._stop_hooks: list[Callable[[], object]] = []
        self._outlet = _Outlet()

    def __repr__(self) -> str:
        return f"<App {self.name!r}, {len(self._handlers)} handlers>"

    @property
    def handlers(self) -> tuple[Handler[..., Any], ...]:  # Any: as above
        """The handlers, in the order of their declaration."""
        return tuple(self._handlers)

    def __getstate__(self) -> dict[str, object]:
        # What the supervisor runs need not be picklable.
        return {**self.__dict__, "_run_hooks": []}

    @property
    def run_hooks(self) -> tuple[Callable[[], object], ...]:
        """What the supervisor runs before its first message."""
        return tuple(self._run_hooks)

    @property
    def start_hooks(self) -> tuple[Callable[[], object], ...]:
        """What a worker runs before its first message; an async one returns a coroutine."""
        return tuple(self._start_hooks)

    @property
    def stop_hooks(self) -> tuple[Callable[[], object], ...]:
        """What a worker runs after its last message; an async one returns a coroutine."""
        return tuple(self._stop_hooks)

    def policies(self) -> tuple[HandlerPolicy, ...]:
        """Return what the core must know about the handlers, in their order."""
        return tuple(handler.policy for handler in self._handlers)

    def handler(
        self,
        *,
        topic: str,
        ordering: Ordering | Literal["unordered", "key", "partition"] = "unordered",
        retry: Retry | None = None,
        dead_letter: str | None = None,
        dead_letter_overflow: Literal["truncate", "stall"] = "truncate",
        time_limit: float | None = None,
        output: str | None = None,
        name: str | None = None,
    ) -> Callable[[Callable[P, R]], Handler[P, R]]:
        r"""Make a function, sync or async, the handler of a topic's messages.

        The annotation of its parameter decides the payload: `Message`, bytes, str (UTF-8), or
        from JSON a dict, a list, a dataclass, a TypedDict, a `msgspec.Struct`. `X | None`
        takes tombstones. Two parameters `key, value` are text unless annotated otherwise. A
        `Context` may be any parameter. A payload that cannot be decoded so is dead-lettered
        without further attempts.

        Returning accepts the message; an exception follows `retry`; `Reject` and
        `RetryLater` decide for themselves.

        Args:
            topic: A topic, or a pattern that begins with "^", such as `^logs\..*`; the caret
                holds only for its own alternative, so `^a|b` finds a "b" anywhere. A topic
                that one handler names does not go to another's pattern; of two patterns the
                one that is declared first counts.
            ordering: "unordered" runs any messages at once, "key" those with one key one by
                one, "partition" those of one partition.
            retry: How often a message is tried; None for `Retry()`.
            dead_letter: The topic for messages out of attempts; None logs and accepts them.
            dead_letter_overflow: What to do with a dead letter that is larger than its topic
                takes. "truncate" keeps key, headers and as much of the head of its value as
                fits, and adds the header `kqworker-truncated` with the original number of
                bytes; "stall" holds its message until the topic takes it.
            time_limit: Seconds above 0 after which the worker is killed and the attempt has
                failed; None for no limit.
            output: The topic for a result that is not None, with the message's key and without
                headers; an `Output` overrides this.
            name: Unique in the app; None for `module.qualname`.

        Raises:
            ConfigError: Something cannot be served; the text has the handler's file and line.
        """

        def decorate(function: Callable[P, R]) -> Handler[P, R]:
            if isinstance(function, Handler):
                # A second topic for one function: both handlers call the function itself.
                function = function.function
            handler = Handler(
                self.push,
                function,
                topic=topic,
                ordering=ordering,
                retry=retry,
                dead_letter=dead_letter,
                dead_letter_overflow=dead_letter_overflow,
                time_limit=time_limit,
                output=output,
                name=name,
            )
            self._add(handler)
            return handler

        return decorate

    def _add(self, handler: Handler[..., Any]) -> None:  # Any: as above
        for other in self._handlers:
            if other.topic == handler.topic:
                raise handler.refusal(
                    f"topic {handler.topic!r} already has the handler {other.name} "
                    f"({other.where}): a topic has one handler an app"
                )
            if other.name == handler.name:
                raise handler.refusal(
                    f"the name is taken by the handler of {other.topic!r} ({other.where}): "
                    'give this one another, name="…"'
                )
        for middleware in self._middleware:
            _refuse_async(middleware, handler)
        handler.around = (*self._middleware, *handler.around)
        self._handlers.append(handler)

    def middleware(self, function: M) -> M:
        """Call a function, sync or async, around each call of each handler, in the workers.

        It takes the message's `Context` and `call`, which decodes the message and calls the
        handler. It returns what `call()` returns; an async one, what `await call()` returns. What
        it raises fails the attempt, as if the handler had raised it; what it returns counts as
        what the handler returned. The first declared is the outermost.

        An async one needs async handlers. A plain one goes with both kinds, and around an async
        handler `call()` returns when the handler has ended.

        Raises:
            ConfigError: It cannot be called so, has a yield, is async beside a handler that is
                not, or is not async and declared after an async one.
        """
        try:
            middleware = read_middleware(function)
        except ValueError as error:
            raise ConfigError(f"{locate(function)}: {error}") from None
        for other in self._middleware:
            if other.is_async and not middleware.is_async:
                raise ConfigError(
                    f"{locate(function)}: @middleware: it is not async, and the one at "
                    f"{locate(other.function)} is: declare it before that one, for it cannot run "
                    "inside"
                )
        for handler in self._handlers:
            _refuse_async(middleware, handler)
        outer = len(self._middleware)
        for handler in self._handlers:
            handler.around = (*handler.around[:outer], middleware, *handler.around[outer:])
        self._middleware.append(middleware)
        return function

    def on_start(self, function: F) -> F:
        """Run a function once, in the supervisor, when Kafka has answered and nothing has begun.

        It is for things that exist only once, such as the port of a metrics server. Workers
        neither run it nor share what it opens. It must return before the first message is
        handled; start a thread for what goes on. If it raises, the run ends.

        Raises:
            ConfigError: It is async, needs arguments, or has a yield.
        """
        hook(function, "on_start")
        if is_async(function):
            raise ConfigError(
                f"{locate(function)}: @on_start: the supervisor has no event loop: give a function "
                "that is not async, which may start a thread with one"
            )
        self._run_hooks.append(function)
        return function

    def on_worker_start(self, function: F) -> F:
        """Run a function, sync or async, in each worker before its first message.

        If it raises, the worker cannot boot and the run ends. It cannot push.
        """
        self._start_hooks.append(hook(function, "on_worker_start"))
        return function

    def on_worker_stop(self, function: F) -> F:
        """Run a function, sync or async, in each worker that ends in good order.

        It cannot push.
        """
        self._stop_hooks.append(hook(function, "on_worker_stop"))
        return function

    def push(
        self,
        topic: str,
        value: object,
        *,
        key: str | bytes | None = None,
        headers: HeadersLike | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Push a value to a topic.

        In a worker it is delivered after the handler has returned and before its message
        is finished, and dropped if the handler raises. It belongs to the message in whose
        context it is made: a thread needs a copy of that context, or pushes by
        `Context.push`. Elsewhere it is produced at once, without waiting; the first push
        opens the connection.

        Args:
            topic: The topic's name.
            value: bytes stay as they are, str becomes UTF-8, None is a tombstone, all else
                becomes JSON.
            key: Messages with one key go to one partition; None spreads them.
            headers: By name; a list of pairs keeps its order and repeated names.
            partition: From 0; None lets the key decide.

        Returns:
            The delivery under way; `wait()` for it where it must be certain.

        Raises:
            TypeError: The value has no JSON form, or the key is neither str nor bytes.
            ValueError: Kafka does not take the topic's name, or the value holds a number
                that is not finite.
            RuntimeError: In a worker: it belongs to no message, or to one that has ended.
            ConfigError, BrokerError: The connection cannot be opened.
        """
        output = make_output(topic, value, key, headers, partition)
        collected = collect(output)
        return self._outlet.open(self).send(output) if collected is None else collected

    def close(self, timeout: float = 10.0) -> bool:
        """Wait for what was pushed, then close the connection; a later push opens it again.

        The interpreter's exit calls it, too.

        Args:
            timeout: Seconds, at least 0.

        Returns:
            Whether all was delivered in time.
        """
        return self._outlet.close(timeout)


def in_run(app: App, settings: Settings | None) -> None:
    """Let an app's pushes outside of its messages go where its run does, by its settings."""
    app._outlet.settings = settings


def run_settings(app: App) -> Settings | None:
    """Return the settings of the run that an app is in; None outside of one."""
    return app._outlet.settings


def layer(app: App) -> Layer:
    """Return what the App says; its group is named after the app unless it says otherwise."""
    said = {name: getattr(app, name) for name in ("brokers", "group", "offset", "members")}
    given = {name: Given(value, "App(...)") for name, value in said.items() if value is not None}
    given.setdefault("group", Given(app.name, "the app's name"))
    return given


class _Outlet:
    """The connection of pushes outside of workers."""

    def __init__(self) -> None:
        self._connection = Connection[PushSink](self)
        self.settings: Settings | None = None  # those of the run that the app is in

    def __reduce__(self) -> tuple[type[_Outlet], tuple[()]]:
        # A connection stays in its process.
        return _Outlet, ()

    def open(self, app: App) -> PushSink:
        return self._connection.open(lambda: plugs.open_push_sink(app))

    def close(self, timeout: float) -> bool:
        sink = self._connection.awaited()
        if sink is None:
            return True
        # After an interrupt, what is under way stays ours: the exit goes on with it.
        delivered = sink.close(timeout)
        self._connection.forget(sink)
        if not delivered:
            _logger.error("pushes were not delivered within %.3g s", timeout)
        return delivered

    # Called by process_exit

    def begin_end(self, timeout: float) -> None:
        sink = self._connection.opened()
        if sink is not None:
            sink.begin_close(timeout)

    def end(self, timeout: float) -> None:
        self.close(timeout)


def _refuse_async(middleware: Middleware, handler: Handler[..., Any]) -> None:  # Any: as above
    if middleware.is_async and not handler.is_async:
        raise handler.refusal(
            f"it is not async, and the middleware at {locate(middleware.function)} is: make both "
            "async, or neither"
        )


def _checked(name: str, parse: values.Parse[R], value: object) -> R:
    try:
        return parse(value)
    except ValueError as error:
        raise ConfigError(f"{_caller()}: App({name}={value!r}): must be {error}") from None


def _caller() -> str:
    """Return the file and line of the user's code that called this module."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return place(frame.f_code.co_filename, frame.f_lineno) if frame is not None else "<unknown>"


def _addresses(value: object) -> tuple[str, ...] | None:
    # An empty list says nothing; None is there for that, so it is a mistake.
    return values.addresses("" if value == [] or value == () else value)
