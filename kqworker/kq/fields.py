"""The fields of go-queue's configuration: their kinds, defaults, bounds, and what each does here.

The table says what the struct tags of go-queue v1.2.2 and go-zero v1.10.3 say.
Pure. Knows neither how a value is read (`kqworker.kq.mapping`) nor where it stands
(`kqworker.kq.formats`). Tested by tests/kq/test_conf.py and, against Go,
tests/interop/test_conf.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a field holds, by the word that the reference has for it."""

    TEXT = "text"
    WHOLE = "whole number"
    UNSIGNED = "whole number, 0 to 4294967295"
    NUMBER = "number"
    FLAG = "true or false"
    DURATION = "duration"
    LIST = "list of texts"
    MAP = "mapping of texts"
    SECTION = "section"


@dataclass(frozen=True, slots=True)
class Field:
    """One key of the file.

    Attributes:
        name: As go-zero writes it, and as the errors do.
        default: As it would stand in a file; None for none.
        optional: Whether it may be absent (or null, in JSON) without a default.
        options: The only texts allowed; empty allows any.
        bounds: The lowest number allowed, and the first that is too high.
        inherits: Whether an absent one is looked for in the sections around it.
        secret: Whether its value must not be shown.
        section: What stands below it, for `Kind.SECTION`.
        here: What it does in kqworker; empty where the version does not serve it.
    """

    name: str
    kind: Kind
    default: str | None = None
    optional: bool = False
    options: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    inherits: bool = False
    secret: bool = False
    section: Section | None = None
    here: str = ""

    @property
    def attribute(self) -> str:
        """The name in Python's case.

        >>> Field("CaFile", Kind.TEXT).attribute, Field("CPU", Kind.FLAG).attribute
        ('ca_file', 'cpu')
        """
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).lower()

    @property
    def required(self) -> bool:
        """Whether a file without it is refused; a section is, if one of its fields is."""
        if self.optional or self.default is not None:
            return False
        if self.section is None:
            return True
        return any(field.required for field in self.section.fields)


@dataclass(frozen=True, slots=True)
class Section:
    """The fields that may stand below one key, in go-zero's order."""

    fields: tuple[Field, ...]

    def names(self) -> list[str]:
        """Return the names of the fields."""
        return [field.name for field in self.fields]


def _text(name: str, default: str | None = None, here: str = "", *options: str) -> Field:
    return Field(name, Kind.TEXT, default, default is None, options, here=here)


def _flag(name: str, default: bool | None = None, here: str = "") -> Field:
    shown = None if default is None else str(default).lower()
    return Field(name, Kind.FLAG, shown, default is None, here=here)


def _whole(name: str, default: int | None = None, here: str = "") -> Field:
    shown = None if default is None else str(default)
    return Field(name, Kind.WHOLE, shown, default is None, here=here)


def _duration(name: str, default: str, here: str = "") -> Field:
    return Field(name, Kind.DURATION, default, here=here)


def _section(name: str, *fields: Field, optional: bool = True, here: str = "") -> Field:
    return Field(name, Kind.SECTION, optional=optional, section=Section(fields), here=here)


FIELD_KEYS = _section(
    "FieldKeys",
    _text("CallerKey", "caller"),
    _text("ContentKey", "content"),
    _text("DurationKey", "duration"),
    _text("LevelKey", "level"),
    _text("SpanKey", "span"),
    _text("TimestampKey", "@timestamp"),
    _text("TraceKey", "trace"),
    _text("TruncatedKey", "truncated"),
)

LOG = _section(
    "Log",
    _text("ServiceName"),
    _text("Mode", "console", "`console` only: the log goes to stderr", "console", "file", "volume"),
    _text("Encoding", "json", "the form of a line of the log", "json", "plain"),
    _text("TimeFormat"),
    _text("Path", "logs"),
    _text("Level", "info", "the lowest level logged", "debug", "info", "error", "severe"),
    Field("MaxContentLength", Kind.UNSIGNED, optional=True),
    _flag("Compress"),
    _flag("Stat", True),
    _whole("KeepDays"),
    _whole("StackCooldownMillis", 100),
    _whole("MaxBackups", 0),
    _whole("MaxSize", 0),
    _text("Rotation", "daily", "", "daily", "size"),
    _text("FileTimeFormat"),
    FIELD_KEYS,
    optional=False,
    here="the log",
)

PROMETHEUS = _section("Prometheus", _text("Host"), _whole("Port", 9101), _text("Path", "/metrics"))

TELEMETRY = _section(
    "Telemetry",
    _text("Name"),
    _text("Endpoint"),
    Field("Sampler", Kind.NUMBER, "1.0"),
    _text("Batcher", "otlpgrpc", "", "zipkin", "otlpgrpc", "otlphttp", "file"),
    Field("OtlpHeaders", Kind.MAP, optional=True, secret=True),
    _text("OtlpHttpPath"),
    _flag("OtlpHttpSecure"),
    _flag("Disabled"),
)

DEV_SERVER = _section(
    "DevServer",
    _flag("Enabled", True),
    _text("Host"),
    _whole("Port", 6060),
    _text("MetricsPath", "/metrics"),
    _text("HealthPath", "/healthz"),
    _flag("EnableMetrics", True),
    _flag("EnablePprof", True),
    _text("HealthResponse", "OK"),
)

SHUTDOWN = _section(
    "Shutdown",
    _duration("WrapUpTime", "1s", "accepted; a stop begins to drain at once"),
    _duration("WaitTime", "5.5s", "how long a stop waits for the messages that are being handled"),
    here="the end",
)

PROFILE_TYPE = _section(
    "ProfileType",
    _flag("Logger", False),
    _flag("CPU", True),
    _flag("Goroutines", True),
    _flag("Memory", True),
    _flag("Mutex", False),
    _flag("Block", False),
    optional=False,
)

PROFILING = _section(
    "Profiling",
    Field("Name", Kind.TEXT, optional=True, inherits=True),
    Field("ServerAddr", Kind.TEXT),
    _text("AuthUser"),
    Field("AuthPassword", Kind.TEXT, optional=True, secret=True),
    _duration("UploadRate", "15s"),
    _duration("CheckInterval", "10s"),
    _duration("ProfilingDuration", "2m"),
    Field("CpuThreshold", Kind.WHOLE, "700", bounds=(0, 1000)),
    PROFILE_TYPE,
)

KQ = Section(
    (
        Field("Name", Kind.TEXT, here="the name of the service, in the log and of the app"),
        LOG,
        _text("Mode", "pro", "accepted; changes nothing", "dev", "test", "rt", "pre", "pro"),
        _text("MetricsUrl"),
        PROMETHEUS,
        TELEMETRY,
        DEV_SERVER,
        SHUTDOWN,
        PROFILING,
        Field("Brokers", Kind.LIST, here="the addresses of Kafka, each `host:port`"),
        Field("Group", Kind.TEXT, here="the consumer group"),
        Field("Topic", Kind.TEXT, here="the topic"),
        _text("CaFile", here="certificates of the authorities that Kafka's is checked against"),
        _text("Offset", "last", "where a group begins that has no offsets yet", "first", "last"),
        _whole("Conns", 1, "members of the group that the process owns"),
        _whole("Consumers", 8, "accepted; each member has one fetch thread"),
        _whole("Processors", 8, "worker processes in all"),
        _whole("MinBytes", 10240, "`fetch.min.bytes`"),
        _whole("MaxBytes", 10485760, "`fetch.max.bytes` and `max.partition.fetch.bytes`"),
        _text("Username", here="the user, for SASL"),
        Field("Password", Kind.TEXT, optional=True, secret=True, here="the password, for SASL"),
        _flag("ForceCommit", True, "whether a message is given up after its handler failed"),
        _flag("CommitInOrder", False, "accepted; commits are always in order here"),
    )
)

# Our own settings, which go-zero does not know.
OWN = "Kqworker"
