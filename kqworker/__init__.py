"""A multiprocessing worker framework for Python over Kafka.

The public names and nothing else; each is imported when it is first used, so that a
command or a worker does not load what it has no need of. Tested by tests/app/test_names.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kqworker.app import plugs

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kqworker.app.app import App
    from kqworker.app.connection import PushSink
    from kqworker.app.context import Context
    from kqworker.app.delivery import Delivery
    from kqworker.app.payload.results import Output
    from kqworker.core.retry import Retry
    from kqworker.errors import (
        BrokerError,
        BugError,
        ConfigError,
        DecodeError,
        HandlerError,
        KQWorkerError,
        Reject,
        RetryLater,
        WorkerLost,
    )
    from kqworker.types import Message

__all__ = [
    "App",
    "BrokerError",
    "BugError",
    "ConfigError",
    "Context",
    "DecodeError",
    "Delivery",
    "HandlerError",
    "KQWorkerError",
    "Message",
    "Output",
    "Reject",
    "Retry",
    "RetryLater",
    "WorkerLost",
    "__version__",
]

_ROOMS = {
    "App": "kqworker.app.app",
    "Context": "kqworker.app.context",
    "Delivery": "kqworker.app.delivery",
    "Message": "kqworker.types",
    "Output": "kqworker.app.payload.results",
    "Retry": "kqworker.core.retry",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(_ROOMS.get(name, "kqworker.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _open_push_sink(app: App) -> PushSink:
    # Only where something is pushed: workers and apps start sooner without.
    from kqworker.sinks import open_app_sink

    return open_app_sink(app)


plugs.open_push_sink = _open_push_sink
