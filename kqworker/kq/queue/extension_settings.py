"""What may stand below `Kqworker:`, and what a field of go-queue stands for.

Pure. `translate` decides what it means to a run. Tested by tests/kq/test_translate.py, and
tests/docs/test_kq_queue.py holds the reference against it.
"""

from __future__ import annotations

from collections.abc import Mapping

from kqworker.settings import values
from kqworker.settings.settings import SETTINGS

# Settings that a field of kq replaces.
STANDING = {
    "brokers": "Brokers",
    "group": "Group",
    "offset": "Offset",
    "members": "Conns",
    "workers": "Processors",
    "topics": "Topic",
    "exclude_topics": "Topic",
    "shutdown_timeout": "Shutdown.WaitTime",
    "log_level": "Log.Level",
    "log_format": "Log.Encoding",
}
# Settings that mean nothing where there is a file of kq and no App.
ELSEWHERE = {
    "factory": "a queue has no App",
    "env_file": "set the variables, and load with use_env",
}


def _factor(value: object) -> float:
    try:
        return values.seconds(1)(value)
    except ValueError:
        raise ValueError("a number of at least 1") from None


# The keys that a queue has beside the settings.
QUEUE_KEYS = ("ordering", "retry", "dead_letter", "sasl_mechanism", "tls", "assignor")
KNOWN = (
    *QUEUE_KEYS,
    *(name for name in SETTINGS if name not in STANDING and name not in ELSEWHERE),
)
RETRY: Mapping[str, values.Parse[object]] = {
    "attempts": values.whole(1),
    "first": values.seconds(0),
    "factor": _factor,
    "cap": values.seconds(0),
    "jitter": values.flag,
}
ASSIGNORS = ("range", "roundrobin", "cooperative-sticky", "consumer")
