"""go-queue's configuration: `KqConf`, by hand or from a file as go-zero loads it.

Decides which file is read and how its mistakes are reported. `kqworker.kq.queue.translate`
decides what the fields mean to kqworker. Tested by tests/kq/test_conf.py and, against Go,
tests/interop/test_conf.py.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kqworker.errors import ConfigError
from kqworker.kq.conf import fields
from kqworker.kq.conf.environment import expand
from kqworker.kq.conf.fields import Kind, Section, tag
from kqworker.kq.conf.formats import READERS
from kqworker.kq.conf.mapping import Mapped, Note, allowed, decode
from kqworker.kq.conf.sections import (
    DevServerConf,
    LogConf,
    ProfilingConf,
    PrometheusConf,
    ShutdownConf,
    TelemetryConf,
)
from kqworker.kq.conf.trees import Entry, FormatError
from kqworker.kq.exit_on_error import end
from kqworker.settings.values import MASK, did_you_mean

UNSERVED = "is not served by this version and changes nothing"
BY_HAND = "KqConf(...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class KqConf:
    """The configuration of a queue, with go-queue's fields and defaults.

    Attributes:
        name: The name of the service.
        brokers: Kafka's addresses, each `host:port`.
        group: The consumer group.
        topic: The topic.
        ca_file: Certificates of the authorities that Kafka's is checked against.
        offset: Where a group begins that has no offsets yet, "first" or "last".
        conns: Members of the group.
        consumers: Accepted; each member has one fetch thread.
        processors: Worker processes in all.
        min_bytes: The bytes that a fetch waits for.
        max_bytes: The bytes that a fetch gives at most.
        username: For SASL.
        password: For SASL.
        force_commit: Whether a message is given up after its handler failed.
        commit_in_order: Accepted; commits are always in order.
        mode: Accepted; "dev", "test", "rt", "pre" or "pro".
        metrics_url: Not served.
        log: What is logged, and how.
        prometheus: Not served; None when it is off, as for the others that are not served.
        telemetry: Not served.
        dev_server: Not served.
        shutdown: The times of a stop.
        profiling: Not served.
        kqworker: Our own settings, as they stand below `Kqworker:`.
        warnings: The keys that nothing reads, each with file and line.
        origins: Where each given field stands, by its full name: see `origin`.

    Raises:
        ConfigError: `brokers` is one text, or a field has the wrong kind or is none of its options.
    """

    name: str = field(metadata={"here": "the name of the service, in the log and of the app"})
    log: LogConf = field(default_factory=LogConf, metadata={"here": "the log"})
    mode: str = tag("pro", "accepted; changes nothing", "dev", "test", "rt", "pre", "pro")
    metrics_url: str = ""
    prometheus: PrometheusConf | None = None
    telemetry: TelemetryConf | None = None
    dev_server: DevServerConf | None = None
    shutdown: ShutdownConf = field(
        default_factory=ShutdownConf, metadata={"here": "the end", "optional": True}
    )
    profiling: ProfilingConf | None = None
    brokers: tuple[str, ...] = field(
        metadata={"here": "the addresses of Kafka, each `host:port`"},
    )
    group: str = field(metadata={"here": "the consumer group"})
    topic: str = field(metadata={"here": "the topic"})
    ca_file: str = tag("", "certificates of the authorities that Kafka's is checked against")
    offset: str = tag("last", "where a group begins that has no offsets yet", "first", "last")
    conns: int = tag(1, "members of the group that the process owns")
    consumers: int = tag(8, "accepted; each member has one fetch thread")
    processors: int = tag(8, "worker processes in all")
    min_bytes: int = tag(10240, "`fetch.min.bytes`")
    max_bytes: int = tag(10485760, "`fetch.max.bytes` and `max.partition.fetch.bytes`")
    username: str = tag("", "the user, for SASL")
    password: str = tag("", "the password, for SASL", secret=True)
    force_commit: bool = tag(True, "whether a message is given up after its handler failed")
    commit_in_order: bool = tag(False, "accepted; commits are always in order here", optional=False)
    kqworker: Mapping[str, object] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.brokers, str) or not isinstance(self.brokers, Iterable):
            raise ConfigError(f'{BY_HAND}: brokers must be several texts, such as ("kafka:9092",)')
        object.__setattr__(self, "brokers", tuple(self.brokers))
        if not self.origins:
            _check(self, KQ, "")
            if not isinstance(self.kqworker, Mapping):
                raise _refused("kqworker", "a mapping of settings", type(self.kqworker).__name__)

    def origin(self, name: str) -> str:
        """Return where a field was given, for a message: `config.yaml:12`.

        Args:
            name: As go-zero has it ("MinBytes", "Log.Level"), and for our own settings as
                it stands in the file, after "Kqworker." ("Kqworker.retry.attempts").
        """
        return self.origins.get(name, self.origins.get("", BY_HAND))

    def by_line(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return texts in the order of the origins that they begin with, the others last."""
        at = re.compile(re.escape(self.origin("")) + r":(\d+): ")

        def line(text: str) -> float:
            found = at.match(text)
            return int(found[1]) if found else math.inf

        return tuple(sorted(texts, key=line))


# The fields that kqworker adds are not keys of a file; `Kqworker:` is read separately.
KQ = fields.section(KqConf, "kqworker", "warnings", "origins")
LOG = fields.section(LogConf)


def load(
    path: str | os.PathLike[str], *, use_env: bool = False, section: str | None = None
) -> KqConf:
    """Read a file as go-zero's `conf.Load` does, by its extension.

    Args:
        path: A .yaml, .yml, .json or .toml, and .json5 with the extra of that name.
        use_env: Whether `$VAR` and `${VAR}` are replaced first, wherever they stand; a
            variable that is not set is empty.
        section: The key of the KqConf in the file of a service, such as "Kq" or
            "Queues.Orders", in any letter case; None for the whole file. The whole KqConf
            stands below it, Name included.

    Raises:
        ConfigError: It cannot be read, or is wrong; the text has a line for each mistake,
            with file, line, field and what would be right.
    """
    shown = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}") from None
    except ValueError as error:  # a NUL in its name
        raise ConfigError(f"cannot read {shown!r}: {error}") from None
    # As in Go's path.Ext: the whole name of a file may be ".yaml".
    _, dot, extension = os.path.basename(shown).rpartition(".")  # noqa: PTH119
    reader = READERS.get(f".{extension.lower()}" if dot else "")
    if reader is None:
        raise ConfigError(f"{shown}: its extension must be one of {', '.join(READERS)}")
    try:
        root = reader(expand(content, os.environb) if use_env else content)
        here = root if section is None else _below(root, section)
        mapped = decode(here, KQ)
    except FormatError as error:
        column = "" if error.column is None else f":{error.column}"
        raise ConfigError(f"{_at(shown, error.line)}{column}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{shown}: nested too deeply") from None
    if mapped.problems:
        # A key may be missing because it is misspelt or stands in another section.
        others = list(_elsewhere(root)) if section is None else []
        raise ConfigError("\n".join(_told(shown, [*mapped.problems, *(others or mapped.notes)])))
    return _conf(shown, mapped)


def must_load(
    path: str | os.PathLike[str], *, use_env: bool = False, section: str | None = None
) -> KqConf:
    """Read a file as `load` does, and end the program if it is wrong.

    Raises:
        SystemExit: With code 2, after `error: …` on standard error.
    """
    try:
        return load(path, use_env=use_env, section=section)
    except ConfigError as error:
        end(error)


def _below(root: Entry, section: str) -> Entry:
    here = root
    for part in section.split("."):
        table = here.value if isinstance(here.value, dict) else {}
        found = [entry for key, entry in table.items() if key.lower() == part.lower()]
        if not found:
            near = did_you_mean(part, table)
            raise FormatError(here.line, f"there is no section {section!r}{near}")
        here = found[-1]
    return here


def _elsewhere(root: Entry) -> Iterator[Note]:
    """Name the sections that look like a KqConf, as in the file of a service."""
    wanted = {"brokers", "topic"}
    table = root.value if isinstance(root.value, dict) else {}
    if wanted & {key.lower() for key in table}:
        return
    for key, entry in table.items():
        if isinstance(entry.value, dict) and wanted <= {name.lower() for name in entry.value}:
            text = f"{key} has Brokers and Topic: to load it, say section={key!r}, or --section"
            yield Note(entry.line, f"{text} {key}")


def _unserved(mapped: Mapped) -> Iterator[Note]:
    log = mapped.values["log"]
    said = [(each.name, each, mapped.values[each.attribute]) for each in KQ.fields]
    said += [(f"Log.{each.name}", each, getattr(log, each.attribute)) for each in LOG.fields]
    for name, each, value in said:
        if name not in mapped.lines:
            continue
        # A switch that is off, or a text that is empty, asks for nothing.
        on = value and not getattr(value, "disabled", False) and getattr(value, "enabled", True)
        if not each.here and on:
            yield Note(mapped.lines[name], f"{name} {UNSERVED}")


_IN_PYTHON: Mapping[Kind, tuple[type[object] | tuple[type[object], ...], str]] = {
    Kind.TEXT: (str, "text"),
    Kind.WHOLE: (int, "a whole number"),
    Kind.UNSIGNED: (int, "a whole number"),
    Kind.NUMBER: ((int, float), "a number"),
    Kind.FLAG: (bool, "True or False"),
    Kind.DURATION: ((int, float), "a number of seconds"),
    Kind.LIST: ((tuple, list), "a list of texts"),
    Kind.MAP: (Mapping, "a mapping of texts"),
}


def _check(conf: object, section: Section, prefix: str) -> None:
    """Refuse fields given by hand that have the wrong kind or are not one of their options."""
    for each in section.fields:
        value, name = getattr(conf, each.attribute), prefix + each.name
        if each.section is not None:
            made = each.section.made
            if isinstance(value, made):
                _check(value, each.section, f"{name}.")
            elif value is not None or each.default is not None:
                raise _refused(name, f"a {made.__name__}", repr(value))
            continue
        wanted, called = _IN_PYTHON[each.kind]
        right = isinstance(value, wanted)
        right = right and (each.kind is Kind.FLAG or not isinstance(value, bool))
        if each.kind is Kind.LIST and right:
            right = all(isinstance(text, str) for text in value)
        if not right or (each.options and value not in each.options):
            what = allowed(each) if each.options else called
            shown = MASK if each.secret else repr(value)
            raise _refused(name, what, shown)


def _refused(name: str, what: str, shown: str) -> ConfigError:
    return ConfigError(f"{BY_HAND}: {name} must be {what}, not {shown}")


def _told(path: str, notes: Iterable[Note]) -> list[str]:
    ordered = sorted(notes, key=lambda note: math.inf if note.line is None else note.line)
    return list(dict.fromkeys(f"{_at(path, note.line)}: {note.text}" for note in ordered))


def _at(path: str, line: int | None) -> str:
    return path if line is None else f"{path}:{line}"


def _conf(path: str, mapped: Mapped) -> KqConf:
    # Each value has the type of its field, which says how to read it.
    values: dict[str, Any] = mapped.values
    return KqConf(
        **values,
        warnings=tuple(_told(path, [*mapped.notes, *_unserved(mapped)])),
        kqworker=mapped.own,
        origins={"": path} | {name: _at(path, line) for name, line in mapped.lines.items()},
    )
