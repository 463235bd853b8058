"""go-queue's `kq` in Python: KqConf, Pusher and Queue, by the names people know.

Each name is imported when it is first used, so that a worker loads no more than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kqworker.kq.conf.conf import KqConf, load, must_load
    from kqworker.kq.conf.sections import (
        DevServerConf,
        FieldKeysConf,
        LogConf,
        ProfileTypeConf,
        ProfilingConf,
        PrometheusConf,
        ShutdownConf,
        TelemetryConf,
    )
    from kqworker.kq.push.async_pusher import AsyncDelivery, AsyncPusher, new_async_pusher
    from kqworker.kq.push.balancers import (
        CRC32Balancer,
        Hash,
        LeastBytes,
        Murmur2Balancer,
        RoundRobin,
    )
    from kqworker.kq.push.push_options import (
        with_allow_auto_topic_creation,
        with_balancer,
        with_buffer,
        with_chunk_size,
        with_compression,
        with_flush_interval,
        with_on_delivery,
        with_sasl,
        with_sync_push,
        with_tls,
    )
    from kqworker.kq.push.pusher import Pusher, new_pusher
    from kqworker.kq.queue.consuming import with_handle
    from kqworker.kq.queue.group import ServiceGroup
    from kqworker.kq.queue.metrics import Metrics
    from kqworker.kq.queue.queue import Queue, must_new_queue, new_queue
    from kqworker.kq.queue.queue_options import (
        with_commit_interval,
        with_error_handler,
        with_max_wait,
        with_metrics,
        with_queue_capacity,
    )

__all__ = [
    "AsyncDelivery",
    "AsyncPusher",
    "CRC32Balancer",
    "DevServerConf",
    "FieldKeysConf",
    "Hash",
    "KqConf",
    "LeastBytes",
    "LogConf",
    "Metrics",
    "Murmur2Balancer",
    "ProfileTypeConf",
    "ProfilingConf",
    "PrometheusConf",
    "Pusher",
    "Queue",
    "RoundRobin",
    "ServiceGroup",
    "ShutdownConf",
    "TelemetryConf",
    "load",
    "must_load",
    "must_new_queue",
    "new_async_pusher",
    "new_pusher",
    "new_queue",
    "with_allow_auto_topic_creation",
    "with_balancer",
    "with_buffer",
    "with_chunk_size",
    "with_commit_interval",
    "with_compression",
    "with_error_handler",
    "with_flush_interval",
    "with_handle",
    "with_max_wait",
    "with_metrics",
    "with_on_delivery",
    "with_queue_capacity",
    "with_sasl",
    "with_sync_push",
    "with_tls",
]

_MODULES = {
    "push.async_pusher": "AsyncDelivery AsyncPusher new_async_pusher",
    "push.balancers": "CRC32Balancer Hash LeastBytes Murmur2Balancer RoundRobin",
    "conf.conf": "KqConf load must_load",
    "queue.consuming": "with_handle",
    "queue.group": "ServiceGroup",
    "queue.metrics": "Metrics",
    "push.push_options": "with_allow_auto_topic_creation with_balancer with_buffer with_chunk_size "
    "with_compression with_flush_interval with_on_delivery with_sasl with_sync_push with_tls",
    "push.pusher": "Pusher new_pusher",
    "queue.queue": "Queue must_new_queue new_queue",
    "queue.queue_options": "with_commit_interval with_error_handler with_max_wait with_metrics "
    "with_queue_capacity",
    "conf.sections": "DevServerConf FieldKeysConf LogConf ProfileTypeConf ProfilingConf "
    "PrometheusConf ShutdownConf TelemetryConf",
}
_ROOMS = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
