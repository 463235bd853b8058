"""TLS and SCRAM-SHA-512 by plain settings, and what is said when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kafka import certificates
from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.node import PASSWORD, USER
from tests.kafka.records import consume

APP = """\
from kqworker import App

app = App("secured")

@app.handler(topic={topic!r}, output={output!r})
def shout(text: str) -> str:
    return text.upper()
"""
# A refusal that is final is told at once, not after --startup-timeout.
STARTUP = 40.0
QUICK = 15.0

of_every_command = pytest.mark.parametrize("command", ["check", "run", "push"])


class Secured:
    """A directory with an app and a kqworker.yaml for a cluster.

    Args:
        kqworker: Runs commands there.
        cluster: Where to.
        changed: Properties that are other than they should be; None takes one away.
        topics: Of the app: what it reads, and what it writes to.
    """

    def __init__(
        self,
        kqworker: Command,
        cluster: Cluster,
        changed: Mapping[str, str | None] | None = None,
        topics: tuple[str, str] = ("in", "out"),
    ) -> None:
        kafka = {**cluster.client, **(changed or {})}
        settings = {
            "brokers": kafka.pop("bootstrap.servers"),
            "startup_timeout": STARTUP,
            "kafka": {name: value for name, value in kafka.items() if value is not None},
        }
        # JSON is YAML.
        (kqworker.folder / "kqworker.yaml").write_text(json.dumps(settings))
        (kqworker.folder / "app.py").write_text(APP.format(topic=topics[0], output=topics[1]))
        self._kqworker = kqworker

    def refusal(self, command: str, *options: str) -> str:
        """Run a command that is refused; return what it says."""
        arguments = ("in", "payload") if command == "push" else ("app:app",)
        ended = self._kqworker(command, *arguments, *options)
        assert ended.code == 3, ended
        assert ended.seconds < QUICK, ended
        assert PASSWORD not in ended.text
        return ended.error


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority that the broker does not have its own from."""
    return certificates.make_authority(tmp_path_factory.mktemp("stranger"))


def test_plain_settings_are_enough_for_tls_and_scram(kafka_tls: Cluster, kqworker: Command) -> None:
    topics = kafka_tls.new_topic(), kafka_tls.new_topic()
    # The password comes by the environment, as a secret does.
    Secured(kqworker, kafka_tls, {"sasl.password": None}, topics)
    secret = {"KQWORKER_KAFKA_SASL_PASSWORD": PASSWORD}

    checked = kqworker("check", "app:app", **secret)
    pushed = kqworker("push", topics[0], stdin="one\ntwo\n", **secret)
    ran = kqworker("run", "app:app", "-w", "1", "--until-caught-up", "-l", "debug", **secret)

    assert [ended.code for ended in (checked, pushed, ran)] == [0, 0, 0], (checked, pushed, ran)
    assert sorted(message.value() for message in consume(kafka_tls, topics[1])) == [b"ONE", b"TWO"]
    assert kafka_tls.committed("secured", topics[0])[0].offset == 2
    assert PASSWORD not in checked.text + pushed.text + ran.text


def test_secrets_are_masked_where_settings_are_shown(kafka_tls: Cluster, kqworker: Command) -> None:
    Secured(kqworker, kafka_tls, {"ssl.key.password": "hidden-key"})

    shown = kqworker("config", "app:app", "-X", "ssl.keystore.password=hidden-store")

    assert shown.code == 0, shown
    rows = {line.split()[0]: line for line in shown.out.splitlines()}
    for name in ("sasl.password", "ssl.key.password", "ssl.keystore.password"):
        assert "********" in rows[f"kafka.{name}"]
    assert USER in rows["kafka.sasl.username"]
    assert not any(secret in shown.text for secret in (PASSWORD, "hidden-key", "hidden-store"))


def test_a_secret_is_not_shown_when_its_property_is_wrong(
    kafka_tls: Cluster, kqworker: Command
) -> None:
    Secured(kqworker, kafka_tls, {"sasl.pasword": "hidden"})

    ended = kqworker("check", "app:app")

    assert ended.code == 2, ended
    assert "unknown Kafka property 'sasl.pasword' (did you mean 'sasl.password'?)" in ended.error
    assert "hidden" not in ended.text and PASSWORD not in ended.text


@of_every_command
def test_a_wrong_password_is_told_at_once(
    kafka_tls: Cluster, kqworker: Command, command: str
) -> None:
    secured = Secured(kqworker, kafka_tls, {"sasl.password": "wrong-secret"})

    said = secured.refusal(command)

    assert f"Kafka at {kafka_tls.bootstrap} refuses the login" in said
    assert "wrong-secret" not in said


@of_every_command
def test_a_certificate_of_somebody_else_is_told_at_once(
    kafka_tls: Cluster, kqworker: Command, stranger: Path, command: str
) -> None:
    secured = Secured(kqworker, kafka_tls, {"ssl.ca.location": str(stranger)})

    said = secured.refusal(command)

    assert f"cannot reach Kafka at {kafka_tls.bootstrap}" in said
    assert "certificate" in said


@pytest.mark.parametrize(
    ("there", "reason"),
    [("tls", "(is security.protocol right?)"), ("plain", "SSL handshake failed")],
)
def test_the_wrong_kind_of_listener_is_told_with_a_question(
    kafka_tls: Cluster, kafka: Cluster, kqworker: Command, there: str, reason: str
) -> None:
    cluster = kafka_tls if there == "tls" else kafka
    ours: dict[str, str | None] = {**kafka.client} if there == "tls" else {**kafka_tls.client}
    ours["bootstrap.servers"] = cluster.bootstrap
    dropped = {name: None for name in kafka_tls.client if name not in ours}
    secured = Secured(kqworker, cluster, {**dropped, **ours})

    said = secured.refusal("check", "--startup-timeout", "3")

    assert f"cannot reach Kafka at {cluster.bootstrap}" in said
    assert reason in said


def test_a_missing_certificate_file_is_a_mistake_in_the_settings(
    kafka_tls: Cluster, kqworker: Command
) -> None:
    Secured(kqworker, kafka_tls, {"ssl.ca.location": "nowhere.pem"})

    ended = kqworker("check", "app:app")

    assert ended.code == 2, ended
    assert "ssl.ca.location" in ended.error
