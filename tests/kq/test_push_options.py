"""The options of a pusher become properties of librdkafka, or are refused by the pusher."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from kqworker.errors import ConfigError
from kqworker.kafka.properties import producer_properties
from kqworker.kq import (
    CRC32Balancer,
    Hash,
    LeastBytes,
    Murmur2Balancer,
    Pusher,
    RoundRobin,
    with_allow_auto_topic_creation,
    with_balancer,
    with_buffer,
    with_chunk_size,
    with_compression,
    with_flush_interval,
    with_max_wait,
    with_on_delivery,
    with_sasl,
    with_sync_push,
    with_tls,
)
from kqworker.kq.push.push_options import PushOption, combined

# Made for these tests, and good for nothing else; the password is "throwaway".
CERTIFICATE = Path(__file__).with_name("throwaway.pem")
KEY = Path(__file__).with_name("throwaway-key.pem")

DEFAULTS = {
    "compression.type": "snappy",
    "partitioner": "murmur2_random",
    "queue.buffering.max.kbytes": "131072",
    "queue.buffering.max.messages": "100000",
}


def properties(*options: PushOption, sync: bool = False) -> dict[str, str]:
    """What differs from a pusher without options."""
    found = combined(options).properties(sync)
    producer_properties("127.0.0.1:1", found)  # librdkafka takes them
    return {name: value for name, value in found.items() if DEFAULTS.get(name) != value}


def test_without_options_it_compresses_as_go_queue_and_hashes_as_java() -> None:
    assert combined(()).properties(sync=False) == DEFAULTS


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (with_allow_auto_topic_creation(), {"allow.auto.create.topics": "true"}),
        (with_balancer(Murmur2Balancer(consistent=True)), {"partitioner": "murmur2"}),
        (with_balancer(Hash()), {"partitioner": "fnv1a_random"}),
        (with_balancer(CRC32Balancer()), {"partitioner": "consistent_random"}),
        (with_balancer(CRC32Balancer(consistent=True)), {"partitioner": "consistent"}),
        (with_chunk_size(1), {"batch.size": "1"}),
        (with_chunk_size("64KiB"), {"batch.size": "65536"}),
        (with_chunk_size(2**31 - 1), {"batch.size": "2147483647"}),
        (with_flush_interval(0), {"linger.ms": "0", "delivery.timeout.ms": "30000"}),
        (with_flush_interval(0.0005), {"linger.ms": "0.5", "delivery.timeout.ms": "30000"}),
        (with_flush_interval(1), {"linger.ms": "1000", "delivery.timeout.ms": "31000"}),
        (with_flush_interval(900), {"linger.ms": "900000", "delivery.timeout.ms": "930000"}),
        (with_compression("none"), {"compression.type": "none"}),
        (with_compression("ZSTD"), {"compression.type": "zstd"}),
        (with_buffer(size=1024), {"queue.buffering.max.kbytes": "1"}),
        (with_buffer(size="2MiB", messages=1), {"queue.buffering.max.kbytes": "2048"}
         | {"queue.buffering.max.messages": "1"}),
        (with_tls(), {"security.protocol": "ssl"}),
        (with_sasl("plain", "me", "pass word "), {"security.protocol": "sasl_plaintext",
         "sasl.mechanism": "PLAIN", "sasl.username": "me", "sasl.password": "pass word "}),
        (with_sasl("SCRAM-SHA-512", "me", "x"), {"security.protocol": "sasl_plaintext",
         "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "me", "sasl.password": "x"}),
    ],
)  # fmt: skip
def test_an_option_is_a_property(option: PushOption, expected: dict[str, str]) -> None:
    assert properties(option) == expected


@pytest.mark.parametrize("balancer", [RoundRobin(), LeastBytes()])
def test_what_is_counted_here_is_no_property(balancer: RoundRobin | LeastBytes) -> None:
    assert "partitioner" not in combined((with_balancer(balancer),)).properties(sync=False)


def test_tls_and_a_login_go_together() -> None:
    found = properties(with_sasl("PLAIN", "me", "x"), with_tls())
    assert found["security.protocol"] == "sasl_ssl"


def test_of_two_options_the_later_counts() -> None:
    assert properties(with_chunk_size(1), with_chunk_size(2)) == {"batch.size": "2"}


def test_who_waits_for_each_message_waits_for_no_batch() -> None:
    assert properties(with_sync_push(), with_flush_interval(600), sync=True) == {"linger.ms": "0"}


def test_files_of_tls_are_properties() -> None:
    found = properties(
        with_tls(ca_file=CERTIFICATE, cert_file=CERTIFICATE, key_file=KEY, key_password="throwaway")
    )
    assert found == {
        "security.protocol": "ssl",
        "ssl.ca.location": str(CERTIFICATE),
        "ssl.certificate.location": str(CERTIFICATE),
        "ssl.key.location": str(KEY),
        "ssl.key.password": "throwaway",
    }


def test_files_of_tls_are_read_with_the_pusher(tmp_path: Path) -> None:
    missing, nonsense = tmp_path / "missing.pem", tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    pair = {"cert_file": CERTIFICATE, "key_file": KEY}
    for given, name, why in (
        ({"ca_file": missing}, "ca_file", "cannot be read: No such file or directory"),
        ({"ca_file": nonsense}, "ca_file", "holds no certificates"),
        ({**pair, "cert_file": missing}, "cert_file", "cannot be read"),
        ({**pair, "cert_file": nonsense}, "cert_file", "holds no certificates"),
        ({**pair, "key_file": missing}, "key_file", "cannot be read"),
        ({**pair, "key_password": "wrong"}, "key_file", "holds no key"),
        (pair, "key_file", "holds no key"),
    ):
        with pytest.raises(ConfigError, match=rf"with_tls\({name}='.*pem'\): {why}"):
            combined((with_tls(**given),))  # type: ignore[arg-type]
    for alone in pair:
        with pytest.raises(ConfigError, match="cert_file and key_file belong together"):
            combined((with_tls(**{alone: pair[alone]}),))  # type: ignore[arg-type]


def generates(*told: object):  # type: ignore[no-untyped-def]
    yield told


async def awaits(*told: object) -> None: ...


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (with_balancer("murmur2"), "with_balancer('murmur2'): must be one of Murmur2"),
        (with_balancer(Hash), "must be one of"),
        (with_chunk_size(0), "with_chunk_size(size=0): must be a number of bytes"),
        (with_chunk_size(2**31), "with_chunk_size(size=2147483648): must be at most"),
        (with_chunk_size("many"), "with_chunk_size(size='many')"),
        (with_flush_interval(-1), "with_flush_interval(seconds=-1)"),
        (with_flush_interval(901), "with_flush_interval(seconds=901): must be at most 900"),
        (with_flush_interval(float("nan")), "with_flush_interval(seconds=nan)"),
        (with_compression("brotli"), "with_compression(compression='brotli'): must be"),
        (with_on_delivery(None), "with_on_delivery(callback=None): must be a function"),
        (with_on_delivery(generates), "nobody would await it: write def"),
        (with_on_delivery(awaits), "nobody would await it: write def"),
        (with_on_delivery(lambda d: 0), "it is called with key, value and delivery: too many"),
        (with_buffer(size=1023), "with_buffer(size=1023): must be from 1024"),
        (with_buffer(size=2**41), "with_buffer(size=2199023255552): must be from 1024"),
        (with_buffer(messages=0), "with_buffer(messages=0): must be a whole number"),
        (with_buffer(messages=2**31), "with_buffer(messages=2147483648): must be at most"),
        (with_buffer(timeout=-1), "with_buffer(timeout=-1)"),
        (with_sasl("GSSAPI", "me", "x"), "with_sasl(mechanism='GSSAPI'): must be PLAIN"),
        (with_sasl("PLAIN", "", "x"), "with_sasl(username='')"),
        (with_sasl("PLAIN", "me", ""), "with_sasl(password=…): must be text"),
        (with_sync_push, "is not an option of a pusher"),
        (with_max_wait(1), "with_max_wait(…) is an option of a queue, not of a pusher"),
        (5, "5 is not an option of a pusher"),
    ],
)
def test_what_is_out_of_bounds_is_named_by_the_pusher(option: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        Pusher("a:1", "t", option)


def test_secrets_are_not_shown_and_options_travel() -> None:
    options = combined((with_sasl("PLAIN", "me", "swordfish"), with_balancer(RoundRobin(3))))
    assert "swordfish" not in repr(options)
    assert pickle.loads(pickle.dumps(options)) == options
