"""What is asked of Kafka at the start, and every way in which it may not answer."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Foreign

from kqworker.errors import BrokerError
from kqworker.kafka.admin import Admin
from kqworker.kafka.devbroker import PROPERTIES, DevBroker, create_topics, start_dev_broker
from kqworker.kafka.group_lag import left_to_read
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import admin_properties, producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.types import Output, TopicPartition
from tests.kafka.node import free_ports
from tests.waiting import until

TIMEOUT = 20.0


@pytest.fixture
def broker() -> Iterator[DevBroker]:
    with start_dev_broker() as started:
        create_topics(started.address, ["test", "logs.a", "logs.b"])
        yield started


@pytest.fixture
def kafka(broker: DevBroker) -> Iterator[Admin]:
    with admin(broker.address) as asking:
        yield asking


def admin(address: str, **extra: str) -> Admin:
    dotted = {name.replace("_", "."): value for name, value in extra.items()}
    return Admin(admin_properties(address, dotted))


def refusal(address: str, timeout: float, *words: str, **extra: str) -> str:
    """What is told, once it has these words; a name server, too, may take its time."""
    told: list[str] = []
    with admin(address, **extra) as asking:

        def said() -> bool:
            with pytest.raises(BrokerError) as raised:
                asking.cluster(timeout)
            told.append(str(raised.value))
            return all(word in told[-1] for word in words)

        until(said, f"{words} in what is told")
    return told[-1]


def unused() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_a_cluster_that_answers_says_how_many_brokers_are_up(kafka: Admin) -> None:
    assert kafka.cluster(TIMEOUT).brokers == 1


def test_topics_are_listed_with_their_partitions(kafka: Admin) -> None:
    assert kafka.topics(TIMEOUT) == {"test": 4, "logs.a": 4, "logs.b": 4}


def test_required_topics_come_with_their_partitions_and_patterns_with_what_they_match(
    kafka: Admin,
) -> None:
    wanted = ["test", r"^logs\..*", "test", r"^none\..*"]

    assert kafka.require_topics(wanted, TIMEOUT) == {"test": 4, "logs.a": 4, "logs.b": 4}


def test_a_caret_holds_for_its_own_alternative_of_a_pattern_alone(kafka: Admin) -> None:
    assert kafka.require_topics([r"^none|\.b"], TIMEOUT) == {"logs.b": 4}


def test_each_missing_topic_is_named_with_what_it_may_have_been_and_is_not_created(
    kafka: Admin,
) -> None:
    with pytest.raises(BrokerError) as raised:
        kafka.require_topics(["tset", "test", "zebra"], TIMEOUT)

    first, second, remedy = str(raised.value).splitlines()
    assert first == "topic 'tset' does not exist (did you mean 'test'?)"
    assert second == "topic 'zebra' does not exist"
    assert remedy.startswith("kqworker creates no topics; with Kafka's own tools: kafka-topics.sh")
    assert remedy.endswith(" --create --topic zebra")
    assert kafka.topics(TIMEOUT).keys() == {"test", "logs.a", "logs.b"}


def test_offsets_of_no_partition_are_none(kafka: Admin) -> None:
    assert kafka.end_offsets([], timeout=TIMEOUT) == kafka.committed("g", [], TIMEOUT) == {}


def test_a_group_is_behind_where_it_has_not_committed_the_end(
    kafka: Admin, broker: DevBroker
) -> None:
    sink = KafkaPushSink(Outgoing(producer_properties(broker.address)))
    for partition in (0, 0, 1, 2):
        sink.send(Output("test", b"1", partition=partition))
    assert sink.close(TIMEOUT)
    properties = {"bootstrap.servers": broker.address, "group.id": "g", **PROPERTIES}
    member = Consumer(properties)
    marks = [Foreign("test", 0, 1), Foreign("test", 1, 1), Foreign("test", 3, 0)]
    member.commit(offsets=marks, asynchronous=False)
    member.close()
    partitions = [TopicPartition("test", number) for number in range(4)]
    zero, one, two, three = partitions

    assert kafka.end_offsets(partitions, timeout=TIMEOUT) == {zero: 2, one: 1, two: 1, three: 0}
    assert set(kafka.beginning_offsets(partitions, TIMEOUT).values()) == {0}
    assert kafka.committed("g", partitions, TIMEOUT) == {zero: 1, one: 1, three: 0}
    assert kafka.committed("unheard-of", partitions, TIMEOUT) == {}
    assert left_to_read(kafka, "g", {"test": 4}, "earliest", timeout=TIMEOUT) == {zero: 2, two: 1}
    assert left_to_read(kafka, "g", {"test": 4}, "latest", timeout=TIMEOUT) == {zero: 2}


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    ],
)
def test_offsets_are_asked_for_again_while_brokers_do_not_agree_who_leads(
    kafka: Admin, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    list_offsets = kafka._client.list_offsets
    refused: list[Future[Any]] = []

    def at_first_refused(asked: dict[Foreign, Any], **options: Any) -> dict[Foreign, Future[Any]]:
        if refused:
            return list_offsets(asked, **options)
        refused.append(Future())
        refused[0].set_exception(KafkaException(KafkaError(code)))
        return dict.fromkeys(asked, refused[0])

    monkeypatch.setattr(kafka._client, "list_offsets", at_first_refused)
    zero = TopicPartition("test", 0)

    assert kafka.end_offsets([zero], timeout=TIMEOUT) == {zero: 0}
    assert refused


def test_the_offsets_of_a_topic_that_does_not_exist_are_refused(kafka: Admin) -> None:
    with pytest.raises(BrokerError, match=r"^cannot read the offsets of the topics: \S") as raised:
        kafka.end_offsets([TopicPartition("nowhere", 0)], timeout=1)

    assert str(raised.value).count("\n") == 0


def test_what_kafka_refuses_to_tell_of_a_group_is_told_at_once(
    kafka: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidden:
        def __init__(self, properties: object, logger: object) -> None:
            pass

        def committed(self, partitions: object, timeout: float) -> None:
            raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "not yours"))

        def close(self) -> None:
            pass

    monkeypatch.setattr("kqworker.kafka.admin.Consumer", Forbidden)
    with pytest.raises(BrokerError) as raised:
        kafka.committed("g", [TopicPartition("test", 0)], TIMEOUT)

    assert str(raised.value) == "cannot read what group 'g' has committed: not yours"
    assert not raised.value.retriable


# What may be wrong


def test_a_refused_connection_is_told_with_how_long_was_waited() -> None:
    address = unused()

    assert refusal(address, 1, "refused") == (
        f"cannot reach Kafka at {address}: connection refused (waited 1s)"
    )


def test_each_broker_has_its_own_reason_where_they_differ() -> None:
    address = unused()
    text = refusal(f"{address},nowhere.invalid:9092", 0.5, "refused", "unknown")

    assert text.startswith(f"cannot reach Kafka at {address},nowhere.invalid:9092: ")
    assert f"{address}: connection refused" in text
    assert "nowhere.invalid:9092: the host name is unknown (" in text
    assert text.endswith("(waited 0.5s)")


def test_a_broker_that_accepts_and_says_nothing_gives_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        said = f"cannot reach Kafka at {address}: no answer (waited 0.5s)"
        assert refusal(address, 0.5) == said


def test_a_broker_that_comes_up_late_is_waited_for(broker: DevBroker) -> None:
    late = unused()
    host, port = late.split(":")

    def forward() -> None:
        # Nothing listens until the first attempts were refused.
        heard.wait(TIMEOUT)
        with socket.create_server((host, int(port))) as server:
            client, _ = server.accept()
            behind = socket.create_connection(tuple(broker.address.split(":")))
            for source, target in ((client, behind), (behind, client)):
                threading.Thread(target=pump, args=(source, target), daemon=True).start()
            done.wait(TIMEOUT)
            client.close()
            behind.close()

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:  # the other end has closed
            pass

    heard, done = threading.Event(), threading.Event()
    forwarder = threading.Thread(target=forward)
    forwarder.start()
    logger = logging.getLogger("kqworker.kafka")
    handler = logging.Handler()
    handler.emit = lambda record: heard.set()  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        with admin(late) as asking:
            assert asking.cluster(TIMEOUT).brokers == 1
    finally:
        logger.removeHandler(handler)
        done.set()
        forwarder.join()


def test_ctrl_c_is_answered_within_a_second() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with admin(unused()) as asking, pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            began = time.monotonic()
            asking.cluster(30)
        assert time.monotonic() - began < 1.5
    finally:
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_in_the_middle_of_a_callback_is_ctrl_c() -> None:
    class Losing:
        """What confluent_kafka does of it."""

        def poll(self, timeout: float) -> None:
            raise SystemError("returned NULL without setting an exception")

    with admin(unused()) as asking:
        client = asking._client
        losing: Any = Losing()
        losing.list_topics = client.list_topics
        asking._client = losing
        with pytest.raises(KeyboardInterrupt):
            asking.cluster(1)
        asking._client = client


def test_a_login_where_none_is_expected_ends_the_wait_at_once(broker: DevBroker) -> None:
    began = time.monotonic()
    text = refusal(
        broker.address,
        TIMEOUT,
        security_protocol="sasl_plaintext",
        sasl_mechanism="PLAIN",
        sasl_username="a",
        sasl_password="b",
    )

    assert text.startswith(f"Kafka at {broker.address} refuses the login: ")
    assert time.monotonic() - began < TIMEOUT / 2


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[str]:
    """A listener with a certificate that nobody trusts; it never gets as far as Kafka."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(client, server_side=True).close()
                except OSError:  # the client did not like what it saw
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_certificate_that_is_not_trusted_ends_the_wait_at_once(tls: str) -> None:
    began = time.monotonic()
    text = refusal(tls, TIMEOUT, security_protocol="ssl")

    assert text.startswith(f"cannot reach Kafka at {tls}: ")
    assert "certificate" in text
    assert time.monotonic() - began < TIMEOUT / 2


def test_no_tls_where_tls_is_wanted_asks_for_the_security_protocol(tls: str) -> None:
    assert refusal(tls, 1, "is security.protocol right?")


def test_tls_where_none_is_wanted_is_told(broker: DevBroker) -> None:
    said = "PLAINTEXT broker listener?"
    assert refusal(broker.address, 1, said, security_protocol="ssl")


def test_nothing_of_all_this_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    refusal(unused(), 1, "refused")

    assert capfd.readouterr() == ("", "")
