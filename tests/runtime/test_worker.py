"""What a worker answers, message by message; on real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.core.events import Cause, Finished
from kqworker.runtime.process import ProcessWorkers
from kqworker.runtime.spec import WorkerSpec
from kqworker.types import Ordering, Output, Verdict
from tests.runtime.bench import ASYNC, FAST, ROOT, SYNC, Bench, segment, wait_for_end, wait_for_file


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def test_what_returns_is_accepted_in_one_answer(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok"] * 100)

    assert bench.done(task).accepted == list(range(100))
    (finished,) = bench.all(Finished)
    assert finished.complete and finished.outcomes == () and finished.seconds > 0


def test_segments_are_counted_through(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", "fail a"], segment(["ok", "fail b"], partition=1))

    done = bench.done(task)

    assert done.accepted == [0, 2]
    assert {i: o.failure.text for i, o in done.outcomes.items() if o.failure} == {1: "a", 3: "b"}


@pytest.mark.parametrize("handler", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("verb", "verdict", "kind", "text"),
    [
        ("fail why", Verdict.RELEASE, "ValueError", "why"),
        ("reject why", Verdict.REJECT, "kqworker.errors.Reject", "why"),
        ("sysexit 3", Verdict.RELEASE, "SystemExit", "3"),
        ("hostile", Verdict.RELEASE, "tests.runtime.apps.Hostile", "(its text cannot be shown"),
        ("memory", Verdict.RELEASE, "MemoryError", ""),
        ("unsendable", Verdict.RELEASE, "UnicodeEncodeError", "'utf-8'"),
        ("unknown", Verdict.RELEASE, "KeyError", "'unknown'"),
    ],
)
def test_what_raises_fails_alone(
    bench: Bench, handler: int, verb: str, verdict: Verdict, kind: str, text: str
) -> None:
    worker = bench.start()
    task = bench.send(worker, ["ok", verb, "ok"], handler=handler)

    done = bench.done(task)

    assert done.accepted == [0, 2]
    outcome = done.outcomes[1]
    assert (outcome.verdict, outcome.delay, outcome.outputs) == (verdict, None, ())
    assert outcome.failure is not None and outcome.failure.type == kind
    assert outcome.failure.text.startswith(text)


@pytest.mark.parametrize("handler", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("verb", "last"), [("fail why", "ValueError: why"), ("sysexit 3", "SystemExit: 3")]
)
def test_a_traceback_begins_at_the_users_own_frame(
    bench: Bench, handler: int, verb: str, last: str
) -> None:
    worker = bench.start()
    failure = bench.done(bench.send(worker, [verb], handler=handler)).outcomes[0].failure

    assert failure is not None
    lines = failure.traceback.splitlines()
    assert lines[0].startswith("Traceback")
    assert "apps.py" in lines[1]
    assert lines[-1] == last


def test_a_payload_that_cannot_be_decoded_is_rejected_without_a_traceback(bench: Bench) -> None:
    worker = bench.start()
    outcome = bench.done(bench.send(worker, segment([b"\xff"]))).outcomes[0]

    assert outcome.verdict is Verdict.REJECT
    assert outcome.failure is not None
    assert outcome.failure.type == "kqworker.errors.DecodeError"
    assert outcome.failure.traceback == ""


def test_retry_later_asks_for_its_delay(bench: Bench) -> None:
    worker = bench.start()
    done = bench.done(bench.send(worker, ["later 2.5", "later -1", "later nan"]))

    assert set(done.verdicts.values()) == {Verdict.RELEASE}
    assert [done.outcomes[i].delay for i in range(3)] == [2.5, 0.0, None]
    told = [failure.text for i in range(3) if (failure := done.outcomes[i].failure)]
    asked = "the handler asked for another attempt"
    wrong = "RetryLater was given no number of seconds but float: retry= says when"
    assert told == [asked, asked, f"{asked} ({wrong})"]


@pytest.mark.parametrize("handler", [SYNC, ASYNC], ids=["sync", "async"])
def test_what_is_pushed_and_returned_comes_with_the_accept(bench: Bench, handler: int) -> None:
    worker = bench.start()
    task = bench.send(worker, ["push a", "return 3", "ok"], handler=handler)

    done = bench.done(task)

    assert done.accepted == [2]
    assert done.verdicts == {0: Verdict.ACCEPT, 1: Verdict.ACCEPT}
    assert done.outcomes[0].outputs == (Output("a", b"pushed", headers=[]),)
    assert done.outcomes[1].outputs == (Output("out", b"xxx", headers=[], returned=True),)


def test_an_explicit_outcome_is_told_before_the_rest_is_done(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    task = bench.send(worker, ["fail why", f"until {tmp_path / 'go'}"])

    bench.until(lambda: bool(bench.all(Finished)))

    (finished,) = bench.all(Finished)
    assert not finished.complete and finished.outcomes[0].index == 0
    (tmp_path / "go").touch()
    assert bench.done(task).accepted == [1]


def test_after_a_failure_an_ordered_partition_stops(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(
        worker,
        ["ok", "fail why", "ok"],
        segment(["ok"], partition=1),
        segment(["ok"], attempt=2, first=9),
        ordering=Ordering.PARTITION,
    )

    done = bench.done(task)

    assert (done.accepted, list(done.outcomes), done.unstarted) == ([0, 3], [1], [2, 4])


def test_after_a_failure_its_key_stops(bench: Bench) -> None:
    worker = bench.start()
    task = bench.send(
        worker,
        segment(["fail 0", "ok", "ok", "ok"], keys=[b"a", b"b", b"a", None]),
        segment(["ok"], keys=[b"a"], partition=1),
        segment(["ok", "fail 6"], keys=[b"a", b"b"], first=9),
        ordering=Ordering.KEY,
    )

    done = bench.done(task)

    assert (done.accepted, list(done.outcomes), done.unstarted) == ([1, 3, 4], [0, 6], [2, 5])


def test_messages_without_a_key_have_no_order(bench: Bench) -> None:
    worker = bench.start()
    keyless = bench.send(worker, ["fail a", "ok"], ordering=Ordering.KEY)
    none_keys = bench.send(
        worker, segment(["fail a", "ok"], keys=[None, None]), ordering=Ordering.KEY
    )

    for task in (keyless, none_keys):
        done = bench.done(task)
        assert (done.accepted, done.unstarted) == ([1], [])


def test_a_recall_brings_back_what_is_not_begun_of_every_task(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    first = bench.send(worker, ["ok", f"until {tmp_path / 'go'}", "ok"])
    second = bench.send(worker, ["ok", "ok"])
    bench.until_on(worker, first, 1)

    bench.recall(worker)
    (tmp_path / "go").touch()

    assert (bench.done(first).accepted, bench.done(first).unstarted) == ([0, 1], [2])
    assert bench.done(second).unstarted == [0, 1]
    third = bench.send(worker, ["ok"])
    assert bench.done(third).accepted == [0]


def test_an_observation_names_the_message_and_when_it_began(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    assert bench.observe(worker) is None
    before = time.monotonic()
    task = bench.send(worker, ["ok", f"until {tmp_path / 'go'}"])

    running = bench.until_on(worker, task, 1)

    assert before <= running.started <= time.monotonic()
    (tmp_path / "go").touch()
    bench.done(task)
    assert bench.observe(worker) is None


def test_stops_that_are_broadcast_do_not_touch_a_message(bench: Bench) -> None:
    worker = bench.start()
    assert bench.done(bench.send(worker, ["terminate", "interrupt", "ok"])).accepted == [0, 1, 2]


def test_programs_that_a_handler_forks_can_be_terminated_as_usual(
    bench: Bench, tmp_path: Path
) -> None:
    worker = bench.start()
    for verb in ("process", "start"):
        bench.done(bench.send(worker, [f"{verb} {tmp_path / verb}"]))
        pid = int(wait_for_file(tmp_path / verb))
        os.kill(pid, 15)
        # A zombie until its worker asks, which it never does.
        wait_for_end(pid)


@pytest.mark.parametrize("how", ["come-back", "raise-back"])
def test_a_child_that_comes_back_out_of_a_handler_is_not_the_worker(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Bench(method="spawn") as bench:
        worker = bench.start()
        task = bench.send(worker, ["ok", f"{how} {tmp_path / 'child'}", "return 1"])

        done = bench.done(task)

        assert done.accepted == [0, 1]
        assert done.outcomes[2].outputs == (Output("out", b"x", headers=[], returned=True),)
        wait_for_end(int(wait_for_file(tmp_path / "child")))
        assert bench.done(bench.send(worker, ["ok"])).accepted == [0]
    assert capfd.readouterr().err == ""  # it did not get as far as to complain


def test_a_large_message_and_a_large_result_pass(bench: Bench) -> None:
    worker = bench.start()
    payload = b"return 3000000" + b" " * (8 << 20)
    done = bench.done(bench.send(worker, segment([payload])))

    assert len(done.outcomes[0].outputs[0].value or b"") == 3_000_000


def test_a_result_that_fits_no_frame_fails_its_message(bench: Bench) -> None:
    worker = bench.start()
    done = bench.done(bench.send(worker, [f"return {257 << 20}", "ok"]))

    failure = done.outcomes[0].failure
    assert failure is not None and failure.type == "kqworker.wire.FrameTooLarge"
    assert failure.text.startswith("what the handler returned and pushed: ")
    assert done.accepted == [1]


def test_a_message_that_fits_no_frame_is_rejected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = bench.start()
    monkeypatch.setattr("kqworker.wire.MAX_BODY", 1000)
    done = bench.done(bench.send(worker, ["x" * 1000]))

    assert done.verdicts == {0: Verdict.REJECT}
    failure = done.outcomes[0].failure
    assert failure is not None
    assert failure.text.startswith("the message does not fit a frame: 1,0")


def test_the_cpu_time_of_workers_is_counted_beyond_their_end(bench: Bench) -> None:
    workers = bench.workers
    assert isinstance(workers, ProcessWorkers)
    worker = bench.start()
    booted = workers.cpu_seconds
    bench.done(bench.send(worker, segment([b"x"] * 20_000), handler=FAST))
    worked = workers.cpu_seconds
    bench.stop(worker)

    assert 0.0 < booted < worked <= workers.cpu_seconds


def test_many_frames_to_a_busy_worker_wait_here_and_block_nobody(
    bench: Bench, tmp_path: Path
) -> None:
    worker = bench.start()
    blocked = bench.send(worker, [f"until {tmp_path / 'go'}"])
    before = time.monotonic()
    big = segment([b"x" * (4 << 20)] * 8)
    tasks = [bench.send(worker, big, handler=FAST) for _ in range(4)]
    assert time.monotonic() - before < 5.0  # 128 MiB encoded and kept, none of it taken

    (tmp_path / "go").touch()

    assert bench.done(blocked).accepted == [0]
    for task in tasks:
        assert bench.done(task).accepted == list(range(8))


def test_a_worker_prints_megabytes_and_reads_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    # A forkserver's workers would print to where it was started.
    with Bench(method="spawn") as bench:
        worker = bench.start()
        assert bench.done(bench.send(worker, [f"print {3 << 20}", "stdin"])).accepted == [0, 1]
        assert bench.stop(worker).text == "exit code 0"
    assert len(capfd.readouterr().out) > 3 << 20


def test_a_stop_runs_the_stop_hooks_after_all_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The start hooks of this process have run, too; of the forkserver's they have not.
    monkeypatch.setenv("KQWORKER_TEST_STOPS", str(tmp_path / "stops"))
    with Bench(method="spawn") as bench:
        worker = bench.start()
        task = bench.send(worker, ["ok"] * 3)
        died = bench.stop(worker)
        assert bench.done(task).accepted == [0, 1, 2]

    assert (died.cause, died.task, died.text) == (Cause.STOPPED, None, "exit code 0")
    assert (tmp_path / "stops").read_text() == "True\n"


def test_atexit_functions_run_at_a_stop(tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text(
        "import atexit, pathlib\n"
        "from kqworker import App\n"
        "app = App('leaving')\n"
        "@app.handler(topic='t')\n"
        "def on_t(value: bytes) -> None: ...\n"
        "@app.on_worker_start\n"
        "def begin() -> None:\n"
        f"    atexit.register(pathlib.Path({str(tmp_path / 'left')!r}).touch)\n"
    )
    with Bench(spec=WorkerSpec("leaving:app", app_dir=str(tmp_path))) as bench:
        bench.stop(bench.start())

    assert (tmp_path / "left").exists()


def test_closing_lets_workers_finish_what_they_have(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    bench = Bench()
    worker = bench.start()
    bench.send(worker, segment(["sleep 0.1"] * 3, trace=trace))
    bench.until(trace.exists)

    bench.workers.close(10.0)

    assert trace.read_text().count("end") == 3


def test_closing_ends_a_worker_that_does_not_finish() -> None:
    bench = Bench()
    worker = bench.start()
    task = bench.send(worker, ["hang"])
    bench.until_on(worker, task, 0)

    bench.workers.close(0.2)
    bench.workers.close(0.2)

    wait_for_end(bench.pid(worker), 0.0)
    assert bench.workers.events() == []


def test_the_app_dir_of_these_tests_is_the_checkout() -> None:
    assert (ROOT / "tests" / "runtime" / "apps.py").is_file()
