"""librdkafka's properties of a queue, and how a mistake in them is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from kqworker.errors import ConfigError
from kqworker.kq.conf.conf import load
from kqworker.kq.queue.properties import refuse_wrong
from kqworker.kq.queue.queue import Queue, new_queue

CERTIFICATE = Path(__file__).parent / "throwaway.pem"
PLAIN = "Name: queue\nBrokers: ['127.0.0.1:1']\nGroup: g\nTopic: t\n"


def handle(key: str, value: str) -> None: ...


def queue(directory: Path, properties: str, more: str = "") -> Queue:
    file = directory / "c.yaml"
    file.write_text(f"{PLAIN}{more}Kqworker:\n  kafka:\n{properties}")
    return new_queue(load(file), handle)


def test_every_wrong_property_is_told_at_the_start_with_file_and_line(tmp_path: Path) -> None:
    made = queue(
        tmp_path,
        "    fetch.min.byts: 3\n    fetch:\n      min.bytes: abc\n    linger.ms: 5\n"
        "    linger.mss: 5\n",
    )

    with pytest.raises(ConfigError) as caught:
        made.start()

    file = tmp_path / "c.yaml"
    told, unknown = str(caught.value).splitlines(), "Kqworker: unknown Kafka property"
    assert [line.split(" cannot be ")[0] for line in told] == [
        f"{file}:7: {unknown} 'fetch.min.byts' (did you mean 'fetch.min.bytes'?)",
        f"{file}:9: Kqworker: Kafka property 'fetch.min.bytes'",
        f"{file}:11: {unknown} 'linger.mss' (did you mean 'linger.ms'?)",
    ]


def test_properties_that_belong_together_are_not_looked_at_one_by_one(tmp_path: Path) -> None:
    made = queue(
        tmp_path,
        "    sasl.mechanism: OAUTHBEARER\n    sasl.oauthbearer.method: oidc\n"
        "    sasl.oauthbearer.client.id: me\n    sasl.oauthbearer.client.secret: s\n"
        "    sasl.oauthbearer.token.endpoint.url: http://127.0.0.1:1/\n",
    )

    refuse_wrong(made.settings, {})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("ssl.cipher.suites: none", "{file}:8: Kqworker: Kafka refuses the properties: "),
        ("ssl.providers: none", "Kafka refuses the properties: "),
    ],
)
def test_a_mistake_of_which_librdkafka_names_no_property_is_told_as_it_is(
    tmp_path: Path, given: str, told: str
) -> None:
    made = queue(tmp_path, f"    {given}\n", f"CaFile: {CERTIFICATE}\n")

    with pytest.raises(ConfigError) as caught:
        made.start()

    assert str(caught.value).startswith(told.format(file=tmp_path / "c.yaml"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("bootstrap.servers", "set Brokers"),
        ("group.id", "set Group"),
        ("auto.offset.reset", "set Offset"),
        ("log.queue", "set Log.Level"),
        ("error_cb", "it takes a Python function"),
        ("transactional.id", "kqworker has no transactions"),
    ],
)
def test_a_property_that_is_ours_is_refused_before_the_start(
    tmp_path: Path, name: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        queue(tmp_path, f"    {name}: x\n")

    assert str(caught.value) == f"{tmp_path / 'c.yaml'}:7: Kqworker.kafka.{name}: {remedy}"
