"""How log lines look, and whose they are."""

from __future__ import annotations

import io
import json
import logging
import os
import time

import pytest

from kqworker import logs

logger = logging.getLogger("kqworker.test")


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
