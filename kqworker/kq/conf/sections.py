"""The sections of go-queue's configuration, as `KqConf` holds them: those of go-zero's ServiceConf.

`kqworker.kq.conf.fields` reads each class as the table of its section; only what a type and a
default do not say is metadata. `optional=False` marks a zero that is a default of go-zero, and
not just what an absent field leaves.
Pure. Knows no file. Tested by tests/kq/test_conf.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kqworker.kq.conf.fields import Kind, tag


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldKeysConf:
    """`Log.FieldKeys`: what go-zero calls the fields of a line of its log. Not served."""

    caller_key: str = "caller"
    content_key: str = "content"
    duration_key: str = "duration"
    level_key: str = "level"
    span_key: str = "span"
    timestamp_key: str = "@timestamp"
    trace_key: str = "trace"
    truncated_key: str = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConf:
    """`Log`. kqworker serves `mode` "console", `encoding` and `level`."""

    service_name: str = ""
    mode: str = tag(
        "console", "`console` only: the log goes to stderr", "console", "file", "volume"
    )
    encoding: str = tag("json", "the form of a line of the log", "json", "plain")
    time_format: str = ""
    path: str = "logs"
    level: str = tag("info", "the lowest level logged", "debug", "info", "error", "severe")
    max_content_length: int = tag(0, kind=Kind.UNSIGNED)
    compress: bool = False
    stat: bool = True
    keep_days: int = 0
    stack_cooldown_millis: int = 100
    max_backups: int = tag(0, optional=False)
    max_size: int = tag(0, optional=False)
    rotation: str = tag("daily", "", "daily", "size")
    file_time_format: str = ""
    field_keys: FieldKeysConf | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusConf:
    """`Prometheus`. Not served."""

    host: str = ""
    port: int = 9101
    path: str = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConf:
    """`Telemetry`. Not served."""

    name: str = ""
    endpoint: str = ""
    sampler: float = tag(1.0, kind=Kind.NUMBER)
    batcher: str = tag("otlpgrpc", "", "zipkin", "otlpgrpc", "otlphttp", "file")
    # Such headers carry tokens.
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    otlp_http_path: str = ""
    otlp_http_secure: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServerConf:
    """`DevServer`. Not served."""

    enabled: bool = True
    host: str = ""
    port: int = 6060
    metrics_path: str = "/metrics"
    health_path: str = "/healthz"
    enable_metrics: bool = True
    enable_pprof: bool = True
    health_response: str = "OK"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownConf:
    """`Shutdown`: the times of a stop, in seconds; 0 and less stand for the defaults.

    An absent section has the defaults: go-zero then has zeros, and takes them for the
    defaults. `wrap_up_time` is accepted: a stop begins to drain at once.
    """

    wrap_up_time: float = tag(1.0, "accepted; a stop begins to drain at once")
    wait_time: float = tag(5.5, "how long a stop waits for the messages that are being handled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTypeConf:
    """`Profiling.ProfileType`. Not served."""

    logger: bool = tag(False, optional=False)
    cpu: bool = tag(True, name="CPU")
    goroutines: bool = True
    memory: bool = True
    mutex: bool = tag(False, optional=False)
    block: bool = tag(False, optional=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilingConf:
    """`Profiling`; times in seconds. Not served."""

    name: str = tag("", inherits=True)
    server_addr: str
    auth_user: str = ""
    auth_password: str = tag("", secret=True)
    upload_rate: float = 15.0
    check_interval: float = 10.0
    profiling_duration: float = 120.0
    cpu_threshold: int = tag(700, bounds=(0, 1000))
    profile_type: ProfileTypeConf = field(default_factory=ProfileTypeConf)
