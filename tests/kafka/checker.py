"""Judges offline what a run has done, by its journal and by what Kafka has.

Each function is one promise; it raises AssertionError with the first few records that
break it. Knows nothing of how the run was disturbed. What it cannot see: which member a
commit came from (the broker does not say); a commit by a former owner shows as one that
goes back, or as one of something that nobody has done. Memory is the supervisor's
`peak_memory`, in supervisors.py.
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

from kqworker.core.completion import decode
from tests.kafka.cluster import Committed
from tests.kafka.journal import Attempt, Key
from tests.kafka.records import Commit

# The broker's clock is read to the millisecond, and ours is set against it by one reading.
CLOCK_SLACK = 0.005


def some(broken: Collection[object], limit: int = 5) -> str:
    """The first few, for the text of a failure."""
    shown = ", ".join(str(each) for each in list(broken)[:limit])
    return f"{len(broken)}: {shown}{', …' if len(broken) > limit else ''}"


def by_key(attempts: Iterable[Attempt]) -> dict[Key, list[Attempt]]:
    """Attempts of each message, in their order."""
    found: dict[Key, list[Attempt]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda attempt: attempt.start):
        found[attempt.key].append(attempt)
    return found


def done(attempts: Iterable[Attempt]) -> dict[Key, float]:
    """Messages whose handler returned, and when it did so first."""
    found: dict[Key, float] = {}
    for attempt in attempts:
        if attempt.ok:
            assert attempt.end is not None
            found[attempt.key] = min(attempt.end, found.get(attempt.key, attempt.end))
    return found


def nothing_is_lost(
    produced: Iterable[Key], attempts: Iterable[Attempt], dead: Collection[Key] = ()
) -> None:
    """Every record was handled, or is among the dead letters; none is both."""
    produced, finished, dead = set(produced), set(done(attempts)), set(dead)
    lost = sorted(produced - finished - dead)
    assert not lost, f"lost {some(lost)}"
    both = sorted(finished & dead)
    assert not both, f"handled, and dead-lettered too {some(both)}"
    unknown = sorted((finished | dead) - produced)
    assert not unknown, f"never produced {some(unknown)}"


def all_is_committed(committed: Mapping[int, Committed], ends: Mapping[int, int]) -> None:
    """The group has committed every partition up to its end."""
    missing = {
        partition: (committed[partition].offset if partition in committed else None, end)
        for partition, end in ends.items()
        if end and (partition not in committed or committed[partition].offset != end)
    }
    assert not missing, f"committed, and the end, of partitions: {missing}"


def commits_ascend(history: Iterable[Commit]) -> None:
    """No commit went back."""
    last: dict[tuple[str, int], int] = {}
    for commit in history:
        partition = commit.topic, commit.partition
        before = last.get(partition, 0)
        assert commit.offset >= before, f"went back from {before}: {commit}"
        last[partition] = commit.offset


def commits_cover(
    history: Iterable[Commit], produced: Iterable[Key], finished: Mapping[Key, float]
) -> None:
    """No commit was past, and none marked as done, what was not done at that moment.

    Args:
        finished: When each message was done, in seconds of `time.monotonic()`; of a dead
            letter when it was in its topic.
    """
    clock = time.time() - time.monotonic()
    offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
    for key in sorted(produced):
        offsets[key.topic, key.partition].append(key.offset)
    # By partition, the moment at which all up to each of its records was done.
    reached = {
        partition: _running_maximum(
            [finished.get(Key(*partition, offset), float("inf")) + clock for offset in all_of_it]
        )
        for partition, all_of_it in offsets.items()
    }
    for commit in history:
        partition = commit.topic, commit.partition
        below = bisect_left(offsets[partition], commit.offset)
        if below:
            at = reached[partition][below - 1]
            assert at <= commit.at + CLOCK_SLACK, f"{at - commit.at:.3f} s too early: {commit}"
        marked = decode(commit.metadata, commit.offset) if commit.metadata else None
        for first, end in marked.done if marked is not None else ():
            for offset in range(first, end):
                at = finished.get(Key(*partition, offset), float("inf")) + clock
                assert at <= commit.at + CLOCK_SLACK, f"{offset} was not done: {commit}"


def _running_maximum(numbers: Sequence[float]) -> list[float]:
    highest, result = float("-inf"), []
    for number in numbers:
        highest = max(highest, number)
        result.append(highest)
    return result


def one_at_a_time(attempts: Iterable[Attempt]) -> None:
    """No two attempts of one message ran at once; for one supervisor's life."""
    for key, tries in by_key(attempts).items():
        for one, other in itertools.pairwise(tries):
            assert one.end is None or one.end <= other.start, f"at once: {key} {one} {other}"


def in_order(attempts: Iterable[Attempt], lane: Callable[[Key], Hashable]) -> None:
    """In each lane a message began only when all before it were through.

    Holds for one life of a supervisor without worker deaths in the middle of a message.

    Args:
        lane: The partition, or the partition and the key, of a message.
    """
    last: dict[Hashable, Attempt] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.start):
        name = lane(attempt.key)
        before = last.get(name)
        if before is not None:
            assert before.end is None or before.end <= attempt.start, f"at once: {before} {attempt}"
            again = before.key == attempt.key and attempt.attempt > before.attempt
            onwards = before.key.offset < attempt.key.offset and not before.failed
            assert again or onwards, f"out of order: {before} {attempt}"
        last[name] = attempt


def repeats(attempts: Iterable[Attempt]) -> dict[Key, int]:
    """How often each message was begun beyond what its own failures account for."""
    found = {}
    for key, tries in by_key(attempts).items():
        extra = len(tries) - 1 - sum(attempt.failed for attempt in tries[:-1])
        if extra:
            found[key] = extra
    return found


def every_failure_is_retried(attempts: Iterable[Attempt], last: int) -> None:
    """After a failed attempt comes another with a higher number, up to the last.

    A number is missing where a worker was killed before its handler could write.
    """
    for key, tries in by_key(attempts).items():
        for one, other in itertools.pairwise(tries):
            if one.failed:
                assert other.attempt > one.attempt, f"{key}: {one} {other}"
        final = tries[-1]
        assert not final.failed or final.attempt == last, f"not tried again: {final}"


def charged(attempts: Iterable[Attempt]) -> int:
    """How many attempts the deaths of workers have cost, over all messages."""
    return sum(
        max(0, tries[-1].attempt - 1 - sum(attempt.failed for attempt in tries[:-1]))
        for tries in by_key(attempts).values()
    )


def committed_is_not_repeated(history: Iterable[Commit], attempts: Iterable[Attempt]) -> None:
    """Nothing was begun again of which a commit had said before that it was done."""
    again = {key: tries[-1].start for key, tries in by_key(attempts).items() if len(tries) > 1}
    clock = time.time() - time.monotonic()
    for commit in history:
        marked = decode(commit.metadata, commit.offset) if commit.metadata else None
        runs = [(0, commit.offset), *(marked.done if marked is not None else ())]
        for key, start in again.items():
            if (key.topic, key.partition) == (commit.topic, commit.partition) and any(
                first <= key.offset < end for first, end in runs
            ):
                assert start + clock <= commit.at + CLOCK_SLACK, f"{key} again, after {commit}"
