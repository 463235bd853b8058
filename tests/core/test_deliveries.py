"""Records on their way to Kafka, and whose messages wait for them."""

from __future__ import annotations

from kqworker.core.commands import Produce
from kqworker.core.completion import Completion
from kqworker.core.deliveries import Deliveries, Pending, Ticket
from kqworker.core.disposition import Accept
from kqworker.core.epochs import Epoch
from kqworker.core.events import Start
from kqworker.types import Output
from tests.core.supervised import TP, records

FIRST, SECOND = Output("out", b"1"), Output("out", b"2")


def pending(waits: int = 1) -> Pending:
    epoch = Epoch(1, 0, TP, 0, Start(0), Completion())
    return Pending(epoch, records(0), 1, waits, Accept())


def ticket_of(deliveries: Deliveries, number: int) -> Ticket:
    ticket = deliveries.get(number)
    assert ticket is not None
    return ticket


def test_each_record_has_a_ticket_of_its_own() -> None:
    deliveries = Deliveries()
    waiting = pending(2)

    assert deliveries.open(waiting, (FIRST, SECOND)) == [Produce(1, FIRST), Produce(2, SECOND)]
    assert [ticket_of(deliveries, number).output for number in (1, 2)] == [FIRST, SECOND]
    assert ticket_of(deliveries, 2).pending is waiting


def test_a_ticket_is_never_issued_twice() -> None:
    deliveries = Deliveries()
    deliveries.open(pending(), (FIRST,))
    deliveries.close(ticket_of(deliveries, 1))

    assert deliveries.open(pending(), (SECOND,)) == [Produce(2, SECOND)]


def test_a_closed_ticket_is_unknown_and_closing_it_again_is_nothing() -> None:
    deliveries = Deliveries()
    deliveries.open(pending(), (FIRST,))
    ticket = ticket_of(deliveries, 1)

    deliveries.close(ticket)
    deliveries.close(ticket)

    assert deliveries.get(1) is None


def test_a_message_is_awaited_once_a_record_while_it_waits() -> None:
    deliveries = Deliveries()
    waiting = pending(2)
    deliveries.open(waiting, (FIRST, SECOND))
    assert list(deliveries.awaiting()) == [waiting, waiting]

    deliveries.close(ticket_of(deliveries, 1))
    assert list(deliveries.awaiting()) == [waiting]


def test_what_is_given_up_or_lost_is_not_awaited() -> None:
    deliveries = Deliveries()
    given_up, lost, live = pending(), pending(), pending()
    for each in (given_up, lost, live):
        deliveries.open(each, (FIRST,))

    given_up.waits = 0
    lost.epoch.live = False

    assert list(deliveries.awaiting()) == [live]


def test_the_delay_doubles_from_half_a_second_to_half_a_minute() -> None:
    ticket = Ticket(1, pending(), FIRST)
    assert [ticket.delay() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_an_outage_of_weeks_leaves_the_delay_as_it_is() -> None:
    ticket = Ticket(1, pending(), FIRST)
    ticket.tries = 100_000  # two to the power of that is no float
    assert ticket.delay() == 30.0


def test_only_what_has_failed_counts_as_stalled() -> None:
    deliveries = Deliveries()
    deliveries.open(pending(2), (FIRST, SECOND))
    assert deliveries.stalled() == 0

    ticket_of(deliveries, 2).delay()
    assert deliveries.stalled() == 1

    deliveries.close(ticket_of(deliveries, 2))
    assert deliveries.stalled() == 0
