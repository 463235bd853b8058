"""`kqworker demo`, whole, as `make demo` runs it: on the built-in broker."""

from __future__ import annotations

import re
import signal
import sys
import sysconfig
from pathlib import Path

import pytest

from kqworker.demo import job
from tests.processes import Process, run

DEMO = [sys.executable, "-m", "kqworker", "demo", "--workers", "2"]
EXAMPLE = Path(__file__).parents[2] / "examples" / "stdlib_complexity" / "job.py"


@pytest.mark.timeout(600)
def test_the_demo_handles_every_file_of_the_standard_library() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    files = sum(1 for path in root.rglob("*.py") if "site-packages" not in path.parts)

    ended = run(DEMO, timeout=590.0)

    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"{files:,} source files of Python ")
    assert re.search(rf"^{files:,} files in [\d.]+ s with 2 workers: \d+ files/s$", ended.out, re.M)
    assert re.search(r"^\d\.\d\d times as fast as one worker", ended.out, re.M)
    complexities = [int(m[1]) for m in re.finditer(r"^ +(\d+)  \S+  \(.*\.py\)$", ended.out, re.M)]
    assert len(complexities) == 10
    assert complexities == sorted(complexities, reverse=True)
    assert "Traceback" not in ended.err


def test_a_demo_that_is_interrupted_ends_and_draws_no_conclusions() -> None:
    with Process(DEMO, apart=True) as demo:
        demo.wait_for("ready in")
        assert demo.stop(signal.SIGINT) == 4, demo

    first, _, err = demo.err.partition("ready in")
    assert "event=started" in first
    assert "event=started" not in err  # no second pass
    assert len(demo.out.splitlines()) == 1


def test_the_example_is_the_job_of_the_demo() -> None:
    assert EXAMPLE.read_text() == Path(job.__file__).read_text()


def test_complexity_counts_the_ways_through_a_function() -> None:
    source = """
def f(x):
    if x and x > 1 or x < 0:
        return [y for y in x if y]
    def inner():
        while x: pass
    try: return x if x else None
    except ValueError: assert x
"""
    tree = job.ast.parse(source)
    # 1 + if + two operators + comprehension + conditional expression + except + assert
    assert {name: job.complexity(node) for name, node in job.functions(tree)} == {
        "f": 8,
        "f.inner": 2,
    }
