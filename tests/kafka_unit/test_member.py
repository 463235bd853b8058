"""What a member does when librdkafka does what it rarely does, on a scripted consumer."""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_CREATE_TIME,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as KafkaPartition

from kqworker.core.commands import Commit, Mark, Pause, Release, Resume
from kqworker.core.events import (
    Assigned,
    Committed,
    Event,
    Fetched,
    Gone,
    Lost,
    Positions,
    Revoked,
    Start,
    Unreadable,
)
from kqworker.kafka import commits, member, places
from kqworker.kafka.beginnings import BEGIN_TRIES
from kqworker.kafka.commit_fence import NOT_OWNED
from kqworker.kafka.partitions import ours
from kqworker.kafka.source import KafkaSource
from kqworker.types import TopicPartition
from tests.waiting import pump, until

TIMEOUT = 10.0
TP, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)

Step = Callable[["Scripted"], Any]


class Scripted:
    """Stands in for a Consumer: each call of `poll` or `consume` takes the next step."""

    made: Scripted

    def __init__(self, config: dict[str, Any], **_: Any) -> None:
        Scripted.made = self
        self.config = config
        self.polls: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self.consumes: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self.found: list[Any] = []
        self.commits: list[dict[TopicPartition, int]] = []
        self.marks: list[Mark] = []
        self.held: list[Step] | None = None  # answers to commits, where they are late
        self.refusals: list[KafkaError] = []
        self.positions: dict[TopicPartition, int] = {}
        self.assigned_at: list[list[int]] = []
        self.unassigned: list[list[TopicPartition]] = []
        self.ends: dict[TopicPartition, tuple[int, int]] = {}
        self.seeks: list[tuple[TopicPartition, int]] = []
        self.asked_ends = 0
        self.unread = False
        self.pauses: queue.SimpleQueue[tuple[str, set[TopicPartition]]] = queue.SimpleQueue()

    def subscribe(self, _topics: list[str], **callbacks: Any) -> None:
        self.__dict__.update(callbacks)

    def poll(self, timeout: float) -> Message | None:
        try:
            step = self.polls.get(timeout=max(timeout, 0.001))
        except queue.Empty:
            return None
        return step(self)  # type: ignore[no-any-return]

    def consume(self, _count: int, _timeout: float) -> list[Message]:
        return [] if self.consumes.empty() else self.consumes.get()(self)

    def committed(self, partitions: list[KafkaPartition], _timeout: float) -> list[KafkaPartition]:
        answer = self.found.pop(0) if self.found else {}
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        told = [(p.topic, p.partition) for p in partitions]
        return [KafkaPartition(*p, *answer.get(p, (-1001, ""))) for p in told]

    def commit(
        self, offsets: list[KafkaPartition], asynchronous: bool
    ) -> list[KafkaPartition] | None:
        if self.refusals:
            raise KafkaException(self.refusals.pop(0))
        self.commits.append({TopicPartition(p.topic, p.partition): p.offset for p in offsets})
        self.marks += [Mark(p.offset, p.metadata) for p in offsets]
        if asynchronous:
            answer: Step = lambda me: me.config["on_commit"](None, offsets)  # noqa: E731
            if self.held is None:
                self.polls.put(answer)
            else:
                self.held.append(answer)
        return None if asynchronous else offsets

    def position(self, partitions: list[KafkaPartition]) -> list[KafkaPartition]:
        for p in partitions:
            p.offset = self.positions.get(TopicPartition(p.topic, p.partition), -1001)
        return partitions

    def incremental_assign(self, partitions: list[KafkaPartition]) -> None:
        self.assigned_at.append([p.offset for p in partitions])

    def incremental_unassign(self, partitions: list[KafkaPartition]) -> None:
        self.unassigned.append(list(map(ours, partitions)))

    def seek(self, partition: KafkaPartition) -> None:
        if self.unread:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.seeks.append((ours(partition), partition.offset))

    def get_watermark_offsets(
        self, partition: KafkaPartition, _timeout: float = 0.0, cached: bool = False
    ) -> tuple[int, int]:
        self.asked_ends += cached
        if ours(partition) not in self.ends:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self.ends[ours(partition)]

    def pause(self, partitions: list[KafkaPartition]) -> None:
        self.pauses.put(("pause", set(map(ours, partitions))))

    def resume(self, partitions: list[KafkaPartition]) -> None:
        self.pauses.put(("resume", set(map(ours, partitions))))

    def wait_for(self, what: str, *partitions: TopicPartition) -> None:
        assert self.pauses.get(timeout=TIMEOUT) == (what, set(partitions))

    def close(self) -> None: ...


class Bench:
    """A source on a scripted consumer."""

    def __init__(self, source: KafkaSource) -> None:
        self.source = source
        self.consumer = Scripted.made
        self.events: list[Event] = []

    def assign(self, *partitions: TopicPartition) -> None:
        parts = [KafkaPartition(*p) for p in partitions]
        self.consumer.polls.put(lambda me: me.on_assign(me, parts))
        self.wait(Assigned)

    def poll(self, step: Step) -> None:
        self.consumer.polls.put(step)

    def wait(self, kind: type[Event], count: int = 1) -> list[Any]:
        def found() -> list[Any]:
            return [event for event in self.events if isinstance(event, kind)]

        def take(source: KafkaSource) -> None:
            self.events += source.events()

        there = pump(lambda: len(found()) >= count, take, self.source, within=TIMEOUT)
        assert there, f"only {self.events}"
        return found()

    def taken(self) -> list[tuple[TopicPartition, list[int]]]:
        fetched = [e for e in self.events if isinstance(e, Fetched)]
        return [(r.partition, list(r.offsets)) for e in fetched for r in e.records]


@contextmanager
def on_a_bench(
    monkeypatch: pytest.MonkeyPatch, offset: str, *, timestamps: bool = True
) -> Iterator[Bench]:
    monkeypatch.setattr(member, "Consumer", Scripted)
    monkeypatch.setattr(places, "first_readable", lambda _, partition, offset: offset + 7)
    # What is due shows without a message, too.
    monkeypatch.setattr(member, "LOOK_SECONDS", 0.01)
    properties = {"group.protocol": "consumer", "auto.offset.reset": offset}
    made = Bench(KafkaSource([properties], ["t"], TIMEOUT, timestamps=timestamps))
    try:
        yield made
    finally:
        made.source.close(TIMEOUT)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with on_a_bench(monkeypatch, "earliest") as made:
        yield made


def message(offset: int, partition: TopicPartition = TP) -> Message:
    return Message(*partition, offset, value=b"v")


def revoke(*partitions: TopicPartition) -> Step:
    parts = [KafkaPartition(*p) for p in partitions]
    return lambda me: me.on_revoke(me, parts)


@pytest.mark.parametrize(("timestamps", "column"), [(True, [1234]), (False, None)])
def test_the_times_of_messages_are_read_where_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, timestamps: bool, column: list[int] | None
) -> None:
    written = (TIMESTAMP_CREATE_TIME, 1234)
    with on_a_bench(monkeypatch, "earliest", timestamps=timestamps) as bench:
        bench.assign(TP)
        bench.consumer.consumes.put(lambda me: [Message(*TP, 0, value=b"v", timestamp=written)])

        (fetched,) = bench.wait(Fetched)

    (run,) = fetched.records
    assert (run.timestamps, list(run.times)) == (column, column or [-1])


def test_what_comes_of_a_partition_that_is_revoked_meanwhile_is_dropped(bench: Bench) -> None:
    bench.assign(TP, OTHER)
    bench.consumer.consumes.put(
        lambda me: revoke(TP)(me) or [message(0, TP), message(5, OTHER), message(1, TP)]
    )
    bench.wait(Revoked)
    bench.source.execute(Release(0, (TP,), {}))
    bench.wait(Fetched)

    assert bench.taken() == [(OTHER, [5])]


@pytest.mark.parametrize("coming", [[2, 3], [1 << 60]], ids=["again", "behind the end"])
def test_offsets_that_cannot_follow_are_damage_and_not_handed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, coming: list[int]
) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 0.0)
    bench.consumer.ends = {TP: (0, 50), OTHER: (0, 50)}
    bench.assign(TP, OTHER)
    bench.consumer.consumes.put(lambda _: [*map(message, [7, 8, *coming, 9]), message(0, OTHER)])
    bench.consumer.wait_for("pause", TP)
    bench.consumer.wait_for("resume", TP)
    # Where the batch is that has another's offset, there is a gap.
    bench.poll(lambda _: message(14))
    (told,) = bench.wait(Unreadable)

    assert bench.taken() == [(TP, [7, 8]), (OTHER, [0])]
    assert "offset 9 is missing: 14 comes next" in told.text
    assert bench.consumer.seeks == [(TP, 9)]


def test_the_end_of_a_partition_is_not_asked_for_where_messages_come_one_by_one(
    bench: Bench,
) -> None:
    bench.consumer.ends = {TP: (0, 8)}
    bench.consumer.found = [{TP: (7, "")}]
    bench.assign(TP)

    bench.poll(lambda _: message(7))
    bench.wait(Fetched)
    asked = bench.consumer.asked_ends
    bench.poll(lambda _: message(8))
    bench.wait(Fetched, 2)
    bench.poll(lambda _: message(9))
    bench.wait(Fetched, 3)
    assert bench.consumer.asked_ends == asked
    bench.consumer.ends = {TP: (0, 13)}
    bench.poll(lambda _: message(12))
    bench.wait(Fetched, 4)

    assert bench.taken() == [(TP, [7]), (TP, [8]), (TP, [9]), (TP, [12])]
    assert bench.consumer.asked_ends == asked + 1


def test_a_last_batch_with_a_false_offset_is_damage_where_its_middle_seems_to_follow(
    bench: Bench,
) -> None:
    # Offsets 0 to 9 say that they are 3 to 12, and the group has committed 5.
    bench.consumer.ends = {TP: (0, 10)}
    bench.consumer.found = [{TP: (5, "")}]
    bench.assign(TP)
    bench.consumer.consumes.put(lambda _: [*map(message, range(5, 13))])
    bench.consumer.wait_for("pause", TP)
    bench.wait(Fetched)

    assert bench.taken() == [(TP, [5, 6, 7, 8, 9])]


def test_a_last_batch_with_a_false_offset_is_damage_where_it_comes_in_parts(bench: Bench) -> None:
    # Offsets 10 to 19 say that they are 12 to 21.
    bench.consumer.ends = {TP: (0, 20)}
    bench.consumer.found = [{TP: (10, "")}]
    bench.assign(TP)
    bench.poll(lambda _: message(12))
    bench.wait(Fetched)
    bench.consumer.consumes.put(lambda _: [*map(message, range(13, 22))])
    bench.consumer.wait_for("pause", TP)
    bench.wait(Fetched, 2)

    assert bench.taken() == [(TP, [12]), (TP, [*range(13, 20)])]


def test_what_follows_at_last_ends_the_halt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 0.0)
    bench.consumer.ends = {TP: (0, 50)}
    bench.assign(TP)
    bench.consumer.consumes.put(lambda _: [message(7), message(2)])
    bench.consumer.wait_for("pause", TP)
    bench.consumer.wait_for("resume", TP)
    bench.poll(lambda _: message(8))
    bench.wait(Fetched, 2)

    assert bench.taken() == [(TP, [7]), (TP, [8])]


def test_a_partition_of_which_nothing_comes_is_told_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(places, "TRIAL_SECONDS", 0.05)
    monkeypatch.setattr(places, "RETRY_SECONDS", 0.0)
    bench.assign(TP, OTHER)
    bench.poll(lambda _: message(24))
    bench.wait(Fetched)
    bench.consumer.ends = {TP: (0, 50), OTHER: (0, 0)}  # until now, nothing was to be suspected
    told = bench.wait(Unreadable, 2)
    monkeypatch.setattr(places, "TRIAL_SECONDS", 3600.0)
    halts = bench.source._members[0]._places._halts
    until(lambda: halts[TP].trying and halts[TP].due > time.monotonic() + 60.0, "a long try")
    bench.poll(lambda _: message(25))
    bench.wait(Fetched, 2)

    assert {(e.partition, e.offset) for e in told} == {(TP, 25)}
    assert "nothing comes, although the partition goes on" in told[0].text


def test_a_partition_of_which_nothing_may_come_is_not_suspected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.02)
    monkeypatch.setattr(places, "TRIAL_SECONDS", 0.02)
    bench.assign(TP)
    bench.poll(lambda _: message(24))
    bench.source.execute(Pause((TP,)))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.ends = {TP: (0, 50)}  # until now, nothing was to be suspected
    rounds = threading.Semaphore(0)
    watch = places.Places.watch

    def watched(*arguments: Any) -> bool:
        made = watch(*arguments)
        if made:
            rounds.release()
        return made

    monkeypatch.setattr(places.Places, "watch", watched)
    for _ in range(5):
        assert rounds.acquire(timeout=TIMEOUT)

    assert not [e for e in bench.events if isinstance(e, Unreadable)]
    assert bench.consumer.seeks == []


def test_a_partition_of_which_nothing_comes_when_its_pause_is_over_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(places, "TRIAL_SECONDS", 0.05)
    bench.assign(TP)
    bench.poll(lambda _: message(24))
    bench.source.execute(Pause((TP,)))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.ends = {TP: (0, 50)}  # until now, nothing was to be suspected
    bench.source.execute(Resume((TP,)))
    bench.consumer.wait_for("resume", TP)
    (told,) = bench.wait(Unreadable)

    assert (told.partition, told.offset) == (TP, 25)


def test_a_partition_begins_where_the_group_says_on_the_second_try(bench: Bench) -> None:
    bench.consumer.found = [KafkaError(KafkaError._TIMED_OUT), {("t", 0): (7, "map")}]
    bench.assign(TP)

    assert bench.events == [Assigned(0, {TP: Start(7, "map")})]
    assert bench.consumer.assigned_at == [[7]]


def test_a_partition_begins_when_the_group_says_where_and_not_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.consumer.found = [KafkaError(KafkaError._TIMED_OUT)] * BEGIN_TRIES
    bench.consumer.found += [KafkaError(KafkaError._TIMED_OUT), {("t", 0): (7, "map")}]
    monkeypatch.setattr(places, "ASK_AGAIN_SECONDS", 0.0)
    bench.poll(lambda me: me.on_assign(me, [KafkaPartition(*TP)]))
    bench.poll(lambda _: message(3))
    bench.wait(Assigned)
    bench.poll(lambda _: message(7))
    bench.wait(Fetched)

    assert bench.events[0] == Assigned(0, {TP: Start(7, "map")})
    assert bench.consumer.assigned_at == [[], [7]]
    assert bench.taken() == [(TP, [7])]


def test_what_has_not_begun_is_given_back_without_asking_the_core(bench: Bench) -> None:
    bench.consumer.found = [{}, *[KafkaError(KafkaError._TIMED_OUT)] * BEGIN_TRIES]
    bench.assign(OTHER)
    bench.poll(lambda me: me.on_assign(me, [KafkaPartition(*TP)]))
    bench.poll(revoke(TP, OTHER))
    assert bench.wait(Revoked) == [Revoked(0, (OTHER,), TIMEOUT)]
    bench.source.execute(Release(0, (OTHER,), {}))
    bench.poll(lambda me: me.on_assign(me, [KafkaPartition(*TP)]))
    bench.wait(Assigned, 2)

    assert bench.consumer.unassigned == [[OTHER]]


def test_a_group_without_a_commit_is_fatal_where_that_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_a_bench(monkeypatch, "error") as bench:
        bench.poll(lambda me: me.on_assign(me, [KafkaPartition(*TP)]))
        assert select.select([bench.source], [], [], TIMEOUT)[0]

        assert str(bench.source.fatal).startswith("t[0]: the group has no committed offset")
        assert bench.source.events() == []
        # It is told first.
        until(lambda: bench.consumer.assigned_at, "the end of the callback", TIMEOUT)
        assert bench.consumer.assigned_at == [[]]


def test_librdkafka_is_never_left_to_decide_where_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for offset in "earliest", "latest", "error":
        with on_a_bench(monkeypatch, offset) as bench:
            assert bench.consumer.config["auto.offset.reset"] == "error"


def error(code: int, offset: int, partition: TopicPartition = TP) -> Message:
    return Message(*partition, offset, error=KafkaError(code, "the reason"))


def test_what_is_gone_from_the_log_is_told_and_the_rest_is_read(bench: Bench) -> None:
    bench.consumer.found = [{("t", 0): (10, "")}]
    bench.consumer.ends = {TP: (50, 100)}
    bench.assign(TP)
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))
    assert bench.wait(Gone) == [Gone({TP: 50}, 0)]
    bench.poll(lambda _: message(50))
    bench.wait(Fetched)

    assert bench.consumer.seeks == [(TP, 50)]
    assert bench.taken() == [(TP, [50])]


def test_the_ends_of_a_log_are_asked_for_until_they_are_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "ASK_AGAIN_SECONDS", 0.0)
    bench.consumer.found = [{("t", 0): (10, "")}]
    bench.assign(TP)
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.ends = {TP: (50, 100)}

    assert bench.wait(Gone) == [Gone({TP: 50}, 0)]
    bench.consumer.wait_for("resume", TP)


def test_a_log_that_ends_below_the_position_is_read_anew(bench: Bench) -> None:
    bench.consumer.found = [{("t", 0): (10, "map")}]
    bench.consumer.ends = {TP: (0, 4)}
    bench.assign(TP)
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))
    bench.wait(Lost)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched)

    assert bench.events[1:3] == [Lost(0, (TP,)), Assigned(0, {TP: Start(None)})]
    assert bench.consumer.seeks == [(TP, OFFSET_BEGINNING)]
    assert bench.taken() == [(TP, [0])]


def test_an_offset_outside_the_log_is_fatal_where_that_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_a_bench(monkeypatch, "error") as bench:
        bench.consumer.found = [{("t", 0): (10, "")}]
        bench.consumer.ends = {TP: (50, 100)}
        bench.assign(TP)
        bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))
        until(lambda: bench.source.fatal is not None, "the error", TIMEOUT)

        assert str(bench.source.fatal).startswith("t[0]: offset 10 is to be read next")
        assert bench.consumer.seeks == []


def test_an_error_about_a_place_that_was_left_behind_changes_nothing(bench: Bench) -> None:
    bench.assign(TP)
    bench.poll(lambda _: message(20))
    bench.wait(Fetched)
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))
    bench.poll(lambda _: message(21))
    bench.wait(Fetched, 2)

    assert bench.taken() == [(TP, [20]), (TP, [21])]
    assert bench.consumer.seeks == []


def test_a_partition_that_is_not_read_any_more_is_assigned_again(bench: Bench) -> None:
    bench.consumer.found = [{("t", 0): (10, "")}]
    bench.consumer.ends = {TP: (50, 100)}
    bench.assign(TP)
    bench.consumer.unread = True
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))
    bench.wait(Gone)
    bench.poll(lambda _: message(50))
    bench.wait(Fetched)

    assert bench.consumer.assigned_at == [[10], [50]]
    assert bench.consumer.unassigned == [[TP]]


def test_nothing_behind_an_error_is_handed_over_or_taken_for_a_gap(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 3600.0)
    bench.assign(TP, OTHER)
    damaged = error(KafkaError._BAD_MSG, 2)

    def with_what_librdkafka_reads_next(me: Scripted) -> list[Message]:
        me.positions = {TP: 909, OTHER: 1}
        return [message(1), damaged, message(900), message(0, OTHER)]

    def at_first(me: Scripted) -> Message:
        me.consumes.put(with_what_librdkafka_reads_next)
        return message(0)

    bench.poll(at_first)
    bench.wait(Fetched, 2)
    bench.poll(lambda _: message(901))
    halts = bench.source._members[0]._places._halts
    bench.poll(lambda _: setattr(halts[TP], "due", 0.0))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.wait_for("resume", TP)
    bench.poll(lambda _: damaged)
    (told,) = bench.wait(Unreadable)

    assert bench.taken() == [(TP, [0]), (TP, [1]), (OTHER, [0])]
    assert not [e for e in bench.events if isinstance(e, Positions)]
    assert (told.partition, told.offset) == (TP, 2)
    assert "the reason" in told.text and "--topic t:0 --reset-offsets --to-offset 9" in told.text
    assert bench.consumer.seeks == [(TP, 2)]


def test_what_could_not_be_read_goes_on_where_it_stood_once_it_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(places, "RETRY_SECONDS", 0.0)
    bench.assign(TP)
    bench.poll(lambda _: message(0))
    for _ in range(3):
        bench.poll(lambda _: error(KafkaError._BAD_MSG, 1))
        bench.consumer.wait_for("pause", TP)
        bench.consumer.wait_for("resume", TP)
    bench.poll(lambda _: message(1))
    bench.wait(Fetched, 2)

    assert bench.consumer.seeks == [(TP, 1)] * 3
    assert len(bench.wait(Unreadable)) == 2  # the first error may pass
    assert bench.taken() == [(TP, [0]), (TP, [1])]


def halt_once(bench: Bench, offset: int) -> None:
    """Let a partition stand still at an offset, and be tried again."""
    bench.assign(TP)
    bench.poll(lambda _: message(offset - 1))
    bench.poll(lambda _: error(KafkaError._BAD_MSG, offset))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.wait_for("resume", TP)


def test_what_cannot_be_read_may_be_gone_at_the_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 0.0)
    bench.consumer.ends = {TP: (50, 100)}
    halt_once(bench, 10)
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 10))

    assert bench.wait(Gone) == [Gone({TP: 50}, 0)]
    # It is told first.
    until(lambda: len(bench.consumer.seeks) == 2, "the next place", TIMEOUT)
    assert bench.consumer.seeks == [(TP, 10), (TP, 50)]


def test_a_position_that_was_read_out_of_damaged_bytes_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 0.0)
    bench.consumer.ends = {TP: (0, 100)}
    halt_once(bench, 10)
    bench.poll(lambda _: error(KafkaError._AUTO_OFFSET_RESET, 1 << 60))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.wait_for("resume", TP)
    bench.poll(lambda _: message(10))
    bench.wait(Fetched, 2)

    assert bench.consumer.seeks == [(TP, 10)] * 2
    assert not [e for e in bench.events if isinstance(e, Lost | Gone)]


def test_a_try_that_meets_no_error_ends_the_halt_without_a_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "FIRST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(places, "TRIAL_SECONDS", 0.0)
    bench.assign(TP)
    bench.poll(lambda _: message(0))
    bench.poll(lambda _: error(KafkaError._BAD_MSG, 1))
    bench.consumer.wait_for("pause", TP)
    bench.consumer.wait_for("resume", TP)
    bench.consumer.positions = {TP: 2}  # a marker of a transaction stood there

    assert bench.wait(Positions) == [Positions({TP: 2}, 0)]


def test_a_commit_that_cannot_even_be_sent_is_answered(bench: Bench) -> None:
    bench.assign(TP)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched)
    bench.consumer.refusals = [KafkaError(KafkaError._STATE, "not now")]
    bench.source.execute(Commit({TP: Mark(1, "")}))
    assert bench.wait(Committed) == [Committed({TP: Mark(1, "")}, "not now")]

    bench.source.execute(Commit({TP: Mark(1, "")}))
    assert bench.wait(Committed, 2)[1] == Committed({TP: Mark(1, "")})


def test_the_last_commit_of_an_epoch_is_tried_again_while_the_group_moves(bench: Bench) -> None:
    bench.assign(TP)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched)
    moving = KafkaError(KafkaError.REBALANCE_IN_PROGRESS, "moving")
    bench.consumer.refusals = [moving] * (commits.LAST_TRIES - 1)
    bench.poll(revoke(TP))
    bench.wait(Revoked)
    bench.source.execute(Release(0, (TP,), {TP: Mark(1, "")}))

    assert bench.wait(Committed) == [Committed({TP: Mark(1, "")})]
    assert bench.consumer.commits == [{TP: 1}]


def test_what_stays_refused_at_the_end_of_an_epoch_is_answered(bench: Bench) -> None:
    bench.assign(TP)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched)
    bench.consumer.refusals = [KafkaError(KafkaError.ILLEGAL_GENERATION, "too late")]
    bench.poll(revoke(TP))
    bench.wait(Revoked)
    bench.source.execute(Release(0, (TP,), {TP: Mark(1, "")}))

    assert bench.wait(Committed) == [Committed({TP: Mark(1, "")}, "too late")]
    assert bench.consumer.commits == []


def test_nothing_is_committed_of_what_was_lost(bench: Bench) -> None:
    bench.assign(TP)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched)
    bench.poll(lambda me: me.on_lost(me, [KafkaPartition(*TP)]))
    bench.wait(Lost)
    bench.source.execute(Commit({TP: Mark(1, "")}))

    assert bench.wait(Committed) == [Committed({TP: Mark(1, "")}, NOT_OWNED)]
    assert bench.consumer.commits == []


def with_a_commit_on_its_way(bench: Bench) -> None:
    """A partition whose commit at 1 the broker has not answered."""
    bench.assign(TP, OTHER)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched)
    bench.consumer.held = []
    bench.source.execute(Commit({TP: Mark(1, "former")}))
    until(lambda: bench.consumer.marks == [Mark(1, "former")], "the commit", TIMEOUT)


def answered_at_last(bench: Bench) -> None:
    """All answers that are late come."""
    late, bench.consumer.held = bench.consumer.held, None
    for answer in late or ():
        bench.poll(answer)


def carried_out(bench: Bench) -> None:
    """Everything that was posted is carried out: a commit of another partition is."""
    bench.source.execute(Commit({OTHER: Mark(0, "other")}))
    until(lambda: Mark(0, "other") in bench.consumer.marks, "the other commit", TIMEOUT)


def test_an_assignment_during_a_commit_begins_behind_it(bench: Bench) -> None:
    bench.consumer.found = [{("t", 1): (0, "")}, {("t", 0): (0, "")}]
    with_a_commit_on_its_way(bench)
    bench.poll(lambda me: me.on_lost(me, [KafkaPartition(*TP)]))
    bench.wait(Lost)
    bench.poll(lambda me: me.on_assign(me, [KafkaPartition(*TP)]))
    bench.wait(Assigned, 2)
    bench.poll(lambda _: message(0))
    bench.wait(Fetched, 2)

    # The core does not know of what its former epoch has asked for, and asks at once.
    bench.source.execute(Commit({TP: Mark(1, "present")}))
    carried_out(bench)

    assert bench.consumer.marks == [Mark(1, "former"), Mark(0, "other")]
    answered_at_last(bench)
    until(lambda: bench.consumer.marks[2:] == [Mark(1, "present")], "the present one", TIMEOUT)


def test_a_late_release_does_not_overtake_and_is_replaced_by_what_is_newer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "ANSWER_SECONDS", 0.01)
    bench.source._members[0]._drain_seconds = 0.0
    bench.consumer.found = [{("t", 1): (0, "")}, {("t", 0): (1, "")}]
    with_a_commit_on_its_way(bench)
    bench.poll(revoke(TP))  # and nobody answers in time
    bench.wait(Revoked)
    bench.poll(lambda me: me.on_assign(me, [KafkaPartition(*TP)]))
    bench.wait(Assigned, 2)

    bench.source.execute(Release(0, (TP,), {TP: Mark(1, "in order")}))
    bench.source.execute(Commit({TP: Mark(1, "present")}))
    carried_out(bench)

    assert bench.consumer.marks == [Mark(1, "former"), Mark(0, "other")]
    answered_at_last(bench)
    # That nothing is with a worker would not be true of the present epoch.
    until(lambda: bench.consumer.marks[2:] == [Mark(1, "present")], "the present one", TIMEOUT)


def test_the_answer_to_another_revoke_does_not_end_this_one(bench: Bench) -> None:
    bench.assign(TP, OTHER)
    bench.poll(revoke(TP))
    bench.wait(Revoked)
    bench.source.execute(Release(0, (OTHER,), {}))
    bench.source.execute(Commit({OTHER: Mark(0, "")}))
    bench.wait(Committed)
    assert bench.source._members[0].owned == {TP, OTHER}

    bench.source.execute(Release(0, (TP,), {}))
    bench.poll(lambda _: message(0, OTHER))
    bench.wait(Fetched)
    assert bench.source._members[0].owned == {OTHER}


def test_a_thread_that_fails_is_a_fatal_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Scripted) -> None:
        raise RuntimeError("broken")

    bench.poll(fail)
    assert select.select([bench.source], [], [], TIMEOUT)[0]

    assert "broken" in str(bench.source.fatal)
    assert bench.source.close(TIMEOUT)
    assert "a fetch thread failed" in caplog.text


def test_messages_of_what_is_not_owned_are_not_handed_over(bench: Bench) -> None:
    bench.assign(TP)
    bench.consumer.consumes.put(lambda _: [message(0), message(1, OTHER)])
    bench.poll(lambda _: message(0, OTHER))
    bench.wait(Fetched)

    assert bench.taken() == [(TP, [0])]
    assert bench.source.fatal is None


def test_a_position_beyond_the_last_message_is_told_once_and_may_be_committed(
    bench: Bench,
) -> None:
    bench.assign(TP, OTHER)

    def read_to_the_end(me: Scripted) -> Message:
        me.positions = {TP: 5, OTHER: 1}
        return message(0, OTHER)

    bench.poll(lambda _: message(0))
    bench.poll(read_to_the_end)
    bench.wait(Positions)
    bench.source.execute(Commit({TP: Mark(5, ""), OTHER: Mark(1, "")}))

    assert bench.wait(Committed) == [Committed({TP: Mark(5, ""), OTHER: Mark(1, "")})]
    assert bench.wait(Positions) == [Positions({TP: 5}, 0)]
