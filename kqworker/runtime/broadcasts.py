"""Signals that a terminal or a service manager sends to all processes of a run at once.

Decides that only the supervisor acts on them, and that they end, as usual, what an app forks in
any of these: otherwise an app that ends a fork of its own by a signal would wait for ever.
Tested by tests/runtime/test_broadcasts.py.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Final

BROADCAST: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_registered = False
_sparing = False
_held = threading.local()


def take_no_notice() -> None:
    """Ignore broadcast signals; they end what is forked from now on."""
    for number in BROADCAST:
        # Not SIG_IGN: programs that are started would inherit that.
        signal.signal(number, _take_no_notice)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BROADCAST)
    end_forks()


def end_forks() -> None:
    """Let the usual signals end what is forked from now on, whatever they do to this process."""
    global _registered, _sparing
    _sparing = False
    if not _registered:
        _registered = True
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_in_child)


def spare_forks() -> None:
    """Let what is forked from now on ignore them, too."""
    global _sparing
    _sparing = True


def _take_no_notice(_number: int, _frame: FrameType | None) -> None:
    pass


def _hold() -> None:
    # A signal that reaches the child before it has its own handlers would be lost.
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, BROADCAST)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)


def _in_child() -> None:
    if not _sparing:
        for number in BROADCAST:
            if _is_ours(signal.getsignal(number)):
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)
    _let_go()


def _is_ours(handler: object) -> bool:
    """Return whether a handler is not the app's; `default_int_handler` ends a command."""
    module = getattr(handler, "__module__", None) or ""
    return handler is signal.default_int_handler or module.partition(".")[0] == "kqworker"
