"""A queue's handler as workers run it: the trace, the metrics and the error handler around it.

Decides what counts as a handler (a function, or an object with `consume`) and what is done
around a call. Workers import this, so it imports no Kafka. Tested by tests/kq/test_consuming.py.
"""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from kqworker.app.app import App
from kqworker.app.around import Call, Contexts, Run
from kqworker.app.context import Context, Push, without_pushes
from kqworker.app.handler import Handler
from kqworker.app.payload import refuse_unrun, refuse_untaken
from kqworker.app.signature import Forms, Signature, is_async, read_signature
from kqworker.errors import ConfigError
from kqworker.kq.queue.metrics import Adds, Harmless
from kqworker.kq.queue.queue_options import ErrorHandler
from kqworker.kq.queue.translate import Translation
from kqworker.kq.trace import handling
from kqworker.loading.import_string import load_attribute
from kqworker.runtime.failures import users_part
from kqworker.runtime.printing import lost_by
from kqworker.types import Message, Output, Segment
from kqworker.watch import logs

_logger = logs.logger("kqworker.handler")

FORMS = Forms(
    "a handler takes (key, value) or (context, key, value), named so unless both are text, or "
    "(message: Message)",
    context_first=True,
)

# Any: a handler may have any parameters and result.
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Handle:
    """A function as a handler; what `with_handle` returns."""

    function: Function


def with_handle(function: Function) -> Handle:
    """Make a function a handler, as go-queue's WithHandle does; a queue checks it.

    An object with `consume` is a handler already.
    """
    return Handle(function)


def function_of(handler: object) -> Function:
    """Return the function that handles messages.

    Args:
        handler: A function, what `with_handle` returned, a handler of an app, or an object
            with the method `consume`.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(handler, Handle):
        return _handle_of(handler.function)
    if isinstance(handler, Handler):
        return handler.function
    if isinstance(handler, type):
        raise ConfigError(f"{handler.__name__} is a class: give an object of it")
    consume = getattr(handler, "consume", None)
    function: object = consume if consume is not None else handler
    if not callable(function):
        raise ConfigError(
            f"{handler!r} is no handler: give a function (key, value) or (context, key, value), "
            "or an object with a method consume(key, value)"
        )
    return function


def _handle_of(function: Function) -> Function:
    if isinstance(function, type):
        name = function.__name__
        raise ConfigError(
            f"with_handle({name}): {name} is a class: give a function, or an object of it in "
            "place of with_handle(…)"
        )
    if not callable(function):
        consumes = callable(getattr(function, "consume", None))
        name = type(function).__name__
        hint = f": give the object itself: must_new_queue(conf, {name}(…))" if consumes else ""
        raise ConfigError(f"with_handle({function!r}): it is not a function{hint}")
    return function


class KqHandler(Handler[..., Any]):
    """The handler of a queue.

    Args:
        app_push: The push of its app.
        function: Takes `(key, value)`, `(context, key, value)`, or what other handlers take.
        translation: Its topic and policies.
        metrics: Counts its attempts.
        error_handler: Called after each failed attempt.
        reference: Where workers import the handler from, `module:attribute` in the
            translation's app_dir; None sends it to them with all that it refers to.

    Raises:
        ConfigError: The handler asks for what cannot be served, or the error handler does not
            fit it; the text names file and line.
    """

    def __init__(
        self,
        app_push: Push,
        function: Function,
        translation: Translation,
        metrics: Adds | None,
        error_handler: ErrorHandler | None,
        reference: str | None,
    ) -> None:
        self._reference = reference
        self._app_dir = translation.settings.app_dir
        self.final = translation.final
        super().__init__(
            app_push,
            function,
            topic=translation.topic,
            ordering=translation.ordering,
            retry=translation.retry,
            dead_letter=translation.dead_letter,
            time_limit=None,
            output=None,
            name=_name(function, translation.name),
        )
        if error_handler is not None and not self.is_async and is_async(error_handler):
            raise self.refusal("its error handler is async, and the handler is not")
        told = () if error_handler is None else (_Told(error_handler, self.is_async),)
        counted = () if metrics is None else (_Counted(Harmless(metrics)),)
        self.around = (_TRACED, *told, *counted)

    def __getstate__(self) -> dict[str, object]:
        state = super().__getstate__()
        if self._reference is not None:
            # The worker imports it by name: what it holds need not be pickled.
            del state["function"], state["__wrapped__"]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        reference, app_dir = state["_reference"], state["_app_dir"]
        if isinstance(reference, str) and isinstance(app_dir, str):
            function = function_of(load_attribute(reference, app_dir))
            state = {**state, "function": function, "__wrapped__": function}
        super().__setstate__(state)

    @property
    def needs_timestamps(self) -> bool:
        """Whether a message's time is used: an error handler is given whole messages, too."""
        return super().needs_timestamps or any(isinstance(a, _Told) for a in self.around)

    def _asked_for(self) -> Signature:
        return read_signature(self.function, FORMS)

    def encode_result(self, result: object, key: bytes | None = None) -> Output | None:
        """Encode as other handlers do; but raise an exception that was returned, as an error in Go.

        It is called only for what is not None, so that no other message pays for it.

        Raises:
            BaseException: What the handler returned.
        """
        return super().encode_result(_result(result), key)


class QueueApp(App):
    """The app of a queue: its one handler.

    Args:
        translation: Its name, topic and policies.
        function: The handler.
        metrics, error_handler, reference: As `KqHandler`.

    Attributes:
        module: The module that a forkserver may import beforehand; empty for none.

    Raises:
        ConfigError: As `KqHandler`.
    """

    def __init__(
        self,
        translation: Translation,
        function: Function,
        metrics: Adds | None = None,
        error_handler: ErrorHandler | None = None,
        reference: str | None = None,
    ) -> None:
        settings = translation.settings
        super().__init__(translation.name, brokers=settings.brokers, group=settings.group)
        self._add(KqHandler(self.push, function, translation, metrics, error_handler, reference))
        self.on_worker_start(_print_at_once)
        self.module = _module(function, reference)


def _print_at_once() -> None:
    """Write each line that is printed at once and whole, as Go does.

    Into a file or a pipe it would wait for 8 KiB, which a killed worker loses. With
    PYTHONUNBUFFERED the end of a line is written apart, after what other workers print meanwhile.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)


def _name(function: Function, queue: str) -> str | None:
    """Return the name of a handler that has none of its own: the queue's."""
    qualname = getattr(function, "__qualname__", None)
    return queue if qualname is None or qualname.endswith("<lambda>") else None


def _module(function: Function, reference: str | None) -> str:
    if reference is not None:
        return reference.partition(":")[0]
    module = getattr(function, "__module__", None)
    return module if isinstance(module, str) and module != "__main__" else ""


# -- what is around a call


@dataclass(frozen=True, slots=True)
class _Traced:
    """Runs a call in the trace of its message."""

    is_async = False

    def wrap(self, call: Call, segment: Segment, contexts: Contexts, run: Run) -> Call:
        headers = segment.records.headers
        if headers is None:
            return call

        def traced(i: int) -> object:
            with handling(headers[i]):
                return call(i)

        return traced


_TRACED = _Traced()


@dataclass(frozen=True, slots=True)
class _Counted:
    """Counts the calls, and how long they take."""

    metrics: Adds

    is_async = False

    def wrap(self, call: Call, segment: Segment, contexts: Contexts, run: Run) -> Call:
        add = self.metrics.add

        def counted(i: int) -> object:
            began = perf_counter()
            try:
                return call(i)
            finally:
                add(perf_counter() - began)

        return counted


def _result(result: object) -> object:
    """Return what a handler returned; raise it if it is a failure, as a worker would."""
    if isinstance(result, BaseException):
        raise result
    if result is not None:
        refuse_untaken(result)
    return result


@dataclass(frozen=True, slots=True)
class _Told:
    """Calls an error handler after failed attempts; it may be async if the handler is."""

    handler: ErrorHandler
    may_be_async: bool

    is_async = False

    def wrap(self, call: Call, segment: Segment, contexts: Contexts, run: Run) -> Call:
        def told(i: int) -> object:
            try:
                return _result(call(i))
            except BaseException as error:  # the worker counts all of these as failed attempts
                if lost_by(error) is None:
                    # The traceback then shows where the handler failed, and not what called it.
                    error.with_traceback(users_part(error.__traceback__))
                    context = contexts(i)
                    try:
                        self._tell(context, _message(segment, i), error, run)
                    except BaseException as worse:  # the message's own failure is what counts
                        _log(context, worse)
                raise

        return told

    def _tell(
        self, context: Context, message: Message[bytes | None], error: BaseException, run: Run
    ) -> None:
        with without_pushes("an error handler"):
            answer: object = self.handler(context, message, error)
            if self.may_be_async and inspect.isawaitable(answer):
                answer = run(_awaited(answer))
        refuse_unrun(answer, "the error handler")


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer


def _log(context: Context, error: BaseException) -> None:
    coordinates = {
        "topic": context.topic,
        "partition": context.partition,
        "offset": context.offset,
        "attempt": context.attempt,
    }
    told = type(error), error, users_part(error.__traceback__)
    where = f"{context.topic}[{context.partition}]@{context.offset}"
    text = "the error handler failed on %s"
    _logger.error(text, where, exc_info=told, extra=coordinates)


def _message(segment: Segment, i: int) -> Message[bytes | None]:
    records = segment.records
    timestamp = records.times[i]
    return Message(
        records.values[i],
        None if records.keys is None else records.keys[i],
        *records.partition,
        records.offsets[i],
        None if timestamp < 0 else timestamp / 1000,
        () if records.headers is None else records.headers[i] or (),
    )
