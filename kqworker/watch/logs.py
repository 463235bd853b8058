"""How log lines look, in the supervisor and in its workers: text, or JSON, on stderr.

A record is an event and fields: `logger.info("worker started", extra={"worker_id": 3})`;
everything in `extra` is a field. If an app has set up handlers on the root logger, they
stay, and its lines and ours go there. Also decides that an app's set-up of its log does not
switch our loggers off by accident. Knows nothing of what is logged.
Tested by tests/watch/test_logs.py.
"""

from __future__ import annotations

import codecs
import json
import logging
import math
import os
import re
import select
import sys
import time
from collections.abc import Iterator
from typing import Final, TextIO

from kqworker.watch import direct

ROOT = "kqworker"

# A reader of the log that stops reading must not stop the work: a full pipe blocks the writer,
# signals included. We wait for it for so long, once; then lines are dropped.
WAIT_SECONDS: Final = 1.0
# A pipe that can be written to takes 4,096 bytes without blocking; so many characters are
# at most 4,096 bytes.
PIECE: Final = 1024

_NOT_ASCII = re.compile("[^ -~]")
# Characters that no stream takes, that end a line for some reader, or that a terminal obeys.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# What every record has; anything else came as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Heard(logging.Logger):
    """A logger that the set-up of an app's log neither disables nor leaves without a handler.

    `dictConfig` and `fileConfig` disable each existing logger that they do not name, unless
    they are told otherwise; and they take our handler from the root. An app that wants fewer
    of our lines sets a level for them.
    """

    @property
    def disabled(self) -> bool:
        """Never; setting it does nothing."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass

    def isEnabledFor(self, level: int) -> bool:
        """Return whether a level is shown; `logging.disable` does not hide our warnings."""
        if level >= logging.WARNING:
            return level >= self.getEffectiveLevel()
        return super().isEnabledFor(level)

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Hand a record to the handlers; to ours if there is no other, or if one of them fails."""
        if _last_resort is not None and next(_handlers(self), None) is None:
            _last_resort.handle(record)
            return
        try:
            super().callHandlers(record)
        except Exception:  # of an app's handler or filter: a log must not end the work
            ours = _last_resort or logging.StreamHandler()
            ours.handleError(record)
            logging.StreamHandler.handle(ours, record)


def logger(name: str) -> logging.Logger:
    """Return a logger of ours; every module of kqworker must get its logger here.

    Args:
        name: `kqworker.…`.
    """
    found = logging.getLogger(name)
    if not isinstance(found, _Heard):
        # An app may have asked for it before us, and may have its own class for loggers.
        kind = type(found)
        found.__class__ = _Heard if kind is logging.Logger else type(name, (_Heard, kind), {})
    return found


def _handlers(logger: logging.Logger) -> Iterator[tuple[logging.Handler, logging.Logger]]:
    """Yield the handlers that get a logger's records, each with the logger that has it."""
    at: logging.Logger | None = logger
    while at is not None:
        for handler in at.handlers:
            if not isinstance(handler, logging.NullHandler):
                yield handler, at
        at = at.parent if at.propagate else None


def _shown_by_another(record: logging.LogRecord) -> bool:
    """Return whether the app shows our line in its own form; then ours would be a second one.

    A handler shows it if the app has given it to our loggers, or if it is on the root and
    writes to a stream. A handler on the root that keeps a file or sends mails does not count.
    """
    if record.name != ROOT and not record.name.startswith(f"{ROOT}."):
        return False
    ours = logging.getLogger(record.name)
    return any(
        record.levelno >= handler.level
        and not isinstance(handler, _OurHandler)
        and (at is not logging.root or _is_stream(handler))
        for handler, at in _handlers(ours)
    )


def _is_stream(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(
        handler, logging.FileHandler
    )


class _OurHandler(logging.StreamHandler):  # type: ignore[type-arg] # generic for checkers only
    """Told from an app's own handlers by its type; writes to the stderr of the moment.

    Drops lines while nobody reads them, and later says how many.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._dropped = 0
        self._cut = False  # in the middle of a line

    def handle(self, record: logging.LogRecord) -> bool:
        return not _shown_by_another(record) and bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        if self.stream is None:  # closed before the start
            return
        try:
            if self._dropped and self._takes(0.0):
                dropped, self._dropped = self._dropped, 0
                text = f"{dropped} log lines dropped: nobody read them"
                self._write(
                    logging.makeLogRecord(
                        {
                            "name": __name__,
                            "levelno": logging.WARNING,
                            "levelname": "WARNING",
                            "msg": text,
                            "event": "log_stalled",
                        }
                    )
                )
            self._write(record)
        except OSError:
            pass  # what would be said of that goes to the same stream
        except Exception:  # as in every handler of logging: a log must not end the work
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        text = ("\n" if self._cut else "") + self.format(record) + self.terminator
        if isinstance(self.formatter, TextFormatter):
            text = clearing(self.stream) + text
        for start in range(0, len(text), PIECE):
            if not self._takes(0.0 if self._dropped else WAIT_SECONDS):
                self._dropped += 1
                return
            direct.write(self.stream, text[start : start + PIECE])
            self._cut = start + PIECE < len(text)

    def _takes(self, seconds: float) -> bool:
        """Return whether the stream takes a piece, within so many seconds."""
        try:
            poll = select.poll()
            poll.register(self.stream.fileno(), select.POLLOUT)
        except (OSError, ValueError):
            return True  # no file at all
        # True also if the reader has gone: then the write raises.
        return bool(poll.poll(seconds * 1000))


# The handler that `configure` has made last.
_last_resort: _OurHandler | None = None


def clearing(stream: TextIO) -> str:
    """Return what to write before text, so that no status line stays visible below it."""
    # A line that is too long for one row, or the second of two lines, would be written over it.
    return "\x1b[J" if stream.isatty() and os.environ.get("TERM") != "dumb" else ""


def configure(level: str, format: str) -> None:
    """Set up the log of this process; calling it again replaces what it has set up.

    Args:
        level: The lowest level that is shown, as `logging` names it, in any case.
        format: "text" for people, "json" for one object a line.

    Raises:
        ValueError: Another level or format.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level {level!r}")
    if format not in ("text", "json"):
        raise ValueError(f"no log format {format!r}")
    global _last_resort
    logger(ROOT).setLevel(number)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _OurHandler):
            root.removeHandler(handler)
    handler = _OurHandler()
    json_format = JsonFormatter(ascii=not _is_utf8(sys.stderr))
    handler.setFormatter(json_format if format == "json" else TextFormatter())
    _last_resort = handler
    if next(_handlers(root), None):
        return
    root.addHandler(handler)
    # The debug lines of other libraries are not asked for with ours.
    root.setLevel(max(number, logging.INFO))


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what came as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextFormatter(logging.Formatter):
    """`2026-05-01 12:00:00.123 INFO    kqworker.worker  what happened  topic=test offset=7`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on lines of its own."""
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        line = f"{seconds}.{int(record.msecs):03d} {record.levelname:<7} {record.name}  "
        line += record.getMessage()
        fields = fields_of(record)
        trace = fields.pop("traceback", None)
        if fields:
            line += "  " + " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        if trace:
            line += f"\n{trace}".rstrip()
        if record.stack_info:
            line += "\n" + self.formatStack(record.stack_info)
        return line


def _shown(value: object) -> str:
    text = str(value)
    # A line stays one line, and a field with blanks in it stays one field.
    return text if text.isprintable() and " " not in text and text else repr(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the fields.

    Args:
        ascii: Whether all other characters are escaped, as JSON allows.
    """

    def __init__(self, ascii: bool = True) -> None:
        super().__init__()
        self._escape = _NOT_ASCII if ascii else _UNPRINTABLE

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; a value that JSON does not know becomes text."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in fields_of(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            text = json.dumps(line, default=str, ensure_ascii=False, allow_nan=False)
        except ValueError:
            # A number that JSON does not have would make the whole line unreadable.
            text = json.dumps(_readable(line), default=str, ensure_ascii=False)
        return self._escape.sub(_escaped, text)


def _readable(value: object) -> object:
    """Return a value with text in place of each number that is not finite."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {_readable(name): _readable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_readable(inner) for inner in value]
    return value


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _is_utf8(stream: TextIO | None) -> bool:
    encoding = getattr(stream, "encoding", None)
    return encoding is not None and codecs.lookup(encoding).name == "utf-8"
