"""Runs seeds, alone or many on all cores, and says what came of them.

python -m tests.sim.runner --seed 123              one seed, with its story if it fails
python -m tests.sim.runner --seeds 2000            seeds 0 to 1999
python -m tests.sim.runner --seeds 2000 --first 500 --processes 1
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.sim.directed import SCENES, directed
from tests.sim.world import World

CHUNK = 50
MOST_FAILURES = 5


@dataclass(slots=True)
class Result:
    """What came of some seeds.

    Attributes:
        failures: The seeds that failed, each with why.
        visited: The rows of the core's state tables that were reached.
        seen: The names of the commands that the core gave.
        virtual: Seconds that passed in the simulated worlds.
    """

    seeds: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    visited: dict[str, set[object]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    virtual: float = 0.0
    messages: int = 0

    def add(self, other: Result) -> None:
        self.seeds += other.seeds
        self.failures += other.failures
        self.seen |= other.seen
        self.virtual += other.virtual
        self.messages += other.messages
        for table, rows in other.visited.items():
            self.visited.setdefault(table, set()).update(rows)


def replay(seed: int, scene: str = "") -> str:
    """The one line that runs a seed again."""
    return f"python -m tests.sim.runner --seed {seed}" + (f" --scene '{scene}'" if scene else "")


def run_one(seed: int, tell: bool = False, scene: str = "") -> tuple[World, Exception | None]:
    """Run a seed, bent to a scene if one is named; return its world, and what went wrong."""
    world = World(directed(seed, scene), tell)
    try:
        world.run()
    except Exception as error:  # whatever the core raises is a failure of the seed
        return world, error
    return world, None


def run_some(seeds: Iterable[int]) -> Result:
    """Run seeds in this process; stop after a few failures."""
    result = Result()
    for seed in seeds:
        world, error = run_one(seed)
        result.seeds += 1
        result.virtual += world.now
        result.messages += world.runs
        result.seen |= {kind.__name__ for kind in world.seen}
        for table, rows in world.visited.items():
            result.visited.setdefault(table, set()).update(rows)
        if error is not None:
            text = f"{type(error).__name__}: {str(error)[:2000]}"
            result.failures.append((seed, f"seed {seed}: {text}\n  replay: {replay(seed)}"))
            if len(result.failures) == MOST_FAILURES:
                break
    return result


def run_many(first: int, count: int, processes: int | None = None) -> Result:
    """Run `count` seeds from `first` on, on as many cores as there are and it is worth it."""
    processes = processes or min(os.cpu_count() or 1, 1 + count // 400)
    if processes == 1:
        return run_some(range(first, first + count))
    chunks = [
        range(start, min(start + CHUNK, first + count))
        for start in range(first, first + count, CHUNK)
    ]
    result = Result()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as executor:
        for some in executor.map(run_some, chunks):
            result.add(some)
            if len(result.failures) >= MOST_FAILURES:
                executor.shutdown(cancel_futures=True)
                break
    return result


def main() -> int:
    """Run what the arguments say; return how many seeds failed, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.runner")
    parser.add_argument("--seed", type=int, help="replay this one, and tell its story")
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--scene", choices=tuple(SCENES), default="", help="with --seed")
    parser.add_argument("--lines", type=int, default=60, help="of the story, 0 for all")
    options = parser.parse_args()
    if options.seed is not None:
        world, error = run_one(options.seed, tell=True, scene=options.scene)
        print(*(world.story or ())[-options.lines :], sep="\n")
        print(f"seed {options.seed}: {error or 'all is well'}")
        return int(error is not None)
    began = time.monotonic()
    result = run_many(options.first, options.seeds, options.processes)
    seconds = time.monotonic() - began
    for _, text in result.failures:
        print(text)
    print(
        f"{result.seeds} seeds, {result.virtual / 3600:.1f} simulated hours, {result.messages} "
        f"messages begun, in {seconds:.1f} s: {result.seeds / seconds:.0f} seeds/s, "
        f"{len(result.failures) or 'none'} failed"
    )
    return int(bool(result.failures))


if __name__ == "__main__":
    sys.exit(main())
