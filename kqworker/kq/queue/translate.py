"""What a queue's configuration and options mean to kqworker: settings and policies.

Decides what each field of go-queue becomes, which values are clamped because librdkafka would
refuse them, and what may stand below `Kqworker:`. Pure: reads no file, asks no client.
Tested by tests/kq/test_translate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from kqworker.app.payload import topic_fault
from kqworker.core.retry import ENDLESS, Retry
from kqworker.errors import ConfigError
from kqworker.kq.conf.conf import KqConf
from kqworker.kq.conf.environment import forgotten
from kqworker.kq.conf.sections import ShutdownConf
from kqworker.kq.queue.extension_settings import (
    ASSIGNORS,
    ELSEWHERE,
    KNOWN,
    QUEUE_KEYS,
    RETRY,
    STANDING,
)
from kqworker.kq.queue.properties import reserved
from kqworker.kq.queue.queue_options import DEFAULTS, QueueOptions
from kqworker.kq.queue.sizes import fetch_sizes
from kqworker.kq.security import TLS, mechanism, protocol
from kqworker.settings import values
from kqworker.settings.settings import KAFKA, Given, Resolved, Settings, flatten, resolve
from kqworker.settings.values import did_you_mean
from kqworker.types import Ordering

T = TypeVar("T")

# With a longer wait, socket.timeout.ms (60 s) would end it.
HIGHEST_WAIT: Final = 59.0

# A message is tried until it succeeds: soon again at first, and later every minute.
UNTIL_IT_SUCCEEDS: Final = Retry(attempts=ENDLESS, cap=60.0)
# What a handler raises is final; these are for messages on which a worker dies.
AFTER_A_DEATH: Final = Retry()

OFFSETS = {"first": "earliest", "last": "latest"}
LEVELS = {"debug": "debug", "info": "info", "error": "error", "severe": "error"}
ENCODINGS = {"json": "json", "plain": "text"}


@dataclass(frozen=True, slots=True)
class Translation:
    """A queue in kqworker's terms.

    Attributes:
        name: The name of the service, and of the app.
        topic: What is consumed.
        settings: Everything that can be set.
        ordering: Which messages may run at the same time.
        retry: How often a message is tried, and when again.
        final: What the handler raises fails the message for good.
        dead_letter: The topic for messages that have failed for good, or None.
        warnings: Where it differs from the configuration, to be told once.
        origins: Where each of librdkafka's properties was given, for a message.
    """

    name: str
    topic: str
    settings: Settings
    ordering: Ordering
    retry: Retry
    final: bool
    dead_letter: str | None
    warnings: tuple[str, ...]
    origins: Mapping[str, str]


def translate(conf: KqConf, options: QueueOptions = DEFAULTS) -> Translation:
    """Return what a configuration and the options of a queue mean.

    A setting below `Kqworker:` wins over an option, as a file does everywhere.

    Args:
        conf: The configuration.
        options: What the options of the queue say together.

    Raises:
        ConfigError: A value cannot be served; the text has a line for each mistake.
    """
    return _Translator(conf).translate(options)


@dataclass(slots=True)
class _Translator:
    conf: KqConf
    warnings: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    layer: dict[str, Given] = field(default_factory=dict)
    own: dict[str, Given] = field(default_factory=dict)

    def translate(self, options: QueueOptions) -> Translation:
        conf = self.conf
        self._read_own()
        self._plain_fields()
        conns = self._at_least_one("Conns", conf.conns)
        self._set("members", conns, "Conns")
        self._set("workers", self._at_least_one("Processors", conf.processors), "Processors")
        self._consumers(conns)
        self._sizes()
        self._wait(options.max_wait)
        self._option("commit_interval", options.commit_interval, "with_commit_interval")
        self._option("prefetch", options.queue_capacity * conns, "with_queue_capacity")
        self._log()
        self._security()
        self._assignor()
        ordering = (
            self._word("ordering", values.one_of(*(o.value for o in Ordering))) or "unordered"
        )
        final = conf.force_commit and "retry" not in self.own
        retry = self._retry(AFTER_A_DEATH if conf.force_commit else UNTIL_IT_SUCCEEDS)
        dead_letter = self._dead_letter()
        resolved = self._resolved()
        return Translation(
            name=conf.name.strip() or conf.group,
            topic=conf.topic,
            settings=resolved.settings,
            ordering=Ordering(ordering),
            retry=retry,
            final=final,
            dead_letter=dead_letter,
            warnings=conf.by_line((*conf.warnings, *self.warnings)),
            origins={
                name.removeprefix(KAFKA): origin
                for name, origin in resolved.origins.items()
                if name.startswith(KAFKA)
            },
        )

    # -- the fields of kq

    def _plain_fields(self) -> None:
        conf = self.conf
        self._brokers()
        self._set("group", self._field("Group", values.text, conf.group), "Group")
        offset = self._field("Offset", values.one_of(*OFFSETS), conf.offset)
        self._set("offset", OFFSETS.get(offset or "last"), "Offset")
        fault = topic_fault(conf.topic)
        if fault:
            self.wrong.append(f"{conf.origin('Topic')}: Topic: {fault}")
        wait, default = conf.shutdown.wait_time, ShutdownConf().wait_time
        if wait <= 0:
            # As go-zero.
            self._warn("Shutdown.WaitTime", f"{wait:g}s is taken for the default, {default:g}s")
        self._set("shutdown_timeout", wait if wait > 0 else default, "Shutdown.WaitTime")

    def _brokers(self) -> None:
        conf, wrong = self.conf, len(self.wrong)
        if not conf.brokers:
            text = "Brokers is empty: give the addresses of Kafka, each host:port"
            self.wrong.append(f"{conf.origin('Brokers')}: {text}")
        for index, address in enumerate(conf.brokers):
            try:
                values.addresses(address)
            except ValueError:
                name = f"Brokers[{index}]"
                origin = conf.origin(name if name in conf.origins else "Brokers")
                text = f"{name} must be host:port, such as kafka:9092, not {address!r}"
                self.wrong.append(f"{origin}: {text}{forgotten(address)}")
        if len(self.wrong) == wrong:
            self._set("brokers", conf.brokers, "Brokers")

    def _consumers(self, conns: int) -> None:
        conf = self.conf
        said = "Consumers" in conf.origins or conf.consumers != 8
        if said and conf.consumers > conns:
            self._warn(
                "Consumers",
                f"more than Conns ({conns}) change nothing: each member has one fetch thread",
            )

    def _sizes(self) -> None:
        conf = self.conf
        given = {"MinBytes": conf.min_bytes, "MaxBytes": conf.max_bytes}
        # kafka-go panics.
        negative = {name: size for name, size in given.items() if size < 0}
        for name, size in negative.items():
            self.wrong.append(f"{conf.origin(name)}: {name} must be at least 0, not {size}")
        if negative:
            return
        sizes = fetch_sizes(conf.min_bytes, conf.max_bytes)
        for name, text in sizes.warnings:
            self._warn(name, text)
        self._set("kafka.fetch.min.bytes", sizes.least, "MinBytes")
        self._set("kafka.fetch.max.bytes", sizes.most, "MaxBytes")
        self._set("kafka.max.partition.fetch.bytes", sizes.of_partition, "MaxBytes")

    def _wait(self, seconds: float) -> None:
        if seconds > HIGHEST_WAIT:
            self.warnings.append(
                f"with_max_wait({seconds:g}): {HIGHEST_WAIT:g} s is used; a fetch that waits "
                "longer would end by the socket's timeout"
            )
            seconds = HIGHEST_WAIT
        # kafka-go keeps a part of the wait for the network: the broker waits that much less.
        asked = seconds - min(1.0, seconds / 4)
        self._option("kafka.fetch.wait.max.ms", round(asked * 1000), "with_max_wait")

    def _log(self) -> None:
        log = self.conf.log
        level = self._field("Log.Level", values.one_of(*LEVELS), log.level)
        self._set("log_level", LEVELS.get(level or "info"), "Log.Level")
        encoding = self._field("Log.Encoding", values.one_of(*ENCODINGS), log.encoding)
        self._set("log_format", ENCODINGS.get(encoding or "json"), "Log.Encoding")
        if log.mode != "console":
            self._warn("Log.Mode", f"{log.mode!r} is not served: the log goes to standard error")

    def _security(self) -> None:
        conf = self.conf
        tls = self._tls()
        if conf.ca_file:
            self._set(KAFKA + TLS["ca_file"], conf.ca_file, "CaFile")
            if "ca_file" in tls:
                self._refuse("tls.ca_file", "set CaFile")
        chosen = self._word("sasl_mechanism", mechanism)
        user, login = conf.username, bool(conf.username and conf.password)
        if login:
            self._set("kafka.sasl.mechanism", chosen or "PLAIN", "Username")
            self._set("kafka.sasl.username", user, "Username")
            self._set("kafka.sasl.password", conf.password, "Password")
        elif conf.username or conf.password:
            given, other = ("Username", "Password") if user else ("Password", "Username")
            self._warn(given, f"without {other} there is no login, as in kq")
        elif chosen:
            self._refuse("sasl_mechanism", "it needs Username and Password")
        encrypted = bool(conf.ca_file) or "tls" in self.own
        if login or encrypted:
            where = "CaFile" if conf.ca_file else "Username"
            spoken = protocol(login=login, tls=encrypted)
            self._set("kafka.security.protocol", spoken, where)

    def _at_least_one(self, name: str, count: int) -> int:
        if count < 1:
            self._warn(name, f"{count} is taken for 1")
        return max(1, count)

    # -- below Kqworker:

    def _read_own(self) -> None:
        for key, value in self.conf.kqworker.items():
            origin = self.conf.origin(f"Kqworker.{key}")
            if key in STANDING:
                self.wrong.append(f"{origin}: Kqworker.{key}: set {STANDING[key]}")
            elif key in ELSEWHERE:
                self.wrong.append(f"{origin}: Kqworker.{key}: {ELSEWHERE[key]}")
            elif key not in KNOWN:
                self.wrong.append(
                    f"{origin}: Kqworker has no setting {key!r}{did_you_mean(key, KNOWN)}"
                )
            else:
                self.own[key] = Given(value, origin)

    def _word(self, key: str, parse: values.Parse[str]) -> str | None:
        given = self.own.get(key)
        if given is None:
            return None
        try:
            return parse(given.value)
        except ValueError as error:
            self._refuse(key, f"must be {error}, not {given.value!r}")
            return None

    def _table(self, key: str, known: Mapping[str, object]) -> Mapping[str, object]:
        """Return a section below `Kqworker:`; a key in it that is not known is wrong."""
        given = self.own.get(key)
        if given is None or given.value is None:
            return {}
        if not isinstance(given.value, Mapping):
            self._refuse(key, f"must be a section with {', '.join(known)}")
            return {}
        for name in given.value:
            if name not in known:
                self._refuse(f"{key}.{name}", f"is unknown{did_you_mean(str(name), known)}")
        return {name: value for name, value in given.value.items() if name in known}

    def _retry(self, base: Retry) -> Retry:
        found: dict[str, object] = {}
        for name, value in self._table("retry", RETRY).items():
            try:
                found[name] = RETRY[name](value)
            except ValueError as error:
                self._refuse(f"retry.{name}", f"must be {error}, not {value!r}")
        # The parsers gave each field its type.
        return replace(base, **found)  # type: ignore[arg-type]

    def _dead_letter(self) -> str | None:
        given = self.own.get("dead_letter")
        if given is None or given.value is None:
            return None
        fault = topic_fault(given.value) if isinstance(given.value, str) else "it is not text"
        if not fault and given.value == self.conf.topic:
            fault = f"{given.value!r} is the queue's own topic: name another one"
        if fault:
            self._refuse("dead_letter", fault)
        return str(given.value)

    def _tls(self) -> Mapping[str, object]:
        found = self._table("tls", TLS)
        for name, value in found.items():
            if not isinstance(value, str) or not value:
                self._refuse(f"tls.{name}", "must be text, not empty")
                continue
            self.layer[KAFKA + TLS[name]] = Given(value, self._origin(f"tls.{name}"))
        if ("cert_file" in found) != ("key_file" in found):
            self._refuse("tls", "cert_file and key_file belong together: give both or none")
        return found

    def _assignor(self) -> None:
        chosen = self._word("assignor", values.one_of(*ASSIGNORS))
        origin = self._origin("assignor")
        if chosen == "consumer":
            self.layer["kafka.group.protocol"] = Given(chosen, origin)
        elif chosen is not None:
            self.layer["kafka.partition.assignment.strategy"] = Given(chosen, origin)

    # -- all together

    def _resolved(self) -> Resolved:
        ours = {
            name: Given(value, f"{self._origin(name)}: Kqworker")
            for name, value in flatten(
                {k: g.value for k, g in self.own.items() if k not in QUEUE_KEYS}
            )
        }
        for name in ours:
            if name.startswith(KAFKA) and (reason := reserved(name.removeprefix(KAFKA))):
                self._refuse(name, reason)
        try:
            resolved = resolve([ours, self.layer])
        except ConfigError as error:
            said = str(error).splitlines()
            self.wrong += [line.replace(": Kqworker: ", ": Kqworker.", 1) for line in said]
        if self.wrong:
            raise ConfigError("\n".join(self.conf.by_line(self.wrong)))
        return resolved

    def _field(self, name: str, parse: values.Parse[T], value: object) -> T | None:
        try:
            return parse(value)
        except ValueError as error:
            self.wrong.append(f"{self.conf.origin(name)}: {name} must be {error}, not {value!r}")
            return None

    def _set(self, setting: str, value: object, name: str) -> None:
        if value is not None:
            self.layer[setting] = Given(value, f"{self.conf.origin(name)}: {name}")

    def _option(self, setting: str, value: object, name: str) -> None:
        self.layer[setting] = Given(value, name)

    def _origin(self, key: str) -> str:
        return self.conf.origin(f"Kqworker.{key}")

    def _warn(self, name: str, text: str) -> None:
        self.warnings.append(f"{self.conf.origin(name)}: {name}: {text}")

    def _refuse(self, key: str, text: str) -> None:
        # Some texts go on where the name ends.
        colon = "" if text.startswith(("must ", "is ")) else ":"
        self.wrong.append(f"{self._origin(key)}: Kqworker.{key}{colon} {text}")
