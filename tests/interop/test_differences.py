"""Where kqworker differs from go-queue on purpose: each difference, seen on both.

docs/reference/go-queue.md has a line for each, with the name of its test. Lost messages after
a SIGKILL are test_kills.py's, headers that arrive test_messages.py's.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from kqworker.core.completion import decode
from kqworker.errors import BrokerError
from kqworker.kafka import properties
from kqworker.kq import Pusher, load, with_sync_push
from kqworker.kq.queue.translate import translate
from tests.interop.programs import Program, Programs, configuration, encoded
from tests.interop.test_messages import TRACE, TRACE_HEADERS, headers
from tests.kafka import certificates, records
from tests.kafka.cluster import Cluster

QUICK = {"Shutdown": {"WrapUpTime": "100ms"}}


def messages(*verbs: str) -> list[bytes]:
    """Numbered values."""
    return [f"{number} {verb}".encode() for number, verb in enumerate(verbs)]


def at_once(program: Program) -> int:
    """How many handlers of a program ran at the same time at most."""
    events = sorted(program.events(), key=lambda event: event.at)
    running = highest = 0
    for event in events:
        running += {"begun": 1, "handled": -1}.get(event.kind, 0)
        highest = max(highest, running)
    return highest


def reached(kafka: Cluster, group: str, topic: str) -> int:
    """The committed offset of partition 0; 0 before the first commit."""
    committed = kafka.committed(group, topic).get(0)
    return 0 if committed is None else committed.offset


def with_a_slow_one(kafka: Cluster, program: Program, topic: str) -> None:
    """Return when a slow message at offset 0 is being handled, and many after it are done."""
    records.produce(kafka, topic, messages("sleep 30"))
    program.until(lambda: program.numbers("begun") == [0], "the slow one has begun")
    records.produce(kafka, topic, [f"{number} ok".encode() for number in range(1, 100)])
    program.handled(50)


def test_the_original_commits_past_what_is_still_being_handled(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic()
    go = programs.go(kafka, topic, group="out-of-order")
    with_a_slow_one(kafka, go, topic)
    go.until(lambda: kafka.committed("out-of-order", topic), "a commit")
    assert kafka.committed("out-of-order", topic)[0].offset > 0
    assert 0 not in go.numbers()
    go.kill()

    topic = kafka.new_topic()
    ours = programs.queue(kafka, topic, group="in-order")
    with_a_slow_one(kafka, ours, topic)

    def done_above() -> object:
        committed = kafka.committed("in-order", topic).get(0)
        if committed is None:
            return False
        assert committed.offset == 0
        marked = decode(committed.metadata, 0)
        return marked is not None and marked.done

    ours.until(done_above, "a commit of what is done above the slow one")
    assert 0 not in ours.numbers()


def test_a_record_that_the_broker_refuses_is_lost_in_silence_there_and_an_error_here(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic(config={"max.message.bytes": "1000"})
    too_large = os.urandom(5000)

    answers = programs.push(kafka, topic, [encoded("PushWithKey", b"k", too_large)], "-sync")
    assert [answer["Error"] for answer in answers] == ["", ""]
    assert kafka.end_offsets(topic) == {0: 0}

    with (
        Pusher(kafka.bootstrap, topic, with_sync_push()) as pusher,
        pytest.raises(BrokerError, match=f"more than topic '{topic}' takes"),
    ):
        pusher.push_with_key("k", too_large)


def test_one_key_goes_to_all_partitions_there_and_to_one_here(
    kafka: Cluster, programs: Programs
) -> None:
    there, here = kafka.new_topic(4), kafka.new_topic(4)
    programs.push(kafka, there, [encoded("PushWithKey", b"same", b"v")] * 20)
    with Pusher(kafka.bootstrap, here) as pusher:
        for _ in range(20):
            pusher.push_with_key("same", "v")

    assert sorted(kafka.end_offsets(there).values()) == [5, 5, 5, 5]
    assert sorted(kafka.end_offsets(here).values()) == [0, 0, 0, 20]


def test_a_failed_asynchronous_push_is_silent_there_and_raised_here(
    kafka: Cluster, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = programs.push(kafka, "missing", [encoded("PushWithKey", b"k", b"v")])
    assert [answer["Error"] for answer in answers] == ["", ""]

    # Within 10 s, which this test does not wait for.
    monkeypatch.setitem(properties._PRODUCER, "topic.metadata.propagation.max.ms", "500")

    pusher = Pusher(kafka.bootstrap, "missing")
    pusher.push_with_key("k", "v")
    with pytest.raises(BrokerError, match="missing"):
        pusher.close()


def test_a_ca_file_without_a_user_crashes_the_original_and_means_tls_here(
    kafka: Cluster, programs: Programs
) -> None:
    authority = str(certificates.make_authority(programs.folder))
    go = programs.go(kafka, "any", CaFile=authority)
    assert go.wait() == 2
    assert "nil pointer dereference" in go.out

    file = configuration(programs.folder / "ours.yaml", kafka, "any", "any", CaFile=authority)
    kafka_settings = dict(translate(load(file)).settings.kafka)
    assert kafka_settings["security.protocol"] == "ssl"
    assert kafka_settings["ssl.ca.location"] == authority


def test_the_original_takes_any_certificate_and_logs_in_by_plain_alone(
    kafka_tls: Cluster, programs: Programs
) -> None:
    topic = kafka_tls.new_topic()
    records.produce(kafka_tls, topic, messages("ok"))
    theirs = programs.folder / "others"
    theirs.mkdir()
    other = str(certificates.make_authority(theirs))
    login = {
        "Username": kafka_tls.client["sasl.username"],
        "Password": kafka_tls.client["sasl.password"],
    }
    scram = {"Kqworker": {"sasl_mechanism": "scram-sha-512"}}

    # With the wrong authority it gets as far as being told that PLAIN is not served.
    go = programs.go(kafka_tls, topic, CaFile=other, **login)
    go.until(lambda: "SASL" in go.out, "an answer of the broker")
    assert "Unsupported SASL Mechanism" in go.out
    go.kill()

    refused = programs.queue(kafka_tls, topic, CaFile=other, **login, **scram)
    assert refused.wait() == 3
    assert "certificate" in refused.out

    right = kafka_tls.client["ssl.ca.location"]
    assert programs.queue(kafka_tls, topic, CaFile=right, **login, **scram).handled(1).stop() == 0


def test_after_a_panic_in_order_the_original_commits_no_more(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic()
    # With ten for each CPU its ring would come round, and commit in the wrong place.
    count = 8
    records.produce(kafka, topic, messages("panic", *["ok"] * (count - 1)))

    go = programs.go(kafka, topic, group="frozen", CommitInOrder=True, **QUICK)
    assert go.handled(count - 1).stop() == 0
    assert kafka.committed("frozen", topic) == {}

    ours = programs.queue(kafka, topic, group="flowing", CommitInOrder=True)
    ours.handled(count - 1)
    ours.until(lambda: reached(kafka, "flowing", topic) == count, "all committed")
    assert ours.stop() == 0, ours


def test_a_panic_ends_the_original_and_costs_its_own_message_alone_here(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic()
    records.produce(kafka, topic, messages("panic", *["ok"] * 14))

    go = programs.go(kafka, topic, group="panic")
    assert go.wait() == 2
    assert "panic: as it says" in go.out
    assert kafka.committed("panic", topic) == {}

    ours = programs.queue(kafka, topic, group="crash").handled(14)
    ours.until(lambda: reached(kafka, "crash", topic) == 15, "all committed")
    assert ours.stop() == 0, ours


def test_a_stop_forgets_what_it_waited_for_there_and_commits_it_here(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic()
    records.produce(kafka, topic, messages(*["sleep 1"] * 8))

    go = programs.go(kafka, topic, group="forgets", Processors=2, **QUICK)
    go.until(lambda: go.count("begun") == 2, "two begun")
    go.stop()
    assert go.count("handled") >= 2
    assert kafka.committed("forgets", topic) == {}
    assert "commit failed" in go.out

    ours = programs.queue(kafka, topic, group="commits", Processors=2)
    ours.until(lambda: ours.count("begun") == 2, "two begun")
    assert ours.stop() == 0, ours
    rest = programs.queue(kafka, topic, group="commits", Processors=8)
    rest.handled(8 - ours.count("handled"))
    assert sorted(ours.numbers() + rest.numbers()) == list(range(8))


def test_in_order_the_original_ignores_its_processors(kafka: Cluster, programs: Programs) -> None:
    topic = kafka.new_topic()
    cpus = len(os.sched_getaffinity(0))
    wanted = cpus + 2
    records.produce(kafka, topic, messages(*["sleep 0.5"] * 2 * wanted))
    in_order = {"CommitInOrder": True, "Processors": wanted}

    go = programs.go(kafka, topic, group="by-cpus", **in_order).handled(2 * wanted)
    assert at_once(go) == cpus

    # "sleep 0.5" is short where a worker is still starting.
    topic = kafka.new_topic()
    records.produce(kafka, topic, messages(*["sleep 20"] * wanted))
    ours = programs.queue(kafka, topic, group="by-processors", **in_order)
    ours.until(lambda: ours.count("begun") == wanted, f"{wanted} at once")


def test_the_original_gives_its_handler_no_headers_and_in_order_no_trace(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic()
    written = [*TRACE_HEADERS, ("tenant", b"blue-42")]
    line = encoded(
        "",
        b"k",
        b"v",
        Headers=[{"Key": k, "Value": base64.b64encode(v).decode()} for k, v in written],
    )
    programs.ask("write", kafka.bootstrap, topic, lines=[line])

    for in_order in (False, True):
        go = programs.go(kafka, topic, group=f"go-{in_order}", verbs=False, CommitInOrder=in_order)
        (event,) = go.handled(1).events("handled")
        assert "blue-42" not in event.told["Context"]
        assert ("TraceID" in event.told) is not in_order
        go.kill()
        ours = programs.queue(
            kafka, topic, group=f"py-{in_order}", verbs=False, CommitInOrder=in_order
        )
        (event,) = ours.handled(1).events("handled")
        assert headers(event.told) == written
        assert dict(headers(event.told))["traceparent"].decode() == TRACE["traceparent"]
        ours.kill()


def test_without_force_commit_the_next_success_commits_past_a_failure_there(
    kafka: Cluster, programs: Programs
) -> None:
    topic = kafka.new_topic()
    records.produce(kafka, topic, messages("fail", "ok"))

    go = programs.go(kafka, topic, group="past", ForceCommit=False, **QUICK)
    go.until(lambda: kafka.committed("past", topic), "a commit")
    assert reached(kafka, "past", topic) == 2
    assert go.numbers("begun").count(0) == 1
    assert go.stop() == 0

    ours = programs.queue(kafka, topic, group="again", ForceCommit=False)
    ours.until(lambda: ours.numbers("begun").count(0) >= 2, "tried again")
    ours.handled(1)
    ours.kill()
    assert reached(kafka, "again", topic) == 0


def test_an_unknown_key_is_silent_there_and_told_of_here(
    kafka: Cluster, programs: Programs, tmp_path: Path
) -> None:
    file = configuration(tmp_path / "typo.yaml", kafka, "any", "any", Procesors=2)

    (verdict,) = programs.ask("conf", str(file))
    assert verdict["Error"] == "" and verdict["Conf"]["Processors"] == 8

    (warning,) = load(file).warnings
    assert "Procesors" in warning and "Processors" in warning
    assert json.dumps(str(file))[1:-1] in warning
