"""The sections of go-queue's configuration, as `KqConf` holds them: those of go-zero's ServiceConf.

Pure. Knows no file: `kqworker.kq.fields` has what may stand in one, and a test holds the
classes against it. Tested by tests/kq/test_conf.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """`Log`. Served are `mode` "console", `encoding` and `level`."""

    service_name: str = ""
    mode: str = "console"
    encoding: str = "json"
    time_format: str = ""
    path: str = "logs"
    level: str = "info"
    max_content_length: int = 0
    compress: bool = False
    stat: bool = True
    keep_days: int = 0
    stack_cooldown_millis: int = 100
    max_backups: int = 0
    max_size: int = 0
    rotation: str = "daily"
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
    sampler: float = 1.0
    batcher: str = "otlpgrpc"
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
    """`Shutdown`: the times of an end, in seconds; 0 and less stand for the defaults.

    An absent section is one with the defaults: go-zero has zeros then, and takes these for
    them. `wrap_up_time` is accepted: a stop begins to drain at once.
    """

    wrap_up_time: float = 1.0
    wait_time: float = 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTypeConf:
    """`Profiling.ProfileType`. Not served."""

    logger: bool = False
    cpu: bool = True
    goroutines: bool = True
    memory: bool = True
    mutex: bool = False
    block: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilingConf:
    """`Profiling`; times in seconds. Not served."""

    server_addr: str
    name: str = ""
    auth_user: str = ""
    auth_password: str = field(default="", repr=False)
    upload_rate: float = 15.0
    check_interval: float = 10.0
    profiling_duration: float = 120.0
    cpu_threshold: int = 700
    profile_type: ProfileTypeConf = field(default_factory=ProfileTypeConf)


CLASSES: Mapping[str, type[object]] = {
    "Log": LogConf,
    "FieldKeys": FieldKeysConf,
    "Prometheus": PrometheusConf,
    "Telemetry": TelemetryConf,
    "DevServer": DevServerConf,
    "Shutdown": ShutdownConf,
    "Profiling": ProfilingConf,
    "ProfileType": ProfileTypeConf,
}
# Sections that are there even where a file has none.
ALWAYS = ("Log", "Shutdown", "ProfileType")
