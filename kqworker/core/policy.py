"""What the core must know of each handler.

Pure. Tested through tests/core/test_supervisor.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kqworker.core.retry import Retry
from kqworker.types import Ordering


@dataclass(frozen=True, slots=True)
class HandlerPolicy:
    """The delivery policies of one handler.

    Attributes:
        name: The handler's name, for reports and dead letters.
        topic: A topic's name, or a pattern that begins with "^".
        ordering: Which of its messages may run at the same time.
        retry: How often, and when again.
        dead_letter: The topic for messages out of attempts; None logs and accepts them.
        time_limit: Seconds that one message may run; None for ever.
        final: What the handler raises fails the message for good, and the attempts of
            `retry` are for those on which a worker dies. The worker sees to it.
        dead_letter_overflow: What becomes of a dead letter that is larger than its topic
            takes: "truncate" cuts its value until it fits, "stall" holds its message until
            the topic takes it.
    """

    name: str
    topic: str
    ordering: Ordering = Ordering.UNORDERED
    retry: Retry = field(default_factory=Retry)
    dead_letter: str | None = None
    time_limit: float | None = None
    final: bool = False
    dead_letter_overflow: str = "truncate"
