"""Sends librdkafka's log lines to the logger `kqworker.kafka`, with repeats collapsed.

Decides what counts as a repeat: a client whose broker is away tries again 20 times a second
and logs that each time. Knows nothing of what a line is about.
Tested by tests/kafka_unit/test_logs.py.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from kqworker.app import process_exit
from kqworker.watch import logs

# In this many seconds one line of each kind is logged.
INTERVAL = 30.0
# How many kinds are remembered; beyond them the oldest is logged again.
KINDS = 512

_THREAD = re.compile(r"^\[thrd:[^]]*\]: ")
# "(after 0ms in state CONNECT, 30 identical error(s) suppressed)"
_AFTER = re.compile(r" \(after \d+ms in state .*\)$")
_RETRYING = ": retrying"
_NUMBER = re.compile(r"\d+")


class ClientLog:
    """What a confluent_kafka client takes as `logger`; its `error` is the `error_cb`.

    All clients of a process share one: several members that miss the same broker log it once.
    The thread that polls a client logs its lines.

    Args:
        logger: Where the lines go.
        clock: Seconds that never go back.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        process_exit.renew(self)
        # By kind, the oldest first: when it was last logged, and how often it was left out since.
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Take a line of librdkafka, in the form in which confluent_kafka hands it over."""
        if level <= logging.DEBUG:
            # The user has set the property `debug` to see every line.
            self._logger.debug("%s", text, extra={"facility": facility, "client": client})
            return
        if facility == "GETPID" and text.endswith(_RETRYING):
            # A new cluster's first idempotent producer comes before its coordinator.
            level = logging.INFO
        self.say(level, facility, client, plain(text))

    def error(self, error: KafkaError) -> None:
        """Take an error of a client that has no log line of its own."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            # "2/2 brokers are down"; which ones, and why, are lines of their own.
            self.say(logging.WARNING, "DOWN", "", "no broker can be reached")

    def after_fork(self) -> None:
        """Make a new lock, because a thread of the parent may have held the old one."""
        self._lock = threading.Lock()

    def say(self, level: int, facility: str, client: str, text: str) -> None:
        """Log a line, unless any client logged one of its kind a moment ago.

        Args:
            level: A level of `logging`.
            facility: librdkafka's name of a kind of lines, or a similar name.
            client: The client's name, or nothing.
            text: `broker: what`, or what; lines that differ only in numbers are of one kind.
        """
        broker, _, rest = text.partition(": ")
        kind = (facility, f"{broker}: {_NUMBER.sub('#', rest)}")
        now = self._clock()
        with self._lock:
            last, unsaid = self._said.get(kind, (None, 0))
            if last is not None and now - last < INTERVAL:
                self._said[kind] = (last, unsaid + 1)
                return
            self._said.pop(kind, None)
            self._said[kind] = (now, 0)
            if len(self._said) > KINDS:
                del self._said[next(iter(self._said))]
        more = ""
        if last is not None and unsaid:
            more = f" (and {unsaid} more like it in {now - last:.0f} s)"
        who = {"client": client} if client else {}
        self._logger.log(level, "%s%s", text, more, extra={"facility": facility, **who})


def plain(text: str) -> str:
    """Return a line of librdkafka without the thread that said it and how long it took.

    >>> plain("[thrd:b:1/2]: b:1/2: Connection refused (after 0ms in state CONNECT)")
    'b:1/2: Connection refused'
    """
    return _AFTER.sub("", _THREAD.sub("", text))


client_log = ClientLog(logs.logger("kqworker.kafka"))
