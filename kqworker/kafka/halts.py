"""Why a partition stands still, and when to ask for it or try it again.

places.py decides what is done about it.
Tested by tests/kafka_unit/test_member.py.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from confluent_kafka import KafkaError


class Why(enum.Enum):
    """Why a partition stands still."""

    UNKNOWN = "where it begins is not known yet"
    OUTSIDE = "its position is not in the log"
    UNREADABLE = "what comes next cannot be read"


@dataclass(slots=True)
class Halt:
    """A partition that stands still.

    Attributes:
        why: What it waits for.
        due: When to ask, or to try, again.
        errors: How often librdkafka reported an error at this place.
        past: The first readable offset behind it, if one was found.
        trying: It is read again, without a result so far.
        lacking: It goes on with the very next offset or not at all: what was read contradicts
            itself, so a gap may hide damaged messages.
        silent: librdkafka says nothing, and no message comes.
    """

    why: Why
    due: float
    errors: int = 0
    past: int | None = None
    trying: bool = False
    lacking: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """An error of a partition, as librdkafka or this module has found it.

    Attributes:
        error: What is wrong.
        offset: The offset at which it is.
        lacking: As in `Halt`.
    """

    error: KafkaError
    offset: int | None
    lacking: bool = False
