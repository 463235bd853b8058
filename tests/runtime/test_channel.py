"""The two ends of a channel: one never blocks, the other always sends whole frames."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from kqworker import wire
from kqworker.runtime.channel import Channel, SupervisorGone, WorkerChannel
from kqworker.types import Ordering, Task
from tests.runtime.bench import segment

Ends = tuple[Channel, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    near, far = socket.socketpair()
    channel = Channel(near)
    yield channel, far
    channel.close()
    far.close()


def a_task(number: int, size: int) -> Task:
    return Task(number, 0, Ordering.UNORDERED, (segment([b"x" * size]),))


def test_what_the_socket_does_not_take_waits_and_goes_later(ends: Ends) -> None:
    channel, far = ends
    frames = [wire.encode_task(a_task(n, 1 << 20)) for n in (1, 2)]
    for frame in frames:
        channel.send(frame)
    assert channel.pending

    worker = WorkerChannel(far)
    received: list[wire.ToWorker | None] = []
    reader = threading.Thread(
        target=lambda: received.extend(worker.receive() for _ in frames), daemon=True
    )
    reader.start()
    while channel.pending:
        channel.flush()
    reader.join(10)

    assert received == [a_task(1, 1 << 20), a_task(2, 1 << 20)]


def test_channels_that_are_read_by_threads_at_once_keep_to_themselves() -> None:
    # Queues of one process run in threads of their own, each with its workers.
    count = 5000

    def exchange(numbers: range, found: list[wire.ToSupervisor]) -> None:
        near, far = socket.socketpair()
        channel = Channel(near)
        for number in numbers:
            far.sendall(wire.encode_answer(wire.Answer(number, (), True)))
            found += channel.receive()
        channel.close()
        far.close()

    told: dict[range, list[wire.ToSupervisor]] = {
        range(first, first + count): [] for first in (1, 1 + count, 1 + 2 * count, 1 + 3 * count)
    }
    threads = [threading.Thread(target=exchange, args=each, daemon=True) for each in told.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    for numbers, frames in told.items():
        assert [f.task for f in frames if isinstance(f, wire.Answer)] == list(numbers)


def test_frames_keep_their_order_behind_one_that_waits(ends: Ends) -> None:
    channel, far = ends
    channel.send(wire.encode_task(a_task(1, 1 << 20)))
    channel.send(wire.encode_stop())
    assert channel.pending

    parser, found = wire.worker_parser(), []
    while len(found) < 2:
        found += parser.feed(far.recv(1 << 16))
        channel.flush()

    assert found[1:] == [wire.Stop()]


def test_sending_to_nobody_is_no_error(ends: Ends) -> None:
    channel, far = ends
    far.close()
    channel.send(wire.encode_stop())

    assert not channel.pending
    assert channel.receive() == []
    assert channel.ended and channel.fault is None


def test_a_reset_is_an_end(ends: Ends) -> None:
    channel, far = ends
    channel.send(wire.encode_stop())
    far.close()  # with something unread, which resets the connection

    assert channel.rest() == []
    assert channel.ended


def test_nothing_there_is_no_end(ends: Ends) -> None:
    channel, _far = ends

    assert channel.receive() == []
    assert channel.rest() == []
    assert not channel.ended


def test_the_rest_is_read_though_the_other_end_stays_open(ends: Ends) -> None:
    channel, far = ends
    answers = [wire.Answer(n + 1, (), True) for n in range(2000)]
    sender = threading.Thread(
        target=far.sendall, args=(b"".join(map(wire.encode_answer, answers)),), daemon=True
    )
    sender.start()
    found: list[wire.ToSupervisor] = []
    while len(found) < 2000:
        found += channel.rest()
    sender.join()

    assert found == answers
    assert not channel.ended


def test_bad_bytes_end_a_channel_after_the_good_frames(ends: Ends) -> None:
    channel, far = ends
    far.sendall(wire.encode_ready(7) + b"\xff" * 32)

    assert channel.receive() == [wire.Ready(7)]
    assert channel.ended and channel.fault is not None
    assert channel.rest() == []


def test_a_worker_learns_that_its_supervisor_has_gone() -> None:
    near, far = socket.socketpair()
    worker = WorkerChannel(far)
    near.sendall(wire.encode_stop())
    assert worker.receive() == wire.Stop()

    near.close()

    assert worker.receive() is None
    with pytest.raises(SupervisorGone):
        worker.send(wire.encode_ready(1))
    worker.close()


def test_a_worker_learns_it_from_a_reset_too() -> None:
    near, far = socket.socketpair()
    worker = WorkerChannel(far)
    worker.send(wire.encode_ready(1))
    near.close()

    assert worker.receive() is None
    worker.close()
