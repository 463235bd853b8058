"""The frames between a supervisor and its workers.

A frame is a header (length of the body, checksum, kind) and a body in MessagePack, with
messages as columns: no object per message crosses. The checksum covers the header, and the
body too unless it is a task: what a worker sends is read by a process that must live on,
whatever code of others has written into the socket, while payloads are many bytes.
Decides the bytes, nothing else: knows no socket, no event, no process.
Tested by tests/wire.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final, Generic, TypeVar
from zlib import crc32

import msgspec

from kqworker.types import (
    Failure,
    Headers,
    Ordering,
    Outcome,
    Records,
    Segment,
    Task,
    TopicPartition,
)

HEADER: Final = struct.Struct("<IIB")  # bytes of the body, checksum, kind
CHECKED_FROM: Final = 8  # kind and body stand together
MAX_BODY: Final = 256 << 20
MAX_TASK: Final = 2**39
MAX_INDEX: Final = 2**24

TASK, STOP, READY, BOOT_FAILED, ANSWER, SILENCED = range(1, 7)


class WireError(ValueError):
    """The other side's bytes are no frames; nothing after them can be trusted."""


class FrameTooLarge(ValueError):
    """What was to be sent does not fit a frame."""


class Stop(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """To a worker: finish what you have, run the stop hooks, end."""


class Ready(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """From a worker: it has booted."""

    pid: Annotated[int, msgspec.Meta(ge=1)]


class BootFailed(msgspec.Struct, array_like=True, frozen=True):
    """From a worker: it could not boot, and ends now."""

    failure: Failure


class Silenced(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """From a worker: what it prints is lost; it begins no message from here on.

    Attributes:
        reason: Why, for people.
    """

    reason: str


_TaskId = Annotated[int, msgspec.Meta(ge=1, lt=MAX_TASK)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=MAX_INDEX)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Answer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """From a worker: what became of messages of a task.

    Attributes:
        task: The task's id.
        outcomes: What is more than a plain accept.
        complete: The worker is done with the task.
        unstarted: Indices, ascending, that it hands back; none is named twice for a task.
        seconds: How long it ran the task, when complete.
    """

    task: _TaskId
    outcomes: tuple[Outcome, ...] = ()
    complete: bool = False
    unstarted: tuple[_Index, ...] = ()
    seconds: float = 0.0


ToWorker = Task | Stop
ToSupervisor = Ready | BootFailed | Answer | Silenced


# A task's body: its messages as columns.


class _Segment(msgspec.Struct, array_like=True, frozen=True, gc=False):
    topic: str
    partition: int
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    first: int
    offsets: list[int] | None  # None: consecutive from `first`
    values: Annotated[list[bytes | None], msgspec.Meta(min_length=1)]
    keys: list[bytes | None] | None
    timestamps: list[int] | None
    headers: list[list[tuple[str, bytes | None]] | None] | None
    size: _Count


class _Task(msgspec.Struct, array_like=True, frozen=True, gc=False):
    id: _TaskId
    handler: _Count
    ordering: Ordering
    segments: Annotated[list[_Segment], msgspec.Meta(min_length=1)]


# Encoding

_encoder = msgspec.msgpack.Encoder()


def _frame(kind: int, body: msgspec.Struct) -> bytearray:
    frame = bytearray(HEADER.size)
    _encoder.encode_into(body, frame, HEADER.size)
    size = len(frame) - HEADER.size
    if size > MAX_BODY:
        raise FrameTooLarge(f"{size:,} bytes are more than a frame takes ({MAX_BODY:,})")
    frame[CHECKED_FROM] = kind
    with memoryview(frame) as view:
        checksum = _checksum(view, size, kind)
    HEADER.pack_into(frame, 0, size, checksum, kind)
    return frame


def _checksum(frame: memoryview, size: int, kind: int) -> int:
    """Return the checksum of a whole frame; its length is the value that the crc begins with."""
    stop = HEADER.size if kind == TASK else HEADER.size + size
    return crc32(frame[CHECKED_FROM:stop], size)


def encode_task(task: Task) -> bytearray:
    """Return the frame that hands a task to a worker.

    Raises:
        FrameTooLarge: Its messages do not fit.
    """
    return _frame(
        TASK,
        _Task(task.id, task.handler, task.ordering, [_columns(s) for s in task.segments]),
    )


def _columns(segment: Segment) -> _Segment:
    records = segment.records
    offsets = records.offsets
    consecutive = isinstance(offsets, range) and offsets.step == 1
    return _Segment(
        records.partition.topic,
        records.partition.partition,
        segment.attempt,
        offsets[0],
        None if consecutive else _listed(offsets),
        _listed(records.values),
        None if records.keys is None else _listed(records.keys),
        None if records.timestamps is None else _listed(records.timestamps),
        None
        if records.headers is None
        else [None if headers is None else _listed(headers) for headers in records.headers],
        records.size,
    )


_T = TypeVar("_T")


def _listed(column: Iterable[_T]) -> list[_T]:
    return column if isinstance(column, list) else list(column)


def encode_stop() -> bytearray:
    """Return the frame that asks a worker to end."""
    return _frame(STOP, Stop())


def encode_ready(pid: int) -> bytearray:
    """Return the frame of a worker that has booted."""
    return _frame(READY, Ready(pid))


def encode_boot_failed(failure: Failure) -> bytearray:
    """Return the frame of a worker that cannot boot."""
    return _frame(BOOT_FAILED, BootFailed(failure))


def encode_silenced(reason: str) -> bytearray:
    """Return the frame of a worker whose standard output or error takes nothing any more."""
    return _frame(SILENCED, Silenced(reason))


def encode_answer(answer: Answer) -> bytearray:
    """Return the frame of a worker's answer.

    Raises:
        FrameTooLarge: Its outputs do not fit.
        ValueError, TypeError, OverflowError: An output holds what MessagePack cannot, such
            as a lone surrogate or a partition beyond 64 bits.
    """
    return _frame(ANSWER, answer)


# Decoding

_decode_task = msgspec.msgpack.Decoder(_Task).decode


def _to_task(body: memoryview) -> Task:
    task = _decode_task(body)
    return Task(task.id, task.handler, task.ordering, tuple(map(_to_segment, task.segments)))


def _to_segment(columns: _Segment) -> Segment:
    count = len(columns.values)
    offsets = columns.offsets
    headers: list[Headers | None] | None = None
    if columns.headers is not None:
        headers = [*columns.headers]
    for column in (offsets, columns.keys, columns.timestamps, headers):
        if column is not None and len(column) != count:
            raise WireError(f"a column of {len(column)} beside {count} values")
    records = Records(
        TopicPartition(columns.topic, columns.partition),
        range(columns.first, columns.first + count) if offsets is None else offsets,
        columns.values,
        columns.keys,
        columns.timestamps,
        headers,
        columns.size,
    )
    return Segment(records, columns.attempt)


F = TypeVar("F")


class Parser(Generic[F]):
    """Cuts a stream of bytes into frames.

    Whole frames that stand before bad bytes are still returned: the error is raised by
    the call that finds it first, or by the next one, and from then on by every call.

    Args:
        kinds: What this side may be sent, and how it is decoded.
    """

    __slots__ = ("_buffer", "_error", "_kinds")

    def __init__(self, kinds: Mapping[int, Callable[[memoryview], F]]) -> None:
        self._kinds = kinds
        self._buffer = bytearray()
        self._error: WireError | None = None

    @property
    def broken(self) -> bool:
        """Whether bad bytes were found; the next `feed` raises."""
        return self._error is not None

    def feed(self, data: bytes | bytearray | memoryview) -> list[F]:
        """Take bytes in; return the frames that they complete.

        Raises:
            WireError: The bytes are no frames.
        """
        if self._error is not None:
            raise self._error
        frames: list[F] = []
        buffer = self._buffer
        if buffer:
            buffer += data
        # A read mostly brings whole frames: those are taken from where they are.
        with memoryview(buffer or data) as view:
            try:
                used = self._cut(view, frames)
            except WireError as error:
                self._error = error
                if not frames:
                    raise
                return frames
            rest = b"" if buffer else bytes(view[used:])
        if buffer:
            del buffer[:used]
        else:
            buffer += rest
        return frames

    def _cut(self, view: memoryview, frames: list[F]) -> int:
        start, end = 0, len(view)
        while end - start >= HEADER.size:
            size, checksum, kind = HEADER.unpack_from(view, start)
            if size > MAX_BODY:
                raise WireError(f"a frame of {size:,} bytes (at most {MAX_BODY:,})")
            body = start + HEADER.size
            stop = body + size
            if stop > end:
                break
            if _checksum(view[start:stop], size, kind) != checksum:
                raise WireError(f"a frame of {size:,} bytes with a wrong checksum")
            decode = self._kinds.get(kind)
            if decode is None:
                raise WireError(f"a frame of kind {kind}, which nobody sends here")
            try:
                frames.append(decode(view[body:stop]))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise WireError(f"a frame of kind {kind}: {error}") from error
            start = stop
        return start


_to_worker: dict[int, Callable[[memoryview], ToWorker]] = {
    TASK: _to_task,
    STOP: msgspec.msgpack.Decoder(Stop).decode,
}
_to_supervisor: dict[int, Callable[[memoryview], ToSupervisor]] = {
    READY: msgspec.msgpack.Decoder(Ready).decode,
    BOOT_FAILED: msgspec.msgpack.Decoder(BootFailed).decode,
    ANSWER: msgspec.msgpack.Decoder(Answer).decode,
    SILENCED: msgspec.msgpack.Decoder(Silenced).decode,
}


def worker_parser() -> Parser[ToWorker]:
    """Return a parser for what a supervisor sends."""
    return Parser(_to_worker)


def supervisor_parser() -> Parser[ToSupervisor]:
    """Return a parser for what a worker sends."""
    return Parser(_to_supervisor)
