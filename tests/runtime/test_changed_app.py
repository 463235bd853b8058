"""An app that is not any more what the supervisor imported; on real processes.

`--reload` makes it so, and so does a new worker of a run whose files were updated.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kqworker.core.policy import HandlerPolicy
from kqworker.runtime.spec import WorkerSpec
from tests.runtime.bench import Bench

START = "from kqworker import App, Retry\napp = App('changed')\n"
ORDERS = "@app.handler(topic='orders'{more})\ndef on_order(text: str) -> str: return 'order'\n"
BILLS = "@app.handler(topic='bills')\ndef on_bill(text: str) -> None: raise ValueError('a bill')\n"


def spec(here: Path, name: str, *parts: str) -> WorkerSpec:
    """A worker of an app that reads so now."""
    (here / f"{name}.py").write_text(START + "".join(parts))
    known = HandlerPolicy(f"{name}.on_order", "orders")
    return WorkerSpec(f"{name}:app", app_dir=str(here), preload=False, declared=(known,))


def test_a_message_goes_to_the_handler_of_its_topic_though_another_one_is_first_now(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # By spawn: a forkserver has the stderr of the test that was first.
    changed = spec(tmp_path, "reordered", BILLS, ORDERS.format(more=""))
    with Bench(spec=changed, method="spawn") as bench:
        task = bench.send(bench.start(), ["one"], handler=0)

        assert bench.done(task).accepted == [0]

    assert "the handlers of 'bills' were added or changed" in capfd.readouterr().err


def test_a_handler_that_is_declared_otherwise_is_told_and_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = ", retry=Retry(attempts=9)"
    with Bench(spec=spec(tmp_path, "patient", ORDERS.format(more=more)), method="spawn") as bench:
        assert bench.done(bench.send(bench.start(), ["one"])).accepted == [0]

    assert "the handlers of 'orders' were added or changed" in capfd.readouterr().err


def test_an_app_that_is_what_it_was_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Bench(spec=spec(tmp_path, "same", ORDERS.format(more="")), method="spawn") as bench:
        assert bench.done(bench.send(bench.start(), ["one"])).accepted == [0]

    assert capfd.readouterr().err == ""


def test_a_worker_without_a_handler_for_a_topic_that_is_consumed_does_not_boot(
    tmp_path: Path,
) -> None:
    with Bench(spec=spec(tmp_path, "gone", BILLS)) as bench:
        failure = bench.boot_failed(bench.start_only()).failure

    assert failure.text == (
        "the app has changed, and has no handler of topic 'orders' any more: put it back, or "
        "stop kqworker and start it again"
    )
