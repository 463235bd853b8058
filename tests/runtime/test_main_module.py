"""A worker never runs the user's `__main__`, however that was started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.bench import ROOT

# A script without a guard: run in a worker, it would print again and start workers.
SCRIPT = """
import sys
sys.path.insert(0, {root!r})
MARK = "marked"
print("main", flush=True)
from tests.runtime.bench import Bench, VERBS
with Bench(spec={spec}, method={method!r}) as bench:
    worker = bench.start()
    done = bench.done(bench.send(worker, ["main"]))
    print(done.outcomes[0].outputs[0].value.decode())
    print(sys.modules["__main__"].MARK)
"""
PICKLED = """
import cloudpickle
from kqworker import App
from kqworker.runtime.spec import WorkerSpec
app = App("in main")
class Order:
    text = "of this class"
@app.handler(topic="t", output="out")
def on_t(value: str) -> str:
    return f"{MARK} {Order.text}"
PICKLED = WorkerSpec(pickled=cloudpickle.dumps(app))
"""


def run(arguments: list[str], cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("as_module", [False, True], ids=["script", "module"])
def test_main_runs_once(tmp_path: Path, method: str, as_module: bool) -> None:
    script = SCRIPT.format(root=str(ROOT), spec="VERBS", method=method)
    (tmp_path / "unguarded.py").write_text(script)

    lines = run(["-m", "unguarded"] if as_module else ["unguarded.py"], tmp_path)

    assert lines == ["main", "no mark", "marked"]


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_an_app_in_main_travels_by_value(tmp_path: Path, method: str) -> None:
    script = SCRIPT.format(root=str(ROOT), spec="PICKLED", method=method)
    (tmp_path / "whole.py").write_text(script.replace("with Bench", f"{PICKLED}\nwith Bench"))

    lines = run(["whole.py"], tmp_path)

    assert lines == ["main", "marked of this class", "marked"]
