"""A multiprocessing worker framework for Python over Kafka.

The public names and nothing else; each is imported when it is first used, so that a
command or a worker does not load what it has no need of. Tested by tests/app/test_names.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kqworker.app import App
    from kqworker.context import Context
    from kqworker.core.retry import Retry
    from kqworker.delivery import Delivery
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
    from kqworker.payload.results import Output
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
    "App": "kqworker.app",
    "Context": "kqworker.context",
    "Delivery": "kqworker.delivery",
    "Message": "kqworker.types",
    "Output": "kqworker.payload.results",
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
