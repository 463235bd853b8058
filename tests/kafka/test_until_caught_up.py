"""`--until-caught-up`: all there was at the start, a summary, and the code for what came of it."""

from __future__ import annotations

import re
import uuid

import pytest
from confluent_kafka import Producer

from tests.kafka import checker
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.journal import Key, read
from tests.kafka.records import PATIENCE, produce
from tests.kafka.supervisors import HEAVY, Supervise, Supervisor

pytestmark = HEAVY

# A run with nothing to do: a start, a join, an end.
SOON = 15.0


def counted(supervisor: Supervisor) -> dict[str, float]:
    """The summary's numbers by their words."""
    (line,) = supervisor.events("finished")
    found = re.findall(r"([\d,.]+) (handled|failed|retried|s of CPU|cores busy|s\b)", line)
    return {word: float(number.replace(",", "")) for number, word in found}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_it_ends_with_0_and_a_summary_when_all_is_handled(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: str
) -> None:
    name = topic(partitions=6)
    produced = produce(kafka, name, [b"spin 0.001"] * 1000, partitions=6)
    options = ("--until-caught-up", "-X", f"group.protocol={protocol}")

    supervisor = supervise(kafka, name, *options)
    assert supervisor.wait() == 0, supervisor

    checker.nothing_is_lost(produced, read(supervise.journal))
    told = counted(supervisor)
    assert (told["handled"], told["failed"]) == (1000, 0)
    assert told["s of CPU"] >= 0.9
    assert 0 < told["cores busy"] <= 2.5
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))
    # There is nothing left, and the next run sees that.
    again = supervise(kafka, name, *options)
    assert again.wait(SOON) == 0, again
    assert counted(again)["handled"] == 0
    assert read(again.journal) == []


def test_it_ends_with_6_when_messages_failed(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name, dead = topic(), topic()
    produce(kafka, name, [b"ok"] * 10 + [b"fail 9", b"reject it", b"fail 1"])
    retry = {"attempts": 2, "first": 0.05}
    supervisor = supervise(kafka, name, "--until-caught-up", retry=retry, dead_letter=dead)

    assert supervisor.wait() == 6, supervisor
    told = counted(supervisor)
    assert (told["handled"], told["failed"], told["retried"]) == (11, 2, 2)


def test_an_empty_topic_is_caught_up_at_once(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    supervisor = supervise(kafka, topic(partitions=3), "--until-caught-up")

    assert supervisor.wait(SOON) == 0, supervisor
    assert counted(supervisor)["handled"] == 0


def test_what_comes_after_the_start_does_not_keep_it(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    produced = produce(kafka, name, [b"sleep 0.5"] * 4 + [b"ok"] * 100)
    supervisor = supervise(kafka, name, "--until-caught-up").begun(1)
    later = produce(kafka, name, [b"sleep 0.2"] * 50)

    # What is at work when the end comes is drained; the rest stays for the next run.
    assert supervisor.wait() == 0, supervisor
    finished = set(checker.done(read(supervisor.journal)))
    assert set(produced) <= finished
    assert len(finished) < len(produced) + len(later)


def test_transaction_markers_at_the_end_are_no_messages_to_wait_for(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=2)
    transact(kafka, name, b"ok", 20, commit=True)
    transact(kafka, name, b"exit 1", 20, commit=False)
    transact(kafka, name, b"ok", 20, commit=True)
    transact(kafka, name, b"exit 1", 20, commit=False)

    supervisor = supervise(kafka, name, "--until-caught-up")

    # Those that were aborted are not delivered, and at the end there are five gaps a partition.
    assert supervisor.wait() == 0, supervisor
    assert counted(supervisor)["handled"] == 40
    ends = kafka.end_offsets(name)
    assert sum(ends.values()) > 80
    checker.all_is_committed(kafka.committed(supervise.group, name), ends)


@pytest.mark.parametrize("ends_by", ["commit", "abort"])
@pytest.mark.parametrize("offset", ["earliest", "latest"])
def test_an_open_transaction_is_waited_for_and_told(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, ends_by: str, offset: str
) -> None:
    name = topic()
    settings = {**kafka.client, "transactional.id": uuid.uuid4().hex, "log_level": 0}
    before = produce(kafka, name, [b"ok"] * 20)
    if offset == "latest":
        before = []
    with Producer(settings) as producer:
        producer.init_transactions(PATIENCE)
        producer.begin_transaction()
        for _ in range(5):
            producer.produce(name, b"ok", partition=0)
        assert producer.flush(PATIENCE) == 0
        # It was there, too, and cannot be read either.
        after = produce(kafka, name, [b"ok"])

        supervisor = supervise(kafka, name, "--until-caught-up", "--offset", offset)
        supervisor.until(lambda: supervisor.events("transaction_open"), "it is told")
        assert f"topic={name} partition=0 offset=20" in supervisor.events("transaction_open")[0]
        assert supervisor.reader.follow().ended == len(before)
        if ends_by == "commit":
            producer.commit_transaction(PATIENCE)
        else:
            producer.abort_transaction(PATIENCE)

    assert supervisor.wait() == 0, supervisor
    handled = [key.offset for key in checker.done(read(supervisor.journal))]
    inside = range(20, 25) if ends_by == "commit" else ()
    assert sorted(handled) == sorted([*(key.offset for key in [*before, *after]), *inside])
    # The transaction's marker came later.
    assert kafka.committed(supervise.group, name)[0].offset in (26, 27)


def test_an_open_transaction_is_read_and_not_waited_for_where_that_was_asked(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic()
    settings = {**kafka.client, "transactional.id": uuid.uuid4().hex, "log_level": 0}
    with Producer(settings) as producer:
        producer.init_transactions(PATIENCE)
        producer.begin_transaction()
        for _ in range(5):
            producer.produce(name, b"ok", partition=0)
        assert producer.flush(PATIENCE) == 0

        options = ("--until-caught-up", "-X", "isolation.level=read_uncommitted")
        supervisor = supervise(kafka, name, *options)
        assert supervisor.wait() == 0, supervisor
        producer.abort_transaction(PATIENCE)

    assert counted(supervisor)["handled"] == 5
    assert not supervisor.events("transaction_open")


def transact(cluster: Cluster, topic: str, value: bytes, count: int, commit: bool) -> None:
    """Produce in one transaction, to partitions 0 and 1 in turn."""
    name = uuid.uuid4().hex
    with Producer({**cluster.client, "transactional.id": name, "log_level": 0}) as producer:
        producer.init_transactions(PATIENCE)
        producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, value, partition=number % 2)
        assert producer.flush(PATIENCE) == 0
        if commit:
            producer.commit_transaction(PATIENCE)
        else:
            producer.abort_transaction(PATIENCE)


def test_records_that_are_gone_are_no_messages_to_wait_for(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    # Compacted: of one key the last record stays, so there are gaps before it.
    name = topic(
        config={
            "cleanup.policy": "compact",
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "200",
            "delete.retention.ms": "100",
        }
    )
    for _ in range(3):
        produced = produce(kafka, name, [b"ok"] * 200, [b"k%d" % (i % 7) for i in range(200)])
    supervisor = supervise(kafka, name, "--until-caught-up")

    assert supervisor.wait() == 0, supervisor
    attempts = read(supervise.journal)
    # Those after the last of their key are never gone.
    last = {Key(name, 0, key.offset) for key in produced[-7:]}
    assert last <= set(checker.done(attempts))
    assert checker.repeats(attempts) == {}
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_several_supervisors_end_together_and_share_the_work(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: str
) -> None:
    name = topic(partitions=6)
    produced = produce(kafka, name, [b"sleep 0.005"] * 3000, partitions=6)
    options = ("--until-caught-up", "-X", f"group.protocol={protocol}")

    supervisors = [supervise(kafka, name, *options) for _ in range(3)]
    codes = [supervisor.wait() for supervisor in supervisors]

    assert codes == [0, 0, 0], "\n".join(map(str, supervisors))
    attempts = read(supervise.journal)
    checker.nothing_is_lost(produced, attempts)
    assert checker.repeats(attempts) == {}
    assert sum(counted(supervisor)["handled"] for supervisor in supervisors) == 3000
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))


def test_members_of_one_supervisor_catch_up_together(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(partitions=5)
    produced = produce(kafka, name, [b"ok"] * 2000, partitions=5)

    supervisor = supervise(kafka, name, "--until-caught-up", "--members", "3")
    assert supervisor.wait() == 0, supervisor

    checker.nothing_is_lost(produced, read(supervise.journal))
    checker.all_is_committed(kafka.committed(supervise.group, name), kafka.end_offsets(name))


def test_all_topics_of_a_pattern_are_caught_up(kafka: Cluster, supervise: Supervise) -> None:
    prefix = f"logs-{uuid.uuid4().hex[:8]}"
    produced = []
    for number in range(3):
        name = kafka.create_topic(f"{prefix}.{number}", partitions=2)
        produced += produce(kafka, name, [b"ok"] * 100 * number, partitions=2)

    supervisor = supervise(kafka, f"^{prefix}\\..*", "--until-caught-up")
    assert supervisor.wait() == 0, supervisor

    checker.nothing_is_lost(produced, read(supervise.journal))
