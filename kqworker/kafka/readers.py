"""Which runs read from the built-in broker. A push must know them: the broker drops the oldest.

Decides where a run says which group reads which topics: beside the broker's address. The entry
stays when the run ends, because its group's commits stay. What that group has not handled must not
be dropped, until a run of another group reads the topic. Knows nothing of offsets.
Tested by tests/kafka_unit/test_readers.py.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kqworker.kafka.devbroker import lives, read_announcement, runtime_directory, write_announcement

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Reader:
    """A run that reads, or has read, from the built-in broker.

    Attributes:
        group: Its consumer group.
        topics: Names, and patterns, which begin with `^`.
        from_end: Whether the group begins at the end without a commit.
        lives: Whether the run has not ended.
    """

    group: str
    topics: tuple[str, ...]
    from_end: bool
    lives: bool

    def reads(self, topic: str) -> bool:
        """Return whether it reads a topic."""
        return any(
            re.search(name, topic) is not None if name.startswith("^") else name == topic
            for name in self.topics
        )


@contextlib.contextmanager
def published(address: str, group: str, topics: Sequence[str], offset: str) -> Iterator[None]:
    """Tell pushes that this process reads.

    Args:
        address: The broker's.
        group: The consumer group.
        topics: Names, and patterns, which begin with `^`.
        offset: Where the group begins without a commit.

    Raises:
        ConfigError: The runtime directory is not this user's alone.
    """
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    said = {"address": address, "group": group, "topics": list(topics), "offset": offset}
    for path, other in _announcements(folder):
        # The new entry replaces those of ended runs that say the same.
        if not _lives(other) and (other["address"] != address or said.items() <= other.items()):
            path.unlink(missing_ok=True)
    path = folder / f"{os.getpid()}-{next(_numbers)}.json"
    write_announcement(path, said, os.getpid())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            write_announcement(path, {**said, "ended": True}, os.getpid())


def readers(address: str, topic: str) -> list[Reader]:
    """Return the runs that read or have read a topic of the built-in broker; never raise."""
    found = []
    with contextlib.suppress(OSError):
        for _, said in _announcements(_folder()):
            if said["address"] != address:
                continue
            topics = said["topics"]
            assert isinstance(topics, list)
            reader = Reader(
                str(said["group"]),
                tuple(map(str, topics)),
                said["offset"] == "latest",
                _lives(said),
            )
            if reader.reads(topic):
                found.append(reader)
    return found


def _lives(said: dict[str, object]) -> bool:
    return "ended" not in said and lives(said)


def _folder() -> Path:
    return runtime_directory() / "readers"


def _announcements(folder: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    for path in sorted(folder.glob("*.json")):
        said = read_announcement(path)
        if said is not None and said.keys() >= {"group", "topics", "offset"}:
            yield path, said
