"""What a process owes its connections: an end as it ends, and none to those from before a fork.

Knows nothing of what they carry. Tested, in processes of multiprocessing, by
tests/kafka_unit/test_sink.py and tests/kq/test_pusher.py.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable

# Referenced for ever, because collecting a handle from before a fork hangs.
_inherited: list[object] = []


def at_exit(call: Callable[..., object], *arguments: object) -> None:
    """Call a function as this process ends; `atexit.unregister` calls it off.

    It may be called twice, or once it is called off, and must do nothing then.
    """
    # Only where something is pushed: workers and apps start sooner without.
    from multiprocessing import parent_process
    from multiprocessing.util import Finalize

    atexit.register(call, *arguments)
    if parent_process() is not None:
        # Before Python 3.13 its processes end without the handlers of atexit.
        Finalize(None, call, args=arguments, exitpriority=0)


def leave(connection: object) -> None:
    """Neither use nor close a connection from before a fork.

    librdkafka's threads did not survive it.
    """
    _inherited.append(connection)
