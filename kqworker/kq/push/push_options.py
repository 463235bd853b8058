"""The options of a Pusher: go-queue's and ours, as functions.

Decides bounds and defaults, and which of librdkafka's properties they become. Opens no
connection and imports no Kafka. Tested by tests/kq/test_push_options.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, get_args

from kqworker.app.delivery import Delivery
from kqworker.app.signature import cannot_be_called, has_yield, is_async
from kqworker.errors import ConfigError
from kqworker.kq import security
from kqworker.kq.option import Option, joined
from kqworker.kq.push.balancers import Balancer, Hashing, Murmur2Balancer
from kqworker.kq.security import TLS, protocol
from kqworker.settings import certificates, values

T = TypeVar("T")
N = TypeVar("N", int, float)

# The bound of librdkafka: 32 bits.
_INT = 2**31 - 1
# How long Kafka is tried, in seconds.
_DELIVERY = 30.0

OnDelivery = Callable[[bytes, bytes, Delivery], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """What the options of one pusher say together; each is explained at its function."""

    auto_create: bool = False
    balancer: Balancer = field(default_factory=Murmur2Balancer)
    chunk_size: int | None = None
    flush_interval: float | None = None
    sync: bool = False
    compression: str = "snappy"
    on_delivery: OnDelivery | None = None
    buffer_bytes: int = 128 * 2**20
    buffer_messages: int = 100_000
    buffer_timeout: float = 60.0
    tls: Mapping[str, str] | None = field(default=None, repr=False)
    sasl: Mapping[str, str] | None = field(default=None, repr=False)

    def properties(self, sync: bool) -> dict[str, str]:
        """Return librdkafka's properties.

        Args:
            sync: Whether every push waits for its delivery; then it gains nothing by waiting for
                others to share its batch.
        """
        found = {
            "compression.type": self.compression,
            "queue.buffering.max.kbytes": str(self.buffer_bytes // 1024),
            "queue.buffering.max.messages": str(self.buffer_messages),
        }
        if isinstance(self.balancer, Hashing):
            found["partitioner"] = self.balancer.partitioner
        if self.auto_create:
            found["allow.auto.create.topics"] = "true"
        if self.chunk_size is not None:
            found["batch.size"] = str(self.chunk_size)
        if sync:
            found["linger.ms"] = "0"
        elif self.flush_interval is not None:
            found["linger.ms"] = f"{self.flush_interval * 1000:g}"
            # It begins with the push; a message that waits for its batch is not tried yet.
            found["delivery.timeout.ms"] = f"{(self.flush_interval + _DELIVERY) * 1000:.0f}"
        if self.tls is not None or self.sasl is not None:
            found["security.protocol"] = protocol(
                login=self.sasl is not None, tls=self.tls is not None
            )
        return {**found, **(self.tls or {}), **(self.sasl or {})}


class PushOption(Option[PushOptions]):
    """What a function `with_…` returns; a pusher checks its value when it is made."""

    __slots__ = ()
    of = "a pusher"


def with_allow_auto_topic_creation() -> PushOption:
    """Let brokers that create topics create this one.

    Without it a topic that does not exist is an error, also where brokers would create it.
    """
    return PushOption(lambda options: replace(options, auto_create=True))


def with_balancer(balancer: Balancer) -> PushOption:
    """Choose how messages are spread over partitions.

    Args:
        balancer: `Murmur2Balancer()`, the default, `Hash()`, `CRC32Balancer()`,
            `RoundRobin()` or `LeastBytes()`.
    """

    def apply(options: PushOptions) -> PushOptions:
        if not isinstance(balancer, Balancer):
            names = ", ".join(f"{kind.__name__}()" for kind in get_args(Balancer))
            raise ConfigError(f"with_balancer({balancer!r}): must be one of {names}")
        return replace(options, balancer=balancer)

    return PushOption(apply)


def with_chunk_size(size: int | str) -> PushOption:
    """Bound the size of a batch.

    Args:
        size: Bytes from 1 to 2,147,483,647, as a number or as "64KiB"; 1,000,000 by default.
            A larger message travels alone.
    """
    return PushOption(
        lambda options: replace(
            options, chunk_size=_bounded("with_chunk_size", "size", _size, size)
        )
    )


def with_flush_interval(seconds: float) -> PushOption:
    """Set how long a message may wait for others to share its batch.

    Args:
        seconds: From 0 to 900; 0.005 by default.
    """
    return PushOption(
        lambda options: replace(
            options, flush_interval=_bounded("with_flush_interval", "seconds", _linger, seconds)
        )
    )


def with_sync_push() -> PushOption:
    """Let every push return only once its message is delivered, and raise what went wrong."""
    return PushOption(lambda options: replace(options, sync=True))


def with_compression(compression: str) -> PushOption:
    """Choose how batches are compressed.

    Args:
        compression: "none", "gzip", "snappy" (the default, go-queue's), "lz4" or "zstd".
    """
    kinds = values.one_of("none", "gzip", "snappy", "lz4", "zstd")
    return PushOption(
        lambda options: replace(
            options, compression=_bounded("with_compression", "compression", kinds, compression)
        )
    )


def with_on_delivery(callback: OnDelivery) -> PushOption:
    """Have a function called once for each message that was delivered or has failed.

    It is called as `callback(key, value, delivery)`, mostly in the pusher's own thread, so
    it must be quick, and it cannot push. `delivery.wait()` returns or raises at once. A
    callback that calls it has been told of a failure; otherwise the next push raises it.

    Args:
        callback: A function; the next push or `close` raises what it raises.
    """

    def apply(options: PushOptions) -> PushOptions:
        if not callable(callback):
            raise ConfigError(f"with_on_delivery(callback={callback!r}): must be a function")
        why = cannot_be_called(callback, 3)
        if why is not None:
            raise ConfigError(
                f"with_on_delivery(callback={callback!r}): it is called with key, value and "
                f"delivery: {why}"
            )
        if is_async(callback) or has_yield(callback):
            raise ConfigError(
                f"with_on_delivery(callback={callback!r}): nobody would await it: write def"
            )
        return replace(options, on_delivery=callback)

    return PushOption(apply)


def with_buffer(
    *, size: int | str = 128 * 2**20, messages: int = 100_000, timeout: float = 60.0
) -> PushOption:
    """Bound what is held in memory until it is delivered; a push waits while it is full.

    Args:
        size: Bytes, from 1024 to 2 TiB less 1 KiB, as a number or as "64MiB".
        messages: From 1 to 2,147,483,647.
        timeout: Seconds, at least 0, after which a push that finds no room raises.
    """
    return PushOption(
        lambda options: replace(
            options,
            buffer_bytes=_bounded("with_buffer", "size", _buffer, size),
            buffer_messages=_bounded("with_buffer", "messages", _count, messages),
            buffer_timeout=_bounded("with_buffer", "timeout", values.seconds(0), timeout),
        )
    )


def with_tls(
    *,
    ca_file: str | Path | None = None,
    cert_file: str | Path | None = None,
    key_file: str | Path | None = None,
    key_password: str | None = None,
) -> PushOption:
    """Encrypt connections, and check the brokers' certificates and names.

    Args:
        ca_file: Certificates to trust, PEM; None for those of the system.
        cert_file: The client's certificate, PEM, with `key_file`.
        key_file: Its key, PEM.
        key_password: The key's password, if it has one.
    """

    def apply(options: PushOptions) -> PushOptions:
        if (cert_file is None) != (key_file is None):
            raise ConfigError("with_tls: cert_file and key_file belong together: give both or none")
        given = {
            "ca_file": ca_file,
            "cert_file": cert_file,
            "key_file": key_file,
            "key_password": key_password,
        }
        found = {TLS[name]: str(value) for name, value in given.items() if value is not None}
        fault = certificates.fault(found)
        if fault is not None:
            (name,) = (name for name, named in TLS.items() if named == fault[0])
            raise ConfigError(f"with_tls({name}={found[fault[0]]!r}): {fault[1]}")
        return replace(options, tls=found)

    return PushOption(apply)


def with_sasl(mechanism: str, username: str, password: str) -> PushOption:
    """Log in to the brokers; without `with_tls` others on the network can read the password.

    Args:
        mechanism: "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512".
        username: Not empty.
        password: Not empty.
    """

    def apply(options: PushOptions) -> PushOptions:
        found = {
            "sasl.mechanism": _bounded("with_sasl", "mechanism", security.mechanism, mechanism),
            "sasl.username": _bounded("with_sasl", "username", values.text, username),
            "sasl.password": password,
        }
        if not isinstance(password, str) or not password:
            raise ConfigError("with_sasl(password=…): must be text, not empty")
        return replace(options, sasl=found)

    return PushOption(apply)


def combined(options: tuple[PushOption, ...]) -> PushOptions:
    """Return what options say together; if two contradict each other, the later one counts.

    Raises:
        ConfigError: One of them is no option, or has a value that it does not take.
    """
    return joined(PushOption, options, PushOptions())


def _bounded(function: str, name: str, parse: values.Parse[T], value: object) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise ConfigError(f"{function}({name}={value!r}): must be {error}") from None


def _at_most(most: int, parse: values.Parse[N], unit: str = "") -> values.Parse[N]:
    def read(value: object) -> N:
        found = parse(value)
        if found > most:
            raise ValueError(f"at most {most}{unit}")
        return found

    return read


def _buffer(value: object) -> int:
    size = values.size(value)
    if not 1024 <= size <= _INT * 1024:
        raise ValueError(f"from 1024 to {_INT * 1024} bytes")
    return size


_size = _at_most(_INT, values.size, " bytes")
# librdkafka waits 15 minutes at most.
_linger = _at_most(900, values.seconds(0), " seconds")
_count = _at_most(_INT, values.whole(1))
