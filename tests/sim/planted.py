"""Plants faults in the core, one at a time, and runs the simulator over each.

    python -m tests.sim.planted                    all of them; fails if one survives
    python -m tests.sim.planted NAME …             these
    python -m tests.sim.planted --list

Each fault gets a process of its own, in which the module is compiled from its changed text;
nothing is written anywhere.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, FrameType, ModuleType

from tests.sim.faults import FAULTS, Fault

SEEDS = 300
# Of the processor's time: a seed takes a fraction of one, and so many only a core that goes on
# for ever.
SEED_SECONDS = 10.0
SECONDS = 600.0
CAUGHT, CAUGHT_OTHERWISE, SURVIVED, BROKEN, UNFINISHED = 0, 2, 3, 4, 5
WORDS = {
    CAUGHT: "caught",
    CAUGHT_OTHERWISE: "caught by another check",
    SURVIVED: "SURVIVED",
    BROKEN: "CANNOT BE PLANTED",
    UNFINISHED: "NOT FINISHED IN TIME",
}
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a fault: caught, survived, or its text is not there (any more).

    Attributes:
        code: CAUGHT by the check of the invariant that it breaks, or CAUGHT_OTHERWISE.
    """

    fault: Fault
    code: int
    text: str

    @property
    def caught(self) -> bool:
        """Whether any check saw it."""
        return self.code in (CAUGHT, CAUGHT_OTHERWISE)

    def __str__(self) -> str:
        what = WORDS.get(self.code, "ERROR")
        return f"{self.fault.breaks!s:10} {self.fault.name}: {what}; {self.text}"


def places(fault: Fault) -> list[str]:
    """Return the modules of the core in which a fault's text stands, once for each time."""
    found = []
    for path in sorted((ROOT / "kqworker" / "core").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found += [module] * path.read_text().count(fault.old)
    return found


class _Changed(importlib.machinery.SourceFileLoader):
    """Compiles a module from its text with a fault in it."""

    fault: Fault

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text()
        return compile(text.replace(self.fault.old, self.fault.new), self.path, "exec")


class Planter(MetaPathFinder):
    """Finds the faulty module before the sound one is found."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        found = places(fault)
        if len(found) != 1:
            raise SystemExit(BROKEN)
        self._module = found[0]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None
        spec.loader = _Changed(fullname, spec.origin)
        spec.loader.fault = self._fault
        return spec


def try_here(fault: Fault, seeds: int) -> int:
    """Plant a fault in this process, before the core is imported, and run seeds.

    What breaks an invariant must be seen by the check of that invariant, if any sees it.
    """
    assert not any(name.startswith("kqworker.core") for name in sys.modules)
    signal.signal(signal.SIGPROF, _for_ever)
    sys.meta_path.insert(0, Planter(fault))
    from tests.sim import judge
    from tests.sim.runner import run_one

    own = isinstance(fault.breaks, int)
    for judged in [f"({fault.breaks})", ""] if own else [""]:
        judge.judged = judged
        for seed in range(seeds):
            signal.setitimer(signal.ITIMER_PROF, SEED_SECONDS)
            _, error = run_one(seed, scene=fault.scene)
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            if error is not None and str(error).startswith(judged):
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:160]}")
                return CAUGHT if judged or not own else CAUGHT_OTHERWISE
    return SURVIVED


def _for_ever(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("it goes on for ever")


def attempt(fault: Fault, seeds: int = SEEDS) -> Trial:
    """Plant a fault in a process of its own and run seeds there."""
    command = [sys.executable, "-m", "tests.sim.planted", "--here", fault.name, f"--seeds={seeds}"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        # That shows nothing: the machine may be slow.
        return Trial(fault, UNFINISHED, f"{seeds} seeds took longer than {SECONDS:g} s")
    text = (done.stdout or done.stderr).strip()
    return Trial(fault, done.returncode, text.splitlines()[-1] if text else "")


def attempt_all(faults: Sequence[Fault], seeds: int = SEEDS) -> list[Trial]:
    """Try faults, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        return list(executor.map(lambda fault: attempt(fault, seeds), faults))


def main() -> int:
    """Do what the arguments say; return 1 if a fault survived or could not be planted."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.planted")
    parser.add_argument("names", nargs="*", help="of faults; all of them if none is named")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--here", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    by_name = {fault.name: fault for fault in FAULTS}
    if options.here:
        return try_here(by_name[options.here], options.seeds)
    chosen = [by_name[name] for name in options.names] or list(FAULTS)
    if options.list:
        for fault in chosen:
            print(f"{fault.breaks!s:12} {fault.name}")
        return 0
    bad = 0
    for trial in attempt_all(chosen, options.seeds):
        print(f"{trial}")
        bad += not trial.caught
    print(f"{len(chosen) - bad} of {len(chosen)} faults caught")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
