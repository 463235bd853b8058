"""What is written to a terminal, and what is not when it is none."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.cli.terminal import (
    StatusLine,
    bar,
    coloured,
    columns,
    duration,
    fail,
    fit,
    live,
    paint,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_colour_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_has_colours_and_a_pipe_has_none() -> None:
    assert coloured(Terminal())
    assert not coloured(io.StringIO())


def test_no_color_is_honoured_where_it_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert coloured(Terminal())

    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())


def test_a_dumb_terminal_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert not coloured(Terminal())


def test_an_error_stands_after_error_and_its_lines_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail("cannot import app:\n    def broken(:\n               ^")

    assert capsys.readouterr().err == (
        "error: cannot import app:\n           def broken(:\n                      ^\n"
    )


def test_an_error_is_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    fail("no")

    assert terminal.getvalue() == "\x1b[31merror:\x1b[0m no\n"


def test_the_status_line_leaves_an_empty_line_above_for_others() -> None:
    terminal = Terminal()
    status = StatusLine(terminal)

    status.draw("one")
    status.draw("two")
    status.clear()

    drawn = "\r\x1b[J\n{}\x1b[1A\r"
    assert terminal.getvalue() == drawn.format("one") + drawn.format("two") + "\r\x1b[J"


def test_the_status_line_is_as_wide_as_its_own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    # Standard output may go to a file, and then says nothing of it.
    monkeypatch.setenv("COLUMNS", "7")
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb"), os.fdopen(terminal, "w") as stream:
        assert columns(stream) == 7  # it does not say how wide it is
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 33, 0, 0))
        assert columns(stream) == 33
    assert columns(io.StringIO()) == 7


def test_lines_are_drawn_again_only_where_that_can_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert live(Terminal())
    assert not live(io.StringIO())

    monkeypatch.setenv("TERM", "dumb")
    assert not live(Terminal())


def test_a_status_line_that_is_not_drawn_is_not_cleared() -> None:
    terminal = Terminal()

    StatusLine(terminal).clear()

    assert terminal.getvalue() == ""


@given(st.lists(st.sampled_from(["abc", "d", paint("red", "red", True)])), st.integers(2, 20))
def test_text_fits_the_width_whatever_its_colours(parts: list[str], width: int) -> None:
    text = "".join(parts)
    plain = text.replace("\x1b[31m", "").replace("\x1b[0m", "")

    shown = fit(text, width).replace("\x1b[31m", "").replace("\x1b[0m", "")

    assert len(shown) <= width
    assert shown == plain or (len(plain) > width and shown == plain[: width - 1] + "…")


@pytest.mark.parametrize(("fraction", "full"), [(-1, 0), (0, 0), (0.25, 1), (1, 4), (2, 4)])
def test_a_bar_stays_within_its_width(fraction: float, full: int) -> None:
    assert bar(fraction, 4) == "━" * full + "─" * (4 - full)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0s"), (9.96, "10.0s"), (12.3, "12s"), (60, "1m00s"), (3599, "59m59s"), (7260, "2h01m")],
)
def test_a_duration_is_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


GONE = """
import os, pty, sys
ours, theirs = pty.openpty()
os.dup2(theirs, 2)
os.close(theirs)
os.close(ours)
from kqworker.cli import main
from kqworker.cli.terminal import write
write(sys.stderr, "to nobody\\n")
sys.argv[1:] = ["--version"]
main()
"""


def test_a_terminal_that_has_gone_does_not_change_how_a_command_ends() -> None:
    # -I: PYTHONUNBUFFERED would leave nothing to be written at the end.
    done = subprocess.run([sys.executable, "-I", "-c", GONE], stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout[:9]) == (0, b"kqworker ")
