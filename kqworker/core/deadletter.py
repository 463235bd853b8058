"""What a dead letter looks like: the record as it came, and headers that say why.

Pure. Tested by tests/core/test_deadletter.py.
"""

from __future__ import annotations

from dataclasses import replace

from kqworker.core.circles import is_count, number_of
from kqworker.types import Failure, Output, Records

PREFIX = "kqworker-"
TRUNCATED = PREFIX + "truncated"
# A record that was a dead letter so often may come round for ever: it is told, and at last it is
# none any more. A replay of dead letters comes less often.
TOLD_ROUNDS = 4
ROUNDS = 32


def dead_letter(
    topic: str, records: Records, index: int, attempts: int, handler: str, failure: Failure
) -> Output:
    """Return the record at `index` as it came, bound for `topic`.

    Its own headers come first, with how many results and pushes led to it, and without those
    of an earlier dead letter; then
    `kqworker-` headers: topic, partition, offset, timestamp (ms), handler, attempts,
    error-type, error-text, error-traceback; and from the second dead letter of a record on
    round, which says how many it was before.
    """
    own = records.headers[index] if records.headers is not None else None
    before = _rounds(records, index)
    told = {
        "topic": records.partition.topic,
        "partition": str(records.partition.partition),
        "offset": str(records.offsets[index]),
        "timestamp": str(records.times[index]),
        "handler": handler,
        "attempts": str(attempts),
        "error-type": failure.type,
        "error-text": failure.text,
        "error-traceback": failure.traceback,
    }
    headers = [
        (name, value) for name, value in own or () if not name.startswith(PREFIX) or is_count(name)
    ]
    if before:
        told["round"] = str(before)
    headers += [(PREFIX + name, text.encode("utf-8", "replace")) for name, text in told.items()]
    return Output(
        topic=topic,
        value=records.values[index],
        key=records.keys[index] if records.keys is not None else None,
        headers=tuple(headers),
    )


def comes_round(records: Records, index: int, way: str) -> tuple[Failure | None, bool]:
    """Return what to say of a record that is a dead letter again and again, if anything.

    Args:
        records: The record stands among them.
        index: Which it is.
        way: Whose dead letter it is to be now, and where it is to go.

    Returns:
        What to say, now and then, and whether it has come round often enough.
    """
    before = _rounds(records, index)
    if before < TOLD_ROUNDS or (before < ROUNDS and before & (before - 1)):
        return None, False
    told = _told(records, index)
    handler, topic = told.get("handler") or b"?", told.get("topic") or b"?"
    last = f"{handler.decode(errors='replace')} ({topic.decode(errors='replace')})"
    text = f"a dead letter {before} times before: the last time from {last}, now from {way}"
    return Failure("Circle", text), before >= ROUNDS


def _rounds(records: Records, index: int) -> int:
    told = _told(records, index)
    return number_of(told.get("round")) + 1 if "topic" in told else 0


def _told(records: Records, index: int) -> dict[str, bytes | None]:
    own = records.headers[index] if records.headers is not None else None
    return {
        name.removeprefix(PREFIX): value for name, value in own or () if name.startswith(PREFIX)
    }


def shortened(letter: Output) -> Output:
    """Return a dead letter without its error's text and traceback.

    What was added to a record may be what makes it too large for its topic.
    """
    long = {PREFIX + "error-text", PREFIX + "error-traceback"}
    return replace(letter, headers=tuple(h for h in letter.headers if h[0] not in long))


def truncated(letter: Output) -> Output | None:
    """Return a dead letter with the first half of its value, marked; None if there is none.

    The header `kqworker-truncated` has the bytes that the value had in all. The record itself
    is where `kqworker-topic`, `-partition` and `-offset` say.
    """
    if not letter.value:
        return None
    headers = letter.headers
    if not any(name == TRUNCATED for name, _ in headers):
        headers = (*headers, (TRUNCATED, str(len(letter.value)).encode()))
    return replace(letter, value=letter.value[: len(letter.value) // 2], headers=headers)
