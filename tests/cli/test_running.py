"""`run` and `dev` from the command line: the built-in broker, Ctrl-C, reload, the watches."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from kqworker.cli.running import watch_for
from kqworker.cli.terminal_watch import TerminalWatch
from kqworker.exits import Exit
from kqworker.kafka import devbroker
from kqworker.kafka.devbroker import DevBroker, create_topics
from kqworker.settings.settings import Settings
from kqworker.watch.plain import PlainWatch
from tests import processes
from tests.cli.conftest import Run, started

APP = """\
import os
from kqworker import App
app = App("shop")
SAYS = "first"

@app.handler(topic="test")
def on_test(text: str) -> None:
    # One write a line, so that two workers do not mix theirs.
    os.write(1, f"{SAYS} {text}\\n".encode())
"""


@pytest.fixture
def shop(here: Path) -> Path:
    (here / "app.py").write_text(APP)
    return here


def edited(file: Path, text: str) -> None:
    """Write a file as editors do: whoever looks sees the one text or the other, whole."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_gets_the_status_line_and_a_pipe_log_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(watch_for(Settings()), TerminalWatch)
    assert isinstance(watch_for(Settings(log_format="json")), PlainWatch)

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(watch_for(Settings()), PlainWatch)


def test_run_handles_what_was_pushed_until_it_has_caught_up(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    kqworker("push", "test", stdin="a\nb\nc\n")

    ended = kqworker("run", "app:app", "-w", "1", "--until-caught-up")

    assert ended.code == 0, ended.err
    assert sorted(ended.out.split("\n")) == ["", "first a", "first b", "first c"]
    assert ended.err.startswith(
        f"no brokers given: using the built-in broker at {broker.address}\n"
    )
    assert "3 handled · 0 failed" in ended.err


def test_messages_that_failed_end_it_with_6(shop: Path, broker: DevBroker, kqworker: Run) -> None:
    (shop / "app.py").write_text(APP + "    raise Exception('no %s {x}')\n")
    kqworker("push", "test", "a")

    ended = kqworker("run", "app:app", "-w", "1", "--until-caught-up", "--log-format", "json")

    assert ended.code == 6, ended.err
    assert '"event": "retrying"' in ended.err
    assert '"event": "gave_up"' in ended.err
    assert '"exit": 6' in ended.err


def test_a_producer_whose_thread_fails_ends_the_run_and_commits_nothing(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    app = APP.replace('topic="test"', 'topic="test", output="out"').replace("None:", "str:")
    failing = """
    return text
from kqworker.kafka.sink import _Produced
def delivered(*_): raise MemoryError
_Produced.delivered = delivered
"""
    (shop / "app.py").write_text(app + failing)
    create_topics(broker.address, ["out"])
    kqworker("push", "test", "a")

    ended = kqworker("run", "app:app", "-w", "1")

    assert ended.code == Exit.BROKER, ended.err
    assert "the thread that delivers records has failed" in ended.err
    assert "first a" in ended.out

    (shop / "app.py").write_text(APP)
    ended = kqworker("run", "app:app", "-w", "1", "--until-caught-up")
    assert "first a" in ended.out, ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_runs_until_it_is_told_to_end(shop: Path, number: signal.Signals) -> None:
    with started("dev", "app:app", "-w", "1") as dev:
        dev.wait_for("ready in")
        assert devbroker.running() is not None

        assert dev.stop(number) == 0

        assert dev.err.startswith(devbroker.LIMITS)
        assert "draining" in dev.err
        assert devbroker.running() is None


def test_ctrl_c_while_a_run_closes_does_not_take_its_end_from_it(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    kqworker("push", "test", "a")
    code = (
        "import signal, sys\n"
        "from kqworker.cli import main\n"
        "from kqworker.kafka.source import KafkaSource\n"
        "close = KafkaSource.close\n"
        "def interrupted(*args):\n"
        "    close(*args)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "KafkaSource.close = interrupted\n"
        "main()\n"
    )
    command = [sys.executable, "-P", "-c", code, "run", "app:app", "-w", "1"]
    ended = processes.run([*command, "--until-caught-up"])

    assert (ended.code, "1 handled · 0 failed" in ended.err) == (0, True), ended.err
    assert "Traceback" not in ended.err


def test_dev_says_that_it_does_not_use_the_brokers_that_are_set(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KQWORKER_BROKERS", "prod:9092")

    with started("dev", "app:app", "-w", "1") as dev:
        dev.wait_for("ready in")
        dev.stop(signal.SIGINT)

    assert dev.err.startswith(
        "kqworker dev uses the built-in broker, not prod:9092 (KQWORKER_BROKERS)\n"
    )


def test_dev_says_that_it_uses_a_broker_that_already_runs(shop: Path, broker: DevBroker) -> None:
    with started("dev", "app:app", "-w", "1") as dev:
        dev.wait_for("ready in")
        dev.stop(signal.SIGINT)

    other = f"using the one at {broker.address}, started by another kqworker command; it stops when"
    assert f"{other} that one does\n" in dev.err


def test_dev_runs_the_new_code_after_a_change(shop: Path, kqworker: Run) -> None:
    with started("dev", "app:app", "-w", "1") as dev:
        dev.wait_for("ready in")
        kqworker("push", "test", "a")
        assert dev.line() == "first a"

        edited(shop / "app.py", APP.replace("first", "second"))
        dev.wait_for("app.py changed: replacing the workers")
        # A message may still reach the worker of before; a later one does not.
        said = ""
        for number in range(100):
            kqworker("push", "test", str(number))
            said = dev.line()
            if said.startswith("second"):
                break
        assert said.startswith("second")

        assert dev.stop(signal.SIGINT) == 0


def test_a_handler_that_asks_for_the_time_after_a_change_is_given_it(
    shop: Path, kqworker: Run
) -> None:
    value_only = "def on_test(text: str) -> None:"
    whole = "def on_test(message: Message[str]) -> None:\n    text = message.timestamp"
    with started("dev", "app:app", "-w", "1") as dev:
        dev.wait_for("ready in")
        edited(shop / "app.py", APP.replace("App\n", "App, Message\n").replace(value_only, whole))
        dev.wait_for("app.py changed: replacing the workers")
        before = time.time()

        said = "first a"
        # A message may still reach the worker of before.
        while said.startswith("first a"):
            kqworker("push", "test", "a")
            said = dev.line()
        assert before - 1 < float(said.removeprefix("first ")) < time.time() + 1

        assert dev.stop(signal.SIGINT) == 0


def test_dev_waits_for_a_broken_app_to_be_mended(shop: Path, kqworker: Run) -> None:
    up = "@app.on_worker_start\ndef start() -> None:\n    os.write(1, b'up\\n')\n"
    (shop / "app.py").write_text(APP + up)

    with started("dev", "app:app", "-w", "2") as dev:
        dev.wait_for("ready in")
        # It is ready with one: the other would meet the mistake before the change is seen.
        assert [dev.line() for _ in range(2)] == ["up"] * 2

        edited(shop / "app.py", APP + "def broken(:\n")
        dev.wait_for("SyntaxError: ")
        kqworker("push", "test", "a")
        edited(shop / "app.py", APP.replace("first", "mended"))

        assert dev.line() == "mended a"
        assert dev.stop(signal.SIGINT) == 0

    assert dev.err.count("the app does not load") == 1


def test_a_terminal_gets_a_banner_a_live_line_and_a_summary(shop: Path) -> None:
    with started("dev", "app:app", "-w", "1", terminal=True) as dev:
        dev.wait_for("Ctrl-C drains")
        dev.wait_for("0 handled · 0/s · 0 in flight · 0/1 workers busy")

        assert dev.stop(signal.SIGINT) == 0

    assert " kqworker 0.1.0 · app:app · pid " in dev.err
    assert "\x1b[36mbrokers   \x1b[0m" in dev.err
    assert "Ctrl-C — draining; Ctrl-C again stops now" in dev.err
    assert "0 handled · 0 failed" in dev.err


def test_no_color_is_honoured(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    with started("dev", "app:app", "-w", "1", terminal=True) as dev:
        dev.wait_for("Ctrl-C drains")
        dev.stop(signal.SIGINT)

    assert "\x1b[3" not in dev.err
    assert "\x1b[1m" not in dev.err


def test_an_app_that_workers_cannot_import_ends_the_run_with_2(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    # Only in the worker: our own process has the variable of this test.
    (shop / "app.py").write_text(
        f"import os\nif os.getppid() != {os.getpid()}:\n    raise ImportError('only here')\n" + APP
    )

    ended = kqworker("run", "app:app", "-w", "2")

    assert ended.code == 2
    assert ended.err.count("error: ") == 1
    assert ended.err.endswith("ImportError: only here\n")


def test_the_status_line_has_gone_when_an_error_is_told(shop: Path, broker: DevBroker) -> None:
    hook = (
        "@app.on_worker_start\ndef late():\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n"
        '    raise ValueError("no model")\n'
    )
    (shop / "app.py").write_text("import time\n" + APP + hook)

    with started("run", "app:app", "-w", "1", terminal=True) as run:
        run.wait_for("workers busy")
        (shop / "go").touch()
        run.wait_for("ValueError: no model")
        assert run.wait(20) == 2

    status, _, error = run.err.partition("error:")
    assert "workers busy" in status
    # Drawn, then removed for the summary, and not drawn again.
    removed = status.rindex("\x1b[J")
    assert "0 handled · 0 failed" in status[removed:]
    assert "workers busy" not in status[removed:] + error


def test_a_terminal_that_closes_lets_what_runs_end(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    (shop / "app.py").write_text("import time\n" + APP + "    time.sleep(0.5); print('ended')\n")
    kqworker("push", "test", "a")

    with started("run", "app:app", "-w", "1", terminal=True) as run:
        assert run.line() == "first a"
        run.hang_up()

        assert run.line() == "ended"
        assert run.wait(20) == 0

    again = kqworker("run", "app:app", "--until-caught-up")
    assert (again.code, again.out) == (0, "")


def test_nohup_keeps_a_hang_up_from_the_run(shop: Path, broker: DevBroker, kqworker: Run) -> None:
    with started("run", "app:app", "-w", "1", within=["nohup"]) as run:
        run.wait_for("ready")
        run.process.send_signal(signal.SIGHUP)
        kqworker("push", "test", "a")
        assert run.line() == "first a"

        assert run.stop(signal.SIGTERM) == 0
        assert "SIGHUP" not in run.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_wait_for_a_broker(shop: Path, number: signal.Signals) -> None:
    # Nobody listens on port 1 of loopback.
    with started("run", "app:app", "-b", "127.0.0.1:1") as run:
        run.wait_for("no broker can be reached")
        begun = time.monotonic()

        code = run.stop(number)

        assert code == 4
        assert time.monotonic() - begun < 5.0
        assert "Traceback" not in run.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_before_it_has_caught_up_drains_and_ends_with_4(
    shop: Path, broker: DevBroker, kqworker: Run, number: signal.Signals
) -> None:
    (shop / "app.py").write_text(APP + "    import time; time.sleep(0.5)\n")
    kqworker("push", "test", stdin="a\n" * 1000)

    with started("run", "app:app", "-w", "1", "--until-caught-up") as run:
        assert run.line() == "first a"

        assert run.stop(number) == 4
        handled = run.out.count("first a\n")

    assert f"{handled} handled · 0 failed" in run.err
    left = f"stopped early: {1000 - handled} messages were not started; the next run handles them"
    assert f"not finished: {left}" in run.err


def test_what_a_drain_leaves_is_named_and_ends_it_with_4(
    shop: Path, broker: DevBroker, kqworker: Run
) -> None:
    (shop / "app.py").write_text(APP + "    import time; time.sleep(60)\n")
    kqworker("push", "test", "a", "-k", "b")

    with started("run", "app:app", "-w", "1", "--shutdown-timeout", "0.2") as run:
        assert run.line() == "first a"

        assert run.stop(signal.SIGTERM) == 4

    assert "SIGTERM: draining" in run.err
    assert "not finished: test[" in run.err
