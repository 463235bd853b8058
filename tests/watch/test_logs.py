"""How log lines look, and whose they are."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kqworker
from kqworker.watch import logs

logger = logs.logger("kqworker.test")


@pytest.fixture
def root() -> logging.Logger:
    return logging.getLogger()


def bare(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    # In the test itself: pytest adds handlers of its own after the fixtures.
    monkeypatch.setattr(root, "handlers", [])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_text_line_has_time_level_logger_event_and_fields(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logs.configure("INFO", "text")
    logger.info("worker %s", "died", extra={"worker_id": 3, "why": "no reason", "empty": ""})

    (line,) = lines(capsys)
    date, time, rest = line.split(" ", 2)
    assert len(date) == 10 and len(time) == 12
    assert rest == "INFO    kqworker.test  worker died  worker_id=3 why='no reason' empty=''"


def test_a_traceback_stands_below_its_line(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logs.configure("info", "text")
    logger.warning("failed", extra={"traceback": "Traceback:\n  there\n", "offset": 7})
    try:
        raise KeyError("k")
    except KeyError:
        logger.exception("raised")

    said = lines(capsys)
    assert said[0].endswith("failed  offset=7")
    assert said[1:3] == ["Traceback:", "  there"]
    assert said[-1] == "KeyError: 'k'"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "· é 😀"), ("ascii", r"\u00b7 \u00e9 \ud83d\ude00"), ("latin-1", r"\u00b7 \u00e9")],
)
def test_a_json_line_escapes_only_what_its_stream_cannot_show(
    encoding: str, shown: str, root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr("sys.stderr", stream)
    said = "· é 😀 \n \x1b \x7f \x85 \x9b \u2028 \udc80"

    logs.configure("info", "json")
    logger.info(said)

    text = written.getvalue().decode(encoding)
    assert shown in text
    assert len(text.splitlines()) == 1 and text.strip("\n").isprintable()
    assert json.loads(text)["message"] == said


def test_a_number_that_json_does_not_have_is_text_in_a_json_line(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logs.configure("info", "json")
    told = {"ratio": math.nan, "bounds": [1.5, (-math.inf,)], "by": {math.inf: None}}

    logger.info("measured", extra=told)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    (text,) = lines(capsys)
    found = json.loads(text, parse_constant=refuse)
    assert (found["ratio"], found["bounds"]) == ("nan", [1.5, ["-inf"]])
    assert found["by"] == {"inf": None}


def test_a_json_line_is_one_object(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logs.configure("info", "json")
    logger.info("two\nlines", extra={"offset": 7, "where": ValueError("v"), "level": "mine"})
    try:
        raise KeyError("k")
    except KeyError:
        logger.exception("raised")

    first, second = map(json.loads, lines(capsys))
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "kqworker.test",
        "message": "two\nlines",
        "offset": 7,
        "where": "v",
    }
    assert second["traceback"].endswith("KeyError: 'k'")


def test_debugging_shows_ours_and_not_that_of_other_libraries(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logs.configure("debug", "text")
    logger.debug("ours")
    logging.getLogger("another").debug("theirs")
    logging.getLogger("another").info("said")

    assert [line.rsplit("  ", 1)[1] for line in lines(capsys)] == ["ours", "said"]


def test_configuring_again_replaces_what_was_set_up(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logs.configure("info", "text")
    logs.configure("error", "json")
    logger.warning("dropped")
    logger.error("shown")

    assert [json.loads(line)["message"] for line in lines(capsys)] == ["shown"]


def test_an_app_that_has_set_up_logging_keeps_it(
    capsys: pytest.CaptureFixture[str], root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    logging.basicConfig(format="mine: %(message)s", level=logging.INFO)
    logs.configure("debug", "json")
    logger.debug("ours")

    assert lines(capsys) == ["mine: ours"]
    assert root.level == logging.INFO


@pytest.mark.parametrize(("level", "format"), [("loud", "text"), ("info", "xml")])
def test_what_does_not_exist_is_refused(level: str, format: str) -> None:
    with pytest.raises(ValueError, match="no log"):
        logs.configure(level, format)


def test_a_log_that_nobody_reads_holds_nobody_up_and_says_later_what_was_dropped(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure("info", "text")
        began = time.monotonic()
        for number in range(200):  # more than any pipe holds
            logger.info("%d %s", number, "x" * 10_000)
        assert time.monotonic() - began < 5 * logs.WAIT_SECONDS

        os.set_blocking(reader, False)
        held = pipe.read()
        assert held.startswith(b"20") and len(held) < 1_000_000
        logger.info("read again")
        cut, told, line = pipe.read().decode().splitlines()
        assert "read again" in line
        taken = held.count(b"INFO") - 1  # the last was cut off
        assert f"{200 - taken} log lines dropped" in told and "event=log_stalled" in told
        assert cut == ""


def test_a_line_that_a_full_disk_does_not_take_is_lost_and_nothing_of_it_stays_behind(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(root, monkeypatch)
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure("info", "text")

        logger.info("a line")

        stream.flush()  # as multiprocessing does, and Python at its exit


# -- what an app sets up


def said_after(set_up: str) -> list[str]:
    """What a process writes when the log is configured, and then an app sets its own up."""
    script = f"""
import io, logging, logging.config, logging.handlers, sys
from kqworker.watch import logs
ours = logs.logger("kqworker.test")
logs.configure("info", "text")
{set_up}
ours.warning("message failed")
ours.info("ready")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.partition("kqworker.test  ")[2] or line for line in done.stderr.splitlines()]


THEIRS = """
logging.config.dictConfig({
    "version": 1,
    "formatters": {"theirs": {"format": "theirs: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "theirs"}},
    WHERE
})
"""
FILE = """
[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=theirs
[logger_root]
handlers=console
[handler_console]
class=StreamHandler
formatter=theirs
args=()
[formatter_theirs]
format=theirs: %(message)s
"""


@pytest.mark.parametrize(
    ("where", "form"),
    [
        ('"root": {"handlers": ["console"], "level": "ERROR"},', "theirs: {}"),
        ('"loggers": {"kqworker": {"handlers": ["console"], "level": "INFO"}},', "theirs: {}"),
        ('"loggers": {"shop": {"handlers": ["console"]}},', "{}"),
        ("", "{}"),
        # These take ours away, and give nothing for it.
        ('"root": {"level": "INFO"},', "{}"),
        ('"loggers": {"kqworker": {"propagate": False}},', "{}"),
    ],
)
def test_a_set_up_that_disables_what_is_there_leaves_our_lines_each_once(
    where: str, form: str
) -> None:
    said = said_after(THEIRS.replace("WHERE", where))

    assert said == [form.format("message failed"), form.format("ready")]


def test_so_does_one_from_a_file() -> None:
    said = said_after(f"logging.config.fileConfig(io.StringIO({FILE!r}))")

    assert said == ["theirs: message failed", "theirs: ready"]


@pytest.mark.parametrize(
    "handler", ["StreamHandler()", "NullHandler()", "FileHandler('/dev/null')"]
)
def test_a_handler_that_is_added_to_the_root_neither_doubles_nor_swallows_a_line(
    handler: str,
) -> None:
    said = said_after(f"logging.getLogger().addHandler(logging.{handler})")

    assert said == ["message failed", "ready"]


def test_a_level_that_is_set_for_our_lines_counts() -> None:
    assert said_after("logging.getLogger('kqworker').setLevel('ERROR')") == []
    assert said_after("logging.getLogger('kqworker').setLevel('WARNING')") == ["message failed"]


def test_a_log_that_is_disabled_for_all_keeps_no_warning_of_ours_back() -> None:
    assert said_after("logging.disable()") == ["message failed"]
    assert said_after("logging.disable()\nours.setLevel('ERROR')") == []


@pytest.mark.parametrize(
    ("kind", "method"),
    [("Handler", "emit"), ("StreamHandler", "emit"), ("StreamHandler", "filter")],
)
def test_a_handler_of_an_app_that_raises_ends_nothing_and_hides_no_line(
    kind: str, method: str
) -> None:
    said = said_after(f"""
class Theirs(logging.{kind}):
    def {method}(self, record):
        raise ValueError("of theirs")
logging.root.handlers[:] = [Theirs()]
""")

    assert [line for line in said if line in ("message failed", "ready")] == [
        "message failed",
        "ready",
    ]
    assert said.count("ValueError: of theirs") == 2


def test_so_it_is_where_no_log_was_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    class Theirs(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("of theirs")

    ours = logs.logger("kqworker.test.raising")
    theirs = Theirs()
    ours.addHandler(theirs)
    ours.warning("message failed")
    ours.removeHandler(theirs)

    assert "message failed" in capsys.readouterr().err


def test_a_logger_that_an_app_made_first_is_ours_and_stays_of_its_own_kind() -> None:
    class Theirs(logging.Logger):
        pass

    before = logging.getLoggerClass()
    logging.setLoggerClass(Theirs)
    try:
        made = logging.getLogger("kqworker.test.first")
    finally:
        logging.setLoggerClass(before)
    ours = logs.logger("kqworker.test.first")
    ours.disabled = True

    assert ours is made
    assert isinstance(ours, Theirs)
    assert ours.isEnabledFor(logging.CRITICAL)


def test_no_logger_of_any_module_can_be_switched_off() -> None:
    names = [found.name for found in pkgutil.walk_packages(kqworker.__path__, "kqworker.")]
    # In a process of its own, in which no test has asked for a logger.
    script = f"""
import importlib, logging
for name in {[name for name in names if not name.endswith("__main__")]}:
    importlib.import_module(name)
for name, logger in logging.root.manager.loggerDict.items():
    if name.partition(".")[0] == "kqworker" and isinstance(logger, logging.Logger):
        logger.disabled = True
        print(name, logger.disabled)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = dict(line.split() for line in done.stdout.splitlines())
    assert "kqworker.supervisor" in found
    assert set(found.values()) == {"False"}, found
