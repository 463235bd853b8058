"""The mailbox tells once, loses nothing, and lets its descriptors go."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from kqworker.core.events import Delivered
from kqworker.errors import BrokerError
from kqworker.kafka.mailbox import Mailbox
from tests.waiting import pump


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


def readable(mailbox: Mailbox) -> bool:
    return bool(select.select([mailbox], [], [], 0)[0])


def test_events_come_out_in_the_order_in_which_they_went_in(mailbox: Mailbox) -> None:
    events = [Delivered(ticket) for ticket in range(5)]
    mailbox.put(*events[:2])
    mailbox.put(*events[2:])

    assert mailbox.take() == events
    assert mailbox.take() == []


def test_the_descriptor_is_readable_just_while_something_waits(mailbox: Mailbox) -> None:
    assert not readable(mailbox)
    mailbox.put(Delivered(1))
    mailbox.put(Delivered(2))
    assert readable(mailbox)
    mailbox.take()
    assert not readable(mailbox)
    mailbox.put(Delivered(3))
    assert readable(mailbox)


def test_nothing_put_wakes_nobody(mailbox: Mailbox) -> None:
    mailbox.put()

    assert not readable(mailbox)


def test_a_fatal_error_wakes_and_the_first_one_stays(mailbox: Mailbox) -> None:
    mailbox.fail(BrokerError("first"))
    assert readable(mailbox)
    mailbox.take()
    mailbox.fail(BrokerError("second"))

    assert str(mailbox.fatal) == "first"
    assert not readable(mailbox)


def test_what_comes_after_the_end_is_dropped(mailbox: Mailbox) -> None:
    mailbox.put(Delivered(1))
    mailbox.close()
    mailbox.put(Delivered(2))

    assert mailbox.take() == []
    assert mailbox.fileno() == -1


def test_no_event_of_many_threads_is_lost(mailbox: Mailbox) -> None:
    def write(first: int) -> None:
        for ticket in range(first, first + 1000):
            mailbox.put(Delivered(ticket))

    threads = [threading.Thread(target=write, args=(n * 1000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    taken: list[object] = []
    # Only the descriptor tells: an event without a byte would hang here.
    assert pump(
        lambda: len(taken) >= 4000, lambda box: taken.extend(box.take()), mailbox, within=10.0
    )
    for thread in threads:
        thread.join()

    assert len(set(taken)) == 4000
