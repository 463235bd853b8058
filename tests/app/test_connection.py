"""One client in each process, opened once and ended by its owner."""

from __future__ import annotations

import os
import threading
import weakref

import pytest

from kqworker.app import process_exit
from kqworker.app.connection import Connection


class Client:
    pass


class Owner:
    def begin_end(self, timeout: float) -> None:
        raise AssertionError("the process goes on")

    def end(self, timeout: float) -> None:
        raise AssertionError("the process goes on")


@pytest.fixture(autouse=True)
def nothing_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_exit, "_owing", {})


def test_nothing_is_open_before_the_first_use() -> None:
    connection = Connection[Client](Owner())

    assert connection.opened() is None
    assert connection.awaited() is None
    assert not process_exit.owes()


def test_many_threads_open_one_client() -> None:
    connection = Connection[Client](Owner())
    barrier = threading.Barrier(8)
    made: list[Client] = []
    got: list[Client] = []

    def make() -> Client:
        made.append(Client())
        return made[-1]

    def use() -> None:
        barrier.wait()
        got.append(connection.open(make))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert got == made * 8


def test_a_client_that_is_being_opened_is_waited_for() -> None:
    connection = Connection[Client](Owner())
    begun, go_on = threading.Event(), threading.Event()

    def make() -> Client:
        begun.set()
        go_on.wait()
        return Client()

    opening = threading.Thread(target=connection.open, args=(make,))
    opening.start()
    begun.wait()
    seen: list[Client | None] = [connection.opened()]
    waiting = threading.Thread(target=lambda: seen.append(connection.awaited()))
    waiting.start()
    go_on.set()
    opening.join()
    waiting.join()

    assert seen == [None, connection.opened()]
    assert seen[1] is not None


def test_what_cannot_be_opened_is_told_and_tried_again() -> None:
    connection = Connection[Client](Owner())

    def refuse() -> Client:
        raise OSError("no descriptors")

    with pytest.raises(OSError, match="no descriptors"):
        connection.open(refuse)
    assert not process_exit.owes()
    assert connection.open(Client) is connection.opened()
    assert process_exit.owes()


def test_what_has_ended_is_opened_again() -> None:
    connection = Connection[Client](Owner())
    first = connection.open(Client)
    connection.forget(first)
    assert not process_exit.owes()
    second = connection.open(Client)
    connection.forget(first)  # which has ended long ago

    assert connection.opened() is second is not first
    assert process_exit.owes()


def test_a_child_of_a_fork_leaves_the_parents_client_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_exit, "_inherited", [])
    connection = Connection[Client](Owner())
    parents = weakref.ref(connection.open(Client))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert connection.opened() is None
    connection.after_fork()

    assert parents() is not None  # collecting a handle of librdkafka would hang
    assert connection.open(Client) is not parents()
