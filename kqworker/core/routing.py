"""Which handler a topic belongs to: its own name first, then the patterns in order.

Pure. Tested by tests/core/test_routing.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
            BugError: Nobody asked for that topic.
        """
        found = self._known.get(topic)
        if found is None:
            found = next((i for pattern, i in self._patterns if pattern.search(topic)), None)
            if found is None:
                raise BugError(f"topic {topic!r} was assigned, but no handler asked for it")
            self._known[topic] = found
        return found
