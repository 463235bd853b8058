"""What every `Sink` keeps: each record is answered once, and what is answered well is there."""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Iterator

import pytest

from kqworker.core.commands import Produce
from kqworker.core.events import Delivered, Event
from kqworker.kafka.bounded import bounded
from kqworker.kafka.outgoing import Outgoing
from kqworker.types import Output
from tests.contract.brokers import PARTITIONS, TIMEOUT
from tests.contract.sinks import Shore, Simulated, apache, built_in
from tests.waiting import pump

ON_KAFKA = [
    "producer",
    "bounded",
    pytest.param("apache", marks=pytest.mark.kafka),
]


@pytest.fixture(params=["simulated", *ON_KAFKA])
def shore(request: pytest.FixtureRequest) -> Iterator[Shore]:
    made: Shore
    match request.param:
        case "simulated":
            made = Simulated()
        case "apache":
            made = apache(request.getfixturevalue("kafka"))
        case kind:
            broker = request.getfixturevalue("dev_broker")
            made = built_in(bounded if kind == "bounded" else Outgoing, broker)
    yield made
    made.sink.close(TIMEOUT)


def answers(shore: Shore, count: int) -> dict[int, Delivered]:
    """The next `count` answers, by ticket; each is waited for with the descriptor alone."""
    events: list[Event] = []
    there = pump(
        lambda: len(events) >= count,
        lambda sink: events.extend(sink.events()),
        shore.sink,
        within=TIMEOUT,
    )
    assert there, f"only {len(events)} of {count}"
    found = {event.ticket: event for event in events if isinstance(event, Delivered)}
    assert len(found) == len(events) == count, "a record was answered twice"
    return found


def test_each_record_is_answered_once_under_its_ticket(shore: Shore) -> None:
    for ticket in range(100):
        shore.sink.produce(Produce(ticket, Output(shore.topic, b"%d" % ticket, b"k")))

    answered = answers(shore, 100)

    assert set(answered) == set(range(100))
    assert not [answer for answer in answered.values() if answer.failure]
    stored = Counter(output.value for output in shore.stored(100))
    assert stored == Counter(b"%d" % ticket for ticket in range(100))


def test_a_record_arrives_whole(shore: Shore) -> None:
    headers = (("a", b"1"), ("a", None), ("b", b""))
    sent = [
        Output(shore.topic, b"value", b"key", headers, 0, 1_700_000_000_000),
        Output(shore.topic, None, None, (), 1, 1_700_000_000_001),
        Output(shore.topic, b"", b"", (), 2, 1_700_000_000_002),
    ]
    for ticket, output in enumerate(sent):
        shore.sink.produce(Produce(ticket, output))
    answers(shore, len(sent))

    assert sorted(shore.stored(3), key=lambda output: output.partition or 0) == sent


@pytest.mark.parametrize("shore", ON_KAFKA, indirect=True)
def test_a_partition_keeps_the_order_in_which_records_were_given(shore: Shore) -> None:
    for ticket in range(200):
        output = Output(shore.topic, b"%d" % ticket, partition=ticket % PARTITIONS)
        shore.sink.produce(Produce(ticket, output))
    answers(shore, 200)

    stored = shore.stored(200)
    for number in range(PARTITIONS):
        values = [int(o.value or b"") for o in stored if o.partition == number]
        assert values == list(range(number, 200, PARTITIONS))


def test_what_is_refused_is_answered_and_holds_up_no_other(shore: Shore) -> None:
    shore.sink.produce(Produce(1, Output(shore.topic, b"x", b"refused", partition=PARTITIONS)))
    shore.sink.produce(Produce(2, Output(shore.topic, b"y")))

    answered = answers(shore, 2)

    assert answered[1].failure is not None
    assert not answered[1].retriable
    assert answered[2].failure is None
    assert [output.value for output in shore.stored(1)] == [b"y"]


@pytest.mark.parametrize("shore", ON_KAFKA, indirect=True)
def test_the_descriptor_is_readable_only_while_events_wait(shore: Shore) -> None:
    assert select.select([shore.sink], [], [], 0)[0] == []
    shore.sink.produce(Produce(1, Output(shore.topic, b"1")))

    assert select.select([shore.sink], [], [], TIMEOUT)[0] == [shore.sink]
    assert shore.sink.events() == [Delivered(1)]
    assert select.select([shore.sink], [], [], 0)[0] == []
    assert not shore.sink.events()


def test_a_close_waits_for_what_is_under_way(shore: Shore) -> None:
    for ticket in range(50):
        shore.sink.produce(Produce(ticket, Output(shore.topic, b"1")))

    assert shore.sink.close(TIMEOUT)
    assert len(shore.stored(50)) == 50
