"""Which errors end a run, and which are a matter of time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from kqworker.kafka.faults import UNKNOWN_TOPIC_SECONDS, Faults
from kqworker.kafka.logs import ClientLog
from kqworker.kafka.mailbox import Mailbox

UNKNOWN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


class Brokers:
    """Answers as brokers do that know a topic, do not, or are away."""

    def __init__(self, error: KafkaError | None = None, away: bool = False) -> None:
        self.error = error
        self.away = away
        self.asked = 0

    def list_topics(self, topic: str, _timeout: float) -> Any:
        self.asked += 1
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=self.error)})


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._FATAL,
    ],
)
def test_what_only_people_can_mend_is_fatal(mailbox: Mailbox, code: int) -> None:
    faults = Faults(mailbox, {})
    faults.is_of_partition(Message("t", 0, error=KafkaError(code, "the reason")))

    assert str(mailbox.fatal) == "t: the reason"


@pytest.mark.parametrize("prefix", ["Fatal error: ", ""])
@pytest.mark.parametrize("code", [KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID])
def test_two_members_of_one_name_are_told_what_to_do(
    mailbox: Mailbox, code: int, prefix: str
) -> None:
    said = KafkaError(code).str()
    Faults(mailbox, {}).on_error(KafkaError(KafkaError._FATAL, f"{prefix}{said}", True))

    assert str(mailbox.fatal) == (
        f"{said} (each member of a group needs a group.instance.id of its own)"
    )


def test_a_fatal_error_is_fatal(mailbox: Mailbox) -> None:
    Faults(mailbox, {}).on_error(KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", True))

    assert str(mailbox.fatal) == "fenced"


def test_a_refusal_is_fatal_only_before_the_first_partition(mailbox: Mailbox) -> None:
    refused = KafkaError(KafkaError._AUTHENTICATION, "no")
    faults = Faults(mailbox, {})
    faults.assigned(["t"])
    faults.on_error(refused)
    assert mailbox.fatal is None

    Faults(mailbox, {}).on_error(refused)
    assert str(mailbox.fatal) == "no"


def test_what_passes_is_said_and_not_fatal(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults(mailbox, {})
    end = Message("t", 0, error=KafkaError(KafkaError._PARTITION_EOF))
    late = Message("t", -1, error=KafkaError(KafkaError._MAX_POLL_EXCEEDED, "too slow"))
    with caplog.at_level(logging.WARNING, "kqworker.kafka"):
        assert not any(map(faults.is_of_partition, [Message("t", 0, 1, value=b""), end, late]))

    assert [record.getMessage() for record in caplog.records] == ["t: too slow"]
    assert mailbox.fatal is None


def test_a_group_of_another_assignor_is_told_with_the_remedy_and_tried_on(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kqworker.kafka.faults.client_log", ClientLog(logging.getLogger("kqworker"))
    )
    refused = KafkaError(KafkaError.INCONSISTENT_GROUP_PROTOCOL, "JoinGroup failed")
    # Two members of one process.
    members = [Faults(mailbox, {"partition.assignment.strategy": "sticky"}) for _ in range(2)]

    for _ in range(3):
        for faults in members:
            assert not faults.is_of_partition(Message(error=refused))

    assert mailbox.fatal is None
    ((_, level, text),) = caplog.record_tuples
    assert level == logging.ERROR
    assert "do not assign partitions by sticky, as this one does" in text
    assert "Set partition.assignment.strategy to theirs" in text
    assert "`Kqworker: {assignor: range}`" in text


def test_a_partition_of_a_topic_that_is_away_is_not_taken_for_one_that_cannot_be_read(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults(mailbox, {})
    faults.assigned(["t"])
    for code in (KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART):
        away = Message("t", 0, 5, error=KafkaError(code, "away"))
        assert not faults.is_of_partition(away)

    assert [record.getMessage() for record in caplog.records] == ["t: away"] * 2


@pytest.mark.parametrize(
    "code", [KafkaError._BAD_MSG, KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN]
)
def test_an_error_of_one_partition_is_left_to_whoever_reads_it(mailbox: Mailbox, code: int) -> None:
    assert Faults(mailbox, {}).is_of_partition(Message("t", 0, 5, error=KafkaError(code)))
    assert mailbox.fatal is None


def unknown(mailbox: Mailbox, clock: list[float]) -> Faults:
    faults = Faults(mailbox, {}, lambda: clock[0])
    faults.is_of_partition(Message("t", error=UNKNOWN))
    return faults


def test_an_unknown_topic_is_believed_only_after_a_while(mailbox: Mailbox) -> None:
    clock, brokers = [0.0], Brokers(UNKNOWN)
    faults = unknown(mailbox, clock)
    faults.look(brokers)  # type: ignore[arg-type]
    assert (brokers.asked, mailbox.fatal) == (0, None)

    clock[0] = UNKNOWN_TOPIC_SECONDS
    faults.look(brokers)  # type: ignore[arg-type]
    assert str(mailbox.fatal) == "topic 't' does not exist"


@pytest.mark.parametrize("brokers", [Brokers(), Brokers(away=True)], ids=["found", "away"])
def test_an_unknown_topic_that_was_only_late_is_not_fatal(
    mailbox: Mailbox, brokers: Brokers
) -> None:
    clock = [0.0]
    faults = unknown(mailbox, clock)
    clock[0] = UNKNOWN_TOPIC_SECONDS
    faults.look(brokers)  # type: ignore[arg-type]

    assert brokers.asked == 1
    assert mailbox.fatal is None


def test_a_topic_that_was_assigned_once_may_be_away_for_a_while(mailbox: Mailbox) -> None:
    clock, brokers = [0.0], Brokers(UNKNOWN)
    faults = unknown(mailbox, clock)
    faults.assigned(["t"])
    faults.is_of_partition(Message("t", error=UNKNOWN))
    clock[0] = 10 * UNKNOWN_TOPIC_SECONDS
    faults.look(brokers)  # type: ignore[arg-type]

    assert brokers.asked == 0
    assert mailbox.fatal is None
