"""How a broken promise is raised, and which of them are looked at.

Knows nothing of what is promised: the checks do that, in `invariants` and `work`.
"""

from __future__ import annotations


class Violation(AssertionError):
    """The supervisor broke a promise."""


# Only violations that begin so are raised, all by default: planted faults are judged by the
# invariant that they break alone, so that none hides behind the others.
judged = ""
# But for these: without them a seed goes on for ever.
ENDLESS = ("a busy loop", "(6) it does not end", "(6) it never ends")


def must(true: object, text: str, *about: object) -> None:
    """Raise `Violation` with a text, unless what must be true is."""
    if not true and (text.startswith(judged) or text.startswith(ENDLESS)):
        raise Violation(f"{text}: {', '.join(map(repr, about))}")
