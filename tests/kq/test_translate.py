"""What a queue's configuration becomes: settings, policies, warnings and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kqworker.core.retry import ENDLESS, Retry
from kqworker.errors import ConfigError
from kqworker.kafka.properties import consumer_properties
from kqworker.kq import KqConf, load
from kqworker.kq.conf.environment import forgotten
from kqworker.kq.conf.sections import LogConf, ShutdownConf
from kqworker.kq.queue.queue_options import QueueOptions
from kqworker.kq.queue.translate import Translation, translate
from kqworker.settings.settings import SETTINGS
from kqworker.types import Ordering

SIZES = (0, 1, 1024, 10 * 2**20, 2 * 2**30)


def conf(**fields: Any) -> KqConf:
    return KqConf(**{"name": "n", "brokers": ["b:1"], "group": "g", "topic": "t", **fields})


def own(**settings: object) -> Translation:
    return translate(conf(kqworker=settings))


def properties(translation: Translation) -> dict[str, str]:
    """Return what librdkafka has accepted."""
    return consumer_properties("b:1", "g", extra=translation.settings.kafka)


def test_defaults_mean_what_they_mean_to_go_queue() -> None:
    translation = translate(conf())

    settings = translation.settings
    assert (translation.name, translation.topic, settings.group) == ("n", "t", "g")
    assert settings.brokers == ("b:1",)
    assert (settings.offset, settings.members, settings.workers) == ("latest", 1, 8)
    assert (settings.commit_interval, settings.prefetch) == (1.0, 1000)
    assert (settings.log_level, settings.log_format) == ("info", "json")
    assert settings.shutdown_timeout == 5.5
    assert settings.kafka == {
        "fetch.min.bytes": "10240",
        "fetch.max.bytes": "10485760",
        "max.partition.fetch.bytes": "10485760",
        "fetch.wait.max.ms": "750",
    }
    assert (translation.ordering, translation.dead_letter) == (Ordering.UNORDERED, None)
    assert translation.warnings == ()


def test_a_host_without_a_port_gets_the_one_of_kafka() -> None:
    assert translate(conf(brokers=["a", "b:1"])).settings.brokers == ("a:9092", "b:1")


@pytest.mark.parametrize("low", SIZES)
@pytest.mark.parametrize("high", SIZES)
def test_librdkafka_takes_every_size_and_a_change_names_the_field(low: int, high: int) -> None:
    translation = translate(conf(min_bytes=low, max_bytes=high))

    found = properties(translation)
    for name, asked, given in (
        ("MinBytes", low or 1, found["fetch.min.bytes"]),
        ("MaxBytes", high or 1_000_000, found["fetch.max.bytes"]),
    ):
        told = [warning for warning in translation.warnings if f": {name}: " in warning]
        assert len(told) == (int(given) != asked), (name, given, told)


def test_a_small_max_bytes_still_holds_for_a_partition() -> None:
    assert properties(translate(conf(max_bytes=1024)))["max.partition.fetch.bytes"] == "1024"


@pytest.mark.parametrize("field", ["min_bytes", "max_bytes"])
def test_a_negative_size_is_an_error(field: str) -> None:
    with pytest.raises(ConfigError, match=r"M(in|ax)Bytes must be at least 0, not -1"):
        translate(conf(**{field: -1}))


@pytest.mark.parametrize(
    ("seconds", "ms"), [(0.2, "150"), (1.0, "750"), (59.0, "58000"), (3600.0, "58000")]
)
def test_a_wait_is_one_that_librdkafka_takes(seconds: float, ms: str) -> None:
    translation = translate(conf(), QueueOptions(max_wait=seconds))

    assert properties(translation)["fetch.wait.max.ms"] == ms
    assert ("with_max_wait(3600)" in str(translation.warnings)) == (seconds > 59)


def test_each_member_holds_what_a_queue_may_hold() -> None:
    options = QueueOptions(queue_capacity=50, commit_interval=0.5)

    settings = translate(conf(conns=3), options).settings

    assert (settings.members, settings.prefetch, settings.commit_interval) == (3, 150, 0.5)


@pytest.mark.parametrize(("field", "workers"), [("Conns", 8), ("Processors", 1)])
def test_nothing_is_taken_for_one_and_told(field: str, workers: int) -> None:
    translation = translate(conf(**{field.lower(): 0}))

    assert f"{field}: 0 is taken for 1" in str(translation.warnings)
    assert (translation.settings.members, translation.settings.workers) == (1, workers)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, False),
        ({"consumers": 1}, False),
        ({"consumers": 2}, True),
        ({"consumers": 2, "conns": 2}, False),
        ({"consumers": 4, "conns": 2}, True),
    ],
)
def test_consumers_that_change_nothing_are_told_once(fields: dict[str, int], told: bool) -> None:
    assert ["Consumers" in w for w in translate(conf(**fields)).warnings] == [True] * told


def test_consumers_of_a_file_are_told_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("Name: queue\nBrokers: [b]\nGroup: g\nTopic: t\nConsumers: 8\n")

    (warning,) = translate(load(file)).warnings

    assert warning.startswith(f"{file}:5: Consumers: ")


@pytest.mark.parametrize(
    ("fields", "setting", "value"),
    [
        ({"offset": "first"}, "offset", "earliest"),
        ({"log": LogConf(level="severe")}, "log_level", "error"),
        ({"log": LogConf(level="debug")}, "log_level", "debug"),
        ({"log": LogConf(encoding="plain")}, "log_format", "text"),
        ({"shutdown": ShutdownConf(wait_time=9.0)}, "shutdown_timeout", 9.0),
        ({"shutdown": ShutdownConf(wait_time=0.0)}, "shutdown_timeout", 5.5),
    ],
)
def test_a_field_becomes_its_setting(fields: Any, setting: str, value: object) -> None:
    assert getattr(translate(conf(**fields)).settings, setting) == value


@pytest.mark.parametrize("seconds", [0, -2.5])
def test_a_wait_of_nothing_is_the_default_and_told(seconds: float) -> None:
    translation = translate(conf(shutdown=ShutdownConf(wait_time=seconds)))

    assert translation.settings.shutdown_timeout == 5.5
    (told,) = translation.warnings
    assert told.endswith(f"Shutdown.WaitTime: {seconds:g}s is taken for the default, 5.5s")


def test_a_log_that_is_not_for_the_console_is_told() -> None:
    assert "Log.Mode: 'file' is not served" in str(
        translate(conf(log=LogConf(mode="file"))).warnings
    )


# -- failures


def test_a_failed_message_is_given_up_or_tried_until_it_succeeds() -> None:
    once = translate(conf())
    # Attempts are left for a message on which a worker dies: kq would be given it again.
    assert once.final and once.retry.attempts == 3
    endless = translate(conf(force_commit=False))
    assert not endless.final
    assert (endless.retry.attempts, endless.retry.cap) == (ENDLESS, 60.0)


@pytest.mark.parametrize("force_commit", [True, False])
def test_a_retry_of_our_own_bounds_either(force_commit: bool) -> None:
    retry = {"attempts": 4, "first": 0.5, "factor": 3, "cap": 9, "jitter": False}

    found = translate(conf(force_commit=force_commit, kqworker={"retry": retry}))

    assert found.retry == Retry(4, 0.5, 3.0, 9.0, False)
    assert not found.final


def test_our_own_settings_say_the_rest() -> None:
    translation = own(
        ordering="partition",
        dead_letter="t.dead",
        time_limit=7,
        startup_timeout=3,
        commit_interval=0.2,
        kafka={"session.timeout.ms": 7000, "debug": "cgrp"},
        assignor="range",
    )

    assert (translation.ordering, translation.dead_letter) == (Ordering.PARTITION, "t.dead")
    settings = translation.settings
    assert (settings.time_limit, settings.startup_timeout) == (7.0, 3.0)
    assert settings.commit_interval == 0.2
    found = properties(translation)
    assert found["partition.assignment.strategy"] == "range"
    assert found["session.timeout.ms"] == "7000"


def test_the_new_group_protocol_is_an_assignor() -> None:
    found = properties(own(assignor="consumer"))

    assert found["group.protocol"] == "consumer"
    assert "partition.assignment.strategy" not in found


def test_a_property_that_is_given_outright_counts_more_than_a_field() -> None:
    assert properties(own(kafka={"fetch.min.bytes": 1}))["fetch.min.bytes"] == "1"


def test_every_setting_is_one_of_ours_or_names_what_stands_for_it() -> None:
    for name in SETTINGS:
        try:
            own(**{name: None})
        except ConfigError as error:
            assert "has no setting" not in str(error), name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"orderin": "key"}, r"has no setting 'orderin' \(did you mean 'ordering'\?\)"),
        ({"workers": 3}, "Kqworker.workers: set Processors"),
        ({"topics": "t"}, "Kqworker.topics: set Topic"),
        ({"factory": True}, "Kqworker.factory: a queue has no App"),
        ({"ordering": "none"}, "Kqworker.ordering must be unordered, key or partition, not 'none'"),
        ({"retry": 3}, "Kqworker.retry must be a section with attempts"),
        (
            {"retry": {"attempt": 3}},
            r"retry.attempt is unknown \(did you mean 'attempts'\?\)",
        ),
        (
            {"retry": {"attempts": 0}},
            "Kqworker.retry.attempts must be a whole number of at",
        ),
        (
            {"retry": {"factor": 0.5}},
            "retry.factor must be a number of at least 1, not 0.5",
        ),
        ({"dead_letter": "t"}, "is the queue's own topic"),
        ({"dead_letter": "no good"}, "dead_letter: "),
        ({"tls": {"ca": "x"}}, "Kqworker.tls.ca is unknown"),
        ({"tls": {"key_file": "k"}}, "cert_file and key_file belong together"),
        ({"sasl_mechanism": "plain"}, "it needs Username and Password"),
        (
            {"sasl_mechanism": "scram"},
            "sasl_mechanism must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, not 'scram'",
        ),
        ({"assignor": "rang"}, "Kqworker.assignor must be range, roundrobin"),
        ({"time_limit": "soon"}, "Kqworker.time_limit must be"),
        ({"kafka": {"a": [1]}}, "Kqworker.kafka.a must be text"),
    ],
)
def test_a_mistake_of_ours_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        own(**settings)


def test_all_mistakes_are_told_in_the_order_of_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "Name: queue\nBrokers: [b]\nGroup: g\nTopic: t\nKqworker:\n"
        "  retry:\n    attempts: 0\n  kafka:\n    x: []\n  nothing: 1\n"
    )

    with pytest.raises(ConfigError) as caught:
        translate(load(file))

    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{file}:7",
        f"{file}:9",
        f"{file}:10",
    ]


def test_warnings_are_told_in_the_order_of_their_lines_and_those_without_one_last(
    tmp_path: Path,
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("Name: queue\nBrokers: [b]\nGroup: g\nTopic: t\nConns: 0\nMinByte: 1\n")

    translation = translate(load(file), QueueOptions(max_wait=100))

    assert [warning.split(": ")[0] for warning in translation.warnings] == [
        f"{file}:5",
        f"{file}:6",
        "with_max_wait(100)",
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"brokers": []}, "Brokers is empty: give the addresses of Kafka, each host:port"),
        ({"group": ""}, "Group must be text, not empty"),
        ({"group": "g\0two"}, "Group must be text without control characters"),
        ({"topic": "no good"}, "Topic: "),
        ({"offset": "newest"}, "Offset must be first or last, not 'newest'"),
    ],
)
def test_a_field_that_cannot_be_served_is_named_as_in_the_file(fields: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        translate(conf(**fields))


def test_each_wrong_broker_is_named_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "Name: queue\nGroup: g\nTopic: t\nBrokers:\n"
        "  - localhost 9092\n  - kafka:9092\n  - kafka:99999\n  - ${KAFKA}\n"
    )

    with pytest.raises(ConfigError) as caught:
        translate(load(file))

    form = "must be host:port, such as kafka:9092, not"
    assert str(caught.value).splitlines() == [
        f"{file}:5: Brokers[0] {form} 'localhost 9092'",
        f"{file}:7: Brokers[2] {form} 'kafka:99999'",
        f"{file}:8: Brokers[3] {form} '${{KAFKA}}'{forgotten('$KAFKA')}",
    ]


def test_a_broker_of_a_list_in_a_text_or_by_hand_has_the_origin_of_all(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("Name: queue\nGroup: g\nTopic: t\nBrokers: '[\"a b\"]'\n")

    with pytest.raises(ConfigError, match=r"c\.yaml:4: Brokers\[0\] must be host:port"):
        translate(load(file))
    with pytest.raises(ConfigError, match=r"KqConf\(\.\.\.\): Brokers\[1\] must be host:port"):
        translate(conf(brokers=["a", "b c"]))


# -- TLS and the login


def security(translation: Translation) -> dict[str, str]:
    kafka = translation.settings.kafka
    return {k: v for k, v in kafka.items() if k.startswith(("security", "sasl", "ssl"))}


def test_a_ca_file_alone_is_tls_with_verification() -> None:
    assert security(translate(conf(ca_file="ca.pem"))) == {
        "security.protocol": "ssl",
        "ssl.ca.location": "ca.pem",
    }


def test_user_and_password_are_a_plain_login() -> None:
    found = security(translate(conf(username="u", password="p")))

    assert found == {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "p",
    }


def test_the_mechanism_and_the_files_of_tls_are_settings_of_ours() -> None:
    tls = {"cert_file": "c.pem", "key_file": "k.pem", "key_password": "s"}
    ours = {"sasl_mechanism": "SCRAM-SHA-512", "tls": tls}

    found = security(translate(conf(username="u", password="p", kqworker=ours)))

    assert found["security.protocol"] == "sasl_ssl"
    assert found["sasl.mechanism"] == "SCRAM-SHA-512"
    assert found["ssl.certificate.location"] == "c.pem"
    assert found["ssl.key.location"] == "k.pem"
    assert found["ssl.key.password"] == "s"


def test_tls_without_files_trusts_the_system() -> None:
    assert security(own(tls={})) == {"security.protocol": "ssl"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"username": "u"}, "Username: without Password there is no login"),
        ({"password": "hidden"}, "Password: without Username there is no login"),
    ],
)
def test_half_a_login_is_none_and_is_told(fields: Any, said: str) -> None:
    translation = translate(conf(**fields))

    assert security(translation) == {}
    assert said in str(translation.warnings) and "hidden" not in str(translation.warnings)


def test_the_files_own_warnings_come_first() -> None:
    translation = translate(conf(warnings=("c.yaml:1: X is unknown",), consumers=2))

    assert translation.warnings[0] == "c.yaml:1: X is unknown" and len(translation.warnings) == 2
