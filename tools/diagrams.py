"""Writes docs/reference/states.md from the state tables of the core.

Run it after a change of a table: `.venv/bin/python tools/diagrams.py`.
tests/docs/test_architecture.py fails while the page says something else.
"""

# ruff: noqa: E501 - the lines are those of the page

from __future__ import annotations

from pathlib import Path

from kqworker.core.pool import TRANSITIONS, Signal, State
from kqworker.core.shutdown import PHASES, Phase

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "states.md"

INTRO = """\
# State tables

The core has two state machines, and both are tables. `tools/diagrams.py` makes this page from them, and a
test compares it with the code. The simulator reaches every row (`test_every_row_of_every_state_table_is_reached`).
"""

POOL = """
## A worker

`TRANSITIONS` in `kqworker/core/pool.py`. What is not in the table is a bug, and raises `BugError`. A number is given to
one process and never again. Beside it each worker has a seat, from 0 on, which its successor gets: the process is named by it.

"""

ENDING = """
## The end of a run

`PHASES` in `kqworker/core/shutdown.py`. The label is the time that the next phase may take; a phase ends sooner when its
work is done. A stop by a signal brings its own grace: `--shutdown-timeout`, or nothing at the second Ctrl-C.

"""

STATES = {
    State.STARTING: "The process has been asked for; it imports the app and runs the start hooks.",
    State.IDLE: "It waits for a task.",
    State.BUSY: "It has one task, or a second one waiting behind the first.",
    State.RETIRING: "Busy, and dismissed when it is done: the app has changed (`--reload`), or its seat is gone.",
    State.LEAVING: "Told to stop; it runs the stop hooks.",
    State.CONDEMNED: "Killed by the supervisor whatever it did; its end has not been seen yet.",
    State.GONE: "Ended, and all that it had written was read.",
}

SIGNALS = {
    Signal.READY: "The worker says that it has booted.",
    Signal.SENT: "A task was handed over.",
    Signal.DONE: "It has answered for the last task that it had.",
    Signal.RETIRE: "It is to go when its tasks are done.",
    Signal.STOP: "It was told to end.",
    Signal.KILL: "It was killed: it did not boot in time, or the grace of a stop is over.",
    Signal.DIED: "Its process has ended, for whatever reason.",
}

PHASE_MEANINGS = {
    Phase.RUNNING: "Messages are fetched and handed over.",
    Phase.DRAINING: "Nothing new is begun; what is being handled may finish. What the grace cuts off is killed and named.",
    Phase.COMMITTING: "What is finished is committed, and the broker's answer awaited.",
    Phase.DISMISSING: "The workers run their stop hooks and end.",
    Phase.OVER: "The run has ended.",
}


def page() -> str:
    """Return docs/reference/states.md."""
    return "".join(
        [
            INTRO,
            POOL,
            _fenced(pool_diagram()),
            _table("state", {state.value: text for state, text in STATES.items()}),
            _table("signal", {signal.value: text for signal, text in SIGNALS.items()}),
            ENDING,
            _fenced(ending_diagram()),
            _table("phase", {phase.value: text for phase, text in PHASE_MEANINGS.items()}),
        ]
    )


def pool_diagram() -> str:
    """Return the workers' table as a Mermaid diagram."""
    edges: dict[tuple[State, State], list[str]] = {}
    for (state, signal), target in TRANSITIONS.items():
        edges.setdefault((state, target), []).append(signal.value)
    lines = ["stateDiagram-v2", f"    [*] --> {State.STARTING.value}"]
    lines += [
        f"    {state.value} --> {target.value}: {', '.join(signals)}"
        for (state, target), signals in edges.items()
    ]
    lines.append(f"    {State.GONE.value} --> [*]")
    return "\n".join(lines)


def ending_diagram() -> str:
    """Return the phases of the end as a Mermaid diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.RUNNING.value}"]
    for phase, (target, seconds) in PHASES.items():
        edge = f"    {phase.value} --> {target.value}"
        if seconds is None:
            edge += ": the grace of the stop"
        elif seconds:
            edge += f": {seconds:g} s"
        lines.append(edge)
    lines.append(f"    {Phase.OVER.value} --> [*]")
    return "\n".join(lines)


def _fenced(diagram: str) -> str:
    return f"```mermaid\n{diagram}\n```\n"


def _table(what: str, meanings: dict[str, str]) -> str:
    rows = "".join(f"| {name} | {text} |\n" for name, text in meanings.items())
    return f"\n| {what} | meaning |\n|---|---|\n{rows}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
