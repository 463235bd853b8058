"""What is around the call of a handler: an app's middleware, and what a queue adds.

Decides the order of the calls, and which of them run on the event loop.
Applied once a segment, so that a handler without any pays nothing for it. Tested by
tests/app/test_around.py; on Apache Kafka by tests/kafka/test_middleware.py.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from kqworker.app.context import Context
from kqworker.app.signature import cannot_be_called, has_yield, is_async, settled
from kqworker.types import Segment

# Handles message `i` of a segment. Any: it returns what the handler does.
Call = Callable[[int], Any]
Contexts = Callable[[int], Context]
# Any: nothing is sent in
Run = Callable[[Coroutine[Any, Any, object]], object]


class Around(Protocol):
    """Something around the calls of a handler."""

    @property
    def is_async(self) -> bool:
        """Whether its calls, and those inside, return coroutines."""
        ...

    def wrap(self, call: Call, segment: Segment, contexts: Contexts, run: Run) -> Call:
        """Return the function that handles message `i` of a segment, with this around it.

        Args:
            call: The call inside.
            segment: Messages of one partition.
            contexts: Makes the `Context` of message `i`.
            run: Runs a coroutine to its end; not for something that is async itself.
        """
        ...


class Handles(Protocol):
    """A handler, as `serve` needs it."""

    @property
    def is_async(self) -> bool:
        """Whether a call returns a coroutine."""
        ...

    @property
    def around(self) -> tuple[Around, ...]:
        """What is around its calls, the outermost first."""
        ...

    def bind(self, segment: Segment, context: Contexts) -> Call:
        """Return the function that handles message `i`."""
        ...


def serve(handler: Handles, segment: Segment, contexts: Contexts, run: Run) -> Call:
    """Return the function that handles message `i` of a segment, to its end.

    Async ones are innermost: the others are called around the event loop, and not on it.
    """
    call = handler.bind(segment, contexts)
    on_the_loop = handler.is_async
    for around in reversed(handler.around):
        if on_the_loop and not around.is_async:
            call, on_the_loop = _to_its_end(call, run), False
        call = around.wrap(call, segment, contexts, run)
    return _to_its_end(call, run) if on_the_loop else call


def _to_its_end(call: Call, run: Run) -> Call:
    return lambda i: run(call(i))


@dataclass(frozen=True, slots=True)
class Middleware:
    """A function of an app around the calls of all its handlers.

    Attributes:
        function: Takes the `Context` of a message, and a function that calls the handler.
        is_async: Whether both return coroutines.
    """

    function: Callable[[Context, Callable[[], Any]], object]  # Any: what the handler returns
    is_async: bool

    def wrap(self, call: Call, segment: Segment, contexts: Contexts, run: Run) -> Call:
        """Return the function that calls it for message `i`."""
        function = self.function
        return lambda i: function(contexts(i), partial(call, i))


def read_middleware(function: Callable[..., object]) -> Middleware:
    """Return a function as middleware.

    Raises:
        ValueError: It cannot be called as such; the text says why.
    """
    why = cannot_be_called(function, 2)
    if why is not None:
        raise ValueError(f"@middleware: it must be a function (context, call): {why}")
    if has_yield(function):
        raise ValueError(
            "@middleware: it has a yield, so a call would run nothing: call `call()` in its place"
        )
    return Middleware(settled(function), is_async(function))
