"""How a command ends: the exit codes, each with its one meaning.

Pure. Decides which error ends with which; `kqworker.verdict` decides how a run ends. Their order
counts: of several queues in one process the highest code is returned (`kq.queue.group`).
Tested by tests/cli/test_main.py.
"""

from __future__ import annotations

import enum

from kqworker.errors import BrokerError, ConfigError, KQWorkerError, WorkerLost


class Exit(enum.IntEnum):
    """The exit codes of every command; never 0 when work was abandoned."""

    CLEAN = 0
    CRASH = 1  # of kqworker itself
    USAGE = 2  # usage, import or configuration
    BROKER = 3  # broker, authentication or topic: at the start, or refused later
    # The drain timed out, a second Ctrl-C ended it, or a signal came before
    # --until-caught-up had.
    ABANDONED = 4
    CRASH_LOOP = 5  # workers could not be kept alive
    MESSAGES_FAILED = 6  # finished (--until-caught-up), but messages failed


def exit_of(error: KQWorkerError) -> Exit:
    """Return the code for an error, by who must act on it."""
    match error:
        case ConfigError():
            return Exit.USAGE
        case BrokerError():
            return Exit.BROKER
        case WorkerLost():
            return Exit.CRASH_LOOP
    return Exit.CRASH
