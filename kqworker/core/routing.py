"""Which handler a topic belongs to: its own name first, then the patterns in order.

And whether what handlers produce comes round. Pure. Tested by tests/core/test_routing.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from kqworker.core.policy import HandlerPolicy
from kqworker.errors import BugError


class Routes:
    """Topics to handlers.

    Args:
        policies: The handlers, in the app's order; a topic that begins with "^" is a
            regular expression, searched for in the whole topic as librdkafka does: in
            "^a|b" the caret holds for the "a" alone.
    """

    def __init__(self, policies: Sequence[HandlerPolicy]) -> None:
        # Patterns too, which does no harm: no topic's name has a caret.
        self._known = {policy.topic: i for i, policy in enumerate(policies)}
        self._patterns = [
            (re.compile(p.topic), i) for i, p in enumerate(policies) if p.topic.startswith("^")
        ]

    def handler(self, topic: str) -> int:
        """Return the index of the handler for a topic.

        Raises:
            BugError: No handler asked for that topic.
        """
        found = self.reader(topic)
        if found is None:
            raise BugError(f"topic {topic!r} was assigned, but no handler asked for it")
        return found

    def reader(self, topic: str) -> int | None:
        """Return the index of the handler for a topic; None if none asks for it."""
        found = self._known.get(topic)
        if found is None:
            found = next((i for pattern, i in self._patterns if pattern.search(topic)), None)
            if found is not None:
                self._known[topic] = found
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """What a handler produces, and another one reads, or itself.

    Attributes:
        handler: The index of the handler.
        by: How it produces: `dead_letter` or `output`.
        topic: Where to.
        reader: The index of the handler that reads it.
    """

    handler: int
    by: str
    topic: str
    reader: int


def circle(policies: Sequence[HandlerPolicy], outputs: Sequence[str | None]) -> list[Step]:
    """Return the shortest way by which something comes back to its handler; empty without one.

    Args:
        policies: The handlers.
        outputs: The topic of each one's results.
    """
    routes = Routes(policies)
    steps: list[list[Step]] = []
    for i, policy in enumerate(policies):
        produced = ("dead_letter", policy.dead_letter), ("output", outputs[i])
        read = [(by, to, routes.reader(to)) for by, to in produced if to is not None]
        steps.append([Step(i, by, to, reader) for by, to, reader in read if reader is not None])
    ways = [[step] for step in chain.from_iterable(steps)]
    # A way that is longer than there are handlers has a shorter one in it.
    for _ in policies:
        for way in ways:
            if way[-1].reader == way[0].handler:
                return way
        ways = [[*way, step] for way in ways for step in steps[way[-1].reader]]
    return []
