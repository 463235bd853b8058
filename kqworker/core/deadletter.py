"""What a dead letter looks like: the record as it came, and headers that say why.

Pure. Tested by tests/core/test_deadletter.py.
"""

from __future__ import annotations

from dataclasses import replace

from kqworker.types import Failure, Output, Records

PREFIX = "kqworker-"


def dead_letter(
    topic: str, records: Records, index: int, attempts: int, handler: str, failure: Failure
) -> Output:
    """Return the record at `index` as it came, bound for `topic`.

    Its own headers come first, without those of an earlier dead letter; then
    `kqworker-` headers: topic, partition, offset, timestamp (ms), handler, attempts,
    error-type, error-text, error-traceback.
    """
    own = records.headers[index] if records.headers is not None else None
    told = {
        "topic": records.partition.topic,
        "partition": str(records.partition.partition),
        "offset": str(records.offsets[index]),
        "timestamp": str(records.timestamps[index]),
        "handler": handler,
        "attempts": str(attempts),
        "error-type": failure.type,
        "error-text": failure.text,
        "error-traceback": failure.traceback,
    }
    headers = [(name, value) for name, value in own or () if not name.startswith(PREFIX)]
    headers += [(PREFIX + name, text.encode("utf-8", "replace")) for name, text in told.items()]
    return Output(
        topic=topic,
        value=records.values[index],
        key=records.keys[index] if records.keys is not None else None,
        headers=tuple(headers),
    )


def shortened(letter: Output) -> Output:
    """Return a dead letter without its error's text and traceback.

    What was added to a record may be what makes it too large for its topic.
    """
    long = {PREFIX + "error-text", PREFIX + "error-traceback"}
    return replace(letter, headers=tuple(h for h in letter.headers if h[0] not in long))
