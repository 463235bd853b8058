"""One handler of an app: the user's function, what it listens to, and its policies.

Decides what may be declared, and refuses the rest at decoration, with file and line. A
handler stays callable as the plain function. Knows nothing of Kafka or processes.
Tested by tests/app/test_handler.py.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from kqworker.app.around import Around
from kqworker.app.binding import Bind, compile_binding
from kqworker.app.context import Context, Push
from kqworker.app.delivery import Delivery
from kqworker.app.payload import (
    HeadersLike,
    Output,
    make_output,
    refuse_unrun,
    refuse_untaken,
    topic_fault,
)
from kqworker.app.signature import (
    Role,
    Signature,
    has_yield,
    is_async,
    plain_function,
    read_signature,
    settled,
)
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.errors import ConfigError
from kqworker.settings.values import did_you_mean
from kqworker.types import Ordering, Segment
from kqworker.types import Output as Record

P = ParamSpec("P")
R = TypeVar("R")


class Handler(Generic[P, R]):
    """A function that handles the messages of a topic; made by `@app.handler`.

    Calling it calls the function. It pickles by name, like a function.

    Attributes:
        function: The plain function.
        name: `module.qualname`, or as given; unique in its app.
        topic: A topic's name, or a pattern that begins with "^".
        ordering: Which of its messages may run at the same time.
        retry: How often a message is tried, and when again.
        dead_letter: The topic for messages out of attempts; None logs and accepts them.
        dead_letter_overflow: What becomes of a dead letter that is larger than its topic takes.
        time_limit: Seconds that one message may run; None for no limit.
        output: The topic for what the function returns; None drops all but an `Output`.
        is_async: Whether a call returns a coroutine.
        payload: The type that values are decoded to, as it is written.
        app_push: The push of its app.
        around: What is around its calls in a worker, the outermost first.
        final: An exception of the function, except `RetryLater`, fails the message for good.
    """

    final = False

    def __init__(
        self,
        app_push: Push,
        function: Callable[P, R],
        *,
        topic: str,
        ordering: Ordering | str,
        retry: Retry | None,
        dead_letter: str | None,
        dead_letter_overflow: str = "truncate",
        time_limit: float | None,
        output: str | None,
        name: str | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.app_push = app_push
        self.around: tuple[Around, ...] = ()
        self.function = function
        self.name = self._checked_name(name)
        self._refuse_what_cannot_be_called()
        self.is_async = is_async(function)
        self.topic = topic
        self._pattern = self._checked_topic()
        self.ordering = self._checked_ordering(ordering)
        self.retry = self._checked_retry(retry)
        self.dead_letter = self._checked_dead_letter(dead_letter)
        self.dead_letter_overflow = self._checked_overflow(dead_letter_overflow)
        self.time_limit = self._checked_time_limit(time_limit)
        self.output = self._checked_output(output)
        try:
            self._signature = self._asked_for()
        except TypeError as error:
            raise self.refusal(str(error)) from error
        self.payload = self._signature.payload
        self._bind = self._compiled()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Handler {self.name} of {self.topic!r}>"

    def __reduce_ex__(self, protocol: Any) -> Any:  # Any: as object's own
        # An object of __main__, a notebook or a closure has no name in another process. It is
        # pickled by value, which cloudpickle can do and pickle refuses.
        module, qualname = self.__module__, getattr(self, "__qualname__", None)
        if module != "__main__" and qualname is not None and "<" not in qualname:
            try:
                by_name = _look_up(module, qualname)
            except (ImportError, AttributeError):
                by_name = None
            if by_name is self:
                return _look_up, (module, qualname)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_bind"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._bind = self._compiled()

    def _asked_for(self) -> Signature:
        return read_signature(self.function)

    def _compiled(self) -> Bind:
        return compile_binding(settled(self.function), self._signature)

    @property
    def where(self) -> str:
        """The file and line of the function, for error texts."""
        return locate(self.function)

    @property
    def policy(self) -> HandlerPolicy:
        """What the core must know about it."""
        return HandlerPolicy(
            name=self.name,
            topic=self.topic,
            ordering=self.ordering,
            retry=self.retry,
            dead_letter=self.dead_letter,
            time_limit=self.time_limit,
            final=self.final,
            dead_letter_overflow=self.dead_letter_overflow,
        )

    @property
    def needs_timestamps(self) -> bool:
        """Whether a message's time is used: by a parameter that is a Message, or a dead letter."""
        roles = [parameter.role for parameter in self._signature.parameters]
        return Role.MESSAGE in roles or self.dead_letter is not None

    def bind(self, segment: Segment, context: Callable[[int], Context]) -> Callable[[int], object]:
        """Return the function that decodes message `i` of a segment and calls the handler.

        It returns what the handler does, for an async handler its coroutine. It raises
        `DecodeError` if the payload is not what the signature asks for.

        Args:
            segment: Messages of one partition.
            context: Makes the `Context` of message `i`; called only by handlers that ask.
        """
        return self._bind(segment, context)

    def encode_result(self, result: object, key: bytes | None = None) -> Record | None:
        """Return the record for what the handler returned, or None if there is none.

        Args:
            result: What it returned.
            key: The message's key; the record gets it, unless the result says otherwise.

        Raises:
            TypeError: The result has no bytes, is work that nobody has run, has no topic, or is
                an error that was not raised.
            ValueError: It holds a number that is not finite, or a name that Kafka does not take.
        """
        if result is None:
            return None
        if not isinstance(result, Output):
            if self.output is None:
                refuse_untaken(result)
                return None
            refuse_unrun(result)
            return make_output(self.output, result, key, returned=True)
        refuse_unrun(result.value)
        topic = self.output if result.topic is None else result.topic
        if topic is None:
            raise TypeError(
                "the handler returned an Output without a topic: write Output(…, topic=…), or "
                "output=… where the handler is declared"
            )
        kept = key if result.key is ... else result.key
        return make_output(topic, result.value, kept, result.headers, result.partition, True)

    def push(
        self,
        value: object,
        *,
        key: str | bytes | None = None,
        headers: HeadersLike | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Push a value to the handler's own topic; see `App.push`.

        Raises:
            ConfigError: The handler's topic is a pattern.
        """
        if self._pattern is not None:
            raise self.refusal(f"topic {self.topic!r} is a pattern: push with app.push(topic, …)")
        return self.app_push(self.topic, value, key=key, headers=headers, partition=partition)

    def refusal(self, text: str) -> ConfigError:
        """Return an error about this handler, with its file and line."""
        return ConfigError(f"{self.where}: handler {self.name}: {text}")

    # What may be declared

    def _checked_name(self, name: str | None) -> str:
        if name is None:
            module = getattr(self.function, "__module__", None)
            qualname = getattr(self.function, "__qualname__", None)
            if module is None or qualname is None or qualname.endswith("<lambda>"):
                raise ConfigError(
                    f"{self.where}: a lambda, a partial or an object has no name of its own: "
                    'give it one, name="…"'
                )
            return f"{module}.{qualname.replace('<locals>.', '')}"
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ConfigError(f"{self.where}: name={name!r}: must be printable text, not empty")
        return name

    def _refuse_what_cannot_be_called(self) -> None:
        function = self.function
        if isinstance(function, type) or not callable(function):
            raise self.refusal("it is not a function: decorate a function, def or async def")
        if isinstance(function, staticmethod):
            raise self.refusal("decorate a function of the module, not a static method")
        if has_yield(function):
            raise self.refusal(
                "it has a yield, so a call would run nothing: return one value, or push several "
                "by Context.push"
            )
        outer, _, own = getattr(function, "__qualname__", "").rpartition(".")
        if isinstance(function, types.FunctionType) and outer and not outer.endswith("<locals>"):
            raise self.refusal(
                "it is a method, and no object would be there to call it on: make it a function, "
                f"or register a bound one, app.handler(…)({outer.rpartition('.')[2]}(…).{own})"
            )

    def _checked_topic(self) -> re.Pattern[str] | None:
        if isinstance(self.topic, str) and self.topic.startswith("^"):
            try:
                return re.compile(self.topic)
            except re.error as error:
                raise self.refusal(
                    f"topic {self.topic!r} is not a regular expression: {error}"
                ) from error
        fault = topic_fault(self.topic)
        if fault:
            raise self.refusal(f'{fault}; a pattern begins with "^"')
        return None

    def _checked_ordering(self, ordering: Ordering | str) -> Ordering:
        try:
            return Ordering(ordering)
        except ValueError:
            names = [member.value for member in Ordering]
            hint = did_you_mean(str(ordering), names)
            raise self.refusal(
                f"ordering={ordering!r}: must be one of {', '.join(names)}{hint}"
            ) from None

    def _checked_retry(self, retry: Retry | None) -> Retry:
        if retry is None:
            return Retry()
        if isinstance(retry, Retry):
            return retry
        number = type(retry) is int and retry >= 1
        raise self.refusal(
            f"retry={retry!r}: must be a Retry; write "
            f"retry=Retry(attempts={retry if number else 3})"
        )

    def _checked_dead_letter(self, topic: str | None) -> str | None:
        if topic is None:
            return None
        fault = topic_fault(topic)
        if fault:
            raise self.refusal(f"dead_letter: {fault}")
        # A dead letter that returns to its own handler would go round for ever.
        if topic == self.topic:
            raise self.refusal(f"dead_letter={topic!r} is its own topic: name another one")
        if self._pattern is not None and self._pattern.search(topic):
            raise self.refusal(
                f"dead_letter={topic!r} is matched by its own topic pattern {self.topic!r}: "
                "choose a name outside of it"
            )
        return topic

    def _checked_overflow(self, overflow: str) -> str:
        if overflow not in ("truncate", "stall"):
            raise self.refusal(f"dead_letter_overflow={overflow!r}: must be 'truncate' or 'stall'")
        return overflow

    def _checked_time_limit(self, seconds: float | None) -> float | None:
        if seconds is None:
            return None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise self.refusal(f"time_limit={seconds!r}: must be seconds, a number above 0")
        if not 0 < seconds < math.inf:
            raise self.refusal(
                f"time_limit={seconds!r}: must be seconds above 0; leave it out for no limit"
            )
        return float(seconds)

    def _checked_output(self, topic: str | None) -> str | None:
        if topic is None:
            return None
        fault = topic_fault(topic)
        if fault:
            raise self.refusal(f"output: {fault}")
        return topic


def locate(function: object) -> str:
    """Return `file:line` of a function, the file as seen from here."""
    plain = plain_function(function)
    if plain is None:
        return f"<{getattr(function, '__module__', None) or 'unknown'}>"
    return place(plain.__code__.co_filename, plain.__code__.co_firstlineno)


def place(filename: str, line: int) -> str:
    """Return `file:line`, the file as seen from the current directory."""
    path, here = Path(filename), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


def _look_up(module: str, qualname: str) -> object:
    """Return what `module.qualname` names; how a handler is unpickled."""
    found: object = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found
