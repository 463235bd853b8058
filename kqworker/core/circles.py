"""How many records in a row have led to a message, so that none comes round for ever.

What a handler returns or pushes may say in a header how many came before it. To say so on each
record would cost every pipeline; what comes round passes often, so one of many begins to
count, and all that come of that one count on. Nobody writes a pipeline of a hundred results in
a row, so the next one is not produced. A push is a handler's own word, and may well be one of
thousands: it is told, and begins a new row of results. What circles can be seen before the
start, `routing` sees.

Pure. Tested by tests/core/test_circles.py and by every run in tests/sim.
"""

from __future__ import annotations

from collections.abc import Sequence

from kqworker.core.retry import Random
from kqworker.types import Failure, Output, Records

RESULTS, PUSHES = "kqworker-results", "kqworker-pushes"
# Of so many, or up to twice as many: by chance, so that no rhythm keeps one of them out.
EVERY = 16
# A way is told of when a row of so many takes it, then of twice as many, and so on.
TOLD = 50
# A mail server takes at least as many Received lines, for the same reason (RFC 5321, 6.3).
MOST = 100


class Circles:
    """Counts what messages lead to, and remembers of which ways it has told.

    Args:
        random: Decides which begin to count.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._left = {RESULTS: EVERY, PUSHES: EVERY}  # until one begins to count
        self._told: dict[tuple[str, str, str], int] = {}  # from how many on it is told again

    def count(
        self, handler: str, records: Records, outputs: Sequence[Output]
    ) -> tuple[Sequence[Output], Failure | None, Failure | None]:
        """Number what a message has led to.

        Args:
            handler: The handler's name.
            records: The message alone.
            outputs: What it has led to.

        Returns:
            The outputs with their numbers, what to say of them, if anything, and why none
            of them must be produced, if so.
        """
        before = _numbers(records)
        counted: list[Output] = []
        told = over = None
        for output in outputs:
            name = RESULTS if output.returned else PUSHES
            number = before.get(name, 0) + 1
            counts = name in before or self._begins(name)
            if counts or before or output.headers:
                numbers = {name: number} if counts else {}
                if output.returned and PUSHES in before:
                    numbers[PUSHES] = before[PUSHES]
                output = _numbered(output, numbers)
            counted.append(output)
            if number < TOLD:
                continue
            verb = "returns" if output.returned else "pushes"
            way = f"{handler} reads {records.partition.topic} and {verb} to {output.topic}"
            if number >= self._told.get((handler, name, output.topic), TOLD) and told is None:
                self._told[handler, name, output.topic] = 2 * number
                told = Failure("Circle", f"at least {number:,} in a row: {way}")
            if output.returned and number > MOST:
                over = Failure("Circle", f"more than {MOST} results in a row: {way}")
        return counted, told, over

    def _begins(self, name: str) -> bool:
        self._left[name] -= 1
        if self._left[name]:
            return False
        self._left[name] = EVERY + int(self._random.random() * EVERY)
        return True


def is_count(name: str) -> bool:
    """Return whether a header is a number of this module."""
    return name in (RESULTS, PUSHES)


def _numbered(output: Output, numbers: dict[str, int]) -> Output:
    # A handler may have copied the numbers of its message.
    own = [header for header in output.headers if not is_count(header[0])]
    if not numbers and len(own) == len(output.headers):
        return output
    return Output(
        output.topic,
        output.value,
        output.key,
        (*own, *((name, b"%d" % number) for name, number in numbers.items())),
        output.partition,
        output.timestamp,
        output.returned,
    )


def _numbers(records: Records) -> dict[str, int]:
    """Return of how many results, and of how many pushes in a row a message comes, if known."""
    headers = records.headers[0] if records.headers is not None else None
    if not headers:
        return {}
    found = {name: number_of(value) for name, value in headers if is_count(name)}
    return {name: number for name, number in found.items() if number}


def number_of(text: bytes | None) -> int:
    """Return the number in a header; 0 if it is none of ours."""
    return int(text) if text is not None and text.isdigit() and len(text) < 9 else 0
