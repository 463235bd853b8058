"""Scenes: what chance brings about too seldom, made likely.

A scene bends what a seed has drawn; the rest of it stays as it is, faults included. Faults in
the core that need such a coincidence name the scene in which they are looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kqworker.core.retry import Retry
from kqworker.types import Ordering
from tests.sim.scenario import LETTERS, Faults, Plan, Scenario, draw


def _every(seconds: float, count: int, action: str) -> list[tuple[float, str]]:
    return [(seconds * (n + 1), action) for n in range(count)]


def answers_to_former_owners(scenario: Scenario) -> None:
    """Partitions go and come back at one watermark, while a commit of it is under way."""
    _only_handlers(scenario, Ordering.UNORDERED)
    slow = set()
    for _, message, _ in scenario.arrivals:
        message.kind, message.outputs, message.seconds = "ok", 0, 0.05
        if message.partition not in slow:
            slow.add(message.partition)
            message.seconds = 20.0  # the watermark stays below it
    limits = replace(scenario.limits, workers=4, messages=1000, size=1 << 20, commit_interval=0.2)
    scenario.limits = limits
    scenario.metadata_limit = scenario.metadata_budget = 4095
    faults = Faults(commit_slow=0.7)
    scenario.lives[:-1] = [Plan(9.0, _every(0.4, 20, "unheard"), "kill", [], faults)]


def lost_while_paused(scenario: Scenario) -> None:
    """Partitions that are paused, since they stand still, are taken away."""
    _only_handlers(scenario, Ordering.PARTITION)
    for _, message, _ in scenario.arrivals:
        message.kind, message.outputs = "ok", 0
        message.seconds = 3.0
    limits = replace(scenario.limits, workers=1, messages=4, size=1 << 20, commit_interval=1.0)
    limits = replace(limits, ahead=150)
    scenario.limits = limits
    scenario.batch = 1
    scenario.lives[:-1] = [Plan(12.0, _every(1.1, 10, "lost"), "kill", [], Faults())]


def ended_in_a_drain(scenario: Scenario) -> None:
    """All workers die of one cause while a stop waits for them."""
    _only_handlers(scenario, Ordering.UNORDERED)
    for _, message, _ in scenario.arrivals:
        message.kind, message.outputs, message.seconds = "ok", 0, 5.0
    scenario.lives[:-1] = [Plan(3.0, [(3.2, "forkserver")], "stop", [(0.0, 60.0)], Faults())]


def alone_and_hanging(scenario: Scenario) -> None:
    """The only worker is killed over and over, and the next one may hang as it starts."""
    _only_handlers(scenario, Ordering.UNORDERED)
    for _, message, _ in scenario.arrivals:
        message.kind, message.outputs = "ok", 0
        message.seconds = 0.5
    scenario.limits = replace(scenario.limits, workers=1, boot_seconds=1.0)
    # Only who wants to catch up waits for it: other lives end all the same.
    killed = _every(1.1, 5, "worker")
    scenario.lives[:-1] = [Plan(6.0, killed, "catch up", [], Faults(boot=0.5))]


def killing_in_a_row(scenario: Scenario) -> None:
    """Message after message kills its worker, and each is to end as a dead letter."""
    _killing(scenario, LETTERS, lambda number: True)


def killing_in_large_frames(scenario: Scenario) -> None:
    """Much is good, and some messages in the same large frames kill and are dropped."""
    _killing(scenario, None, lambda number: number % 4 == 3)


def _killing(scenario: Scenario, dead_letter: str | None, kills: Callable[[int], bool]) -> None:
    _only_handlers(scenario, Ordering.UNORDERED)
    for place, policy in enumerate(scenario.policies):
        changed = replace(policy, dead_letter=dead_letter)
        scenario.policies[place] = changed
        for _, message, _ in scenario.arrivals:
            if message.policy is policy:
                message.policy = changed
    for number, (_, message, _) in enumerate(scenario.arrivals):
        message.kind, message.times = ("crash", 99) if kills(number) else ("ok", 0)
        message.seconds, message.outputs = 0.0001, 0
    scenario.limits = replace(scenario.limits, workers=1, messages=1000, size=1 << 20)
    scenario.batch = 20
    scenario.lives[:-1] = [Plan(600.0, [], "catch up", [], Faults())]


def one_at_work_and_none_behind_it(scenario: Scenario) -> None:
    """One worker handles what there is; in the place of the other, none gets ready."""
    _only_handlers(scenario, Ordering.UNORDERED)
    for _, message, _ in scenario.arrivals:
        message.kind, message.outputs, message.seconds = "ok", 0, 0.5
    limits = replace(scenario.limits, workers=2, boot_seconds=1.0, reloads=False)
    scenario.limits = limits
    acts = [(2.0, "unbootable"), (2.1, "worker")]
    scenario.lives[:-1] = [Plan(90.0, acts, "catch up", [], Faults())]


def ended_by_a_message(scenario: Scenario) -> None:
    """One message takes the whole supervisor with it, over and over."""
    _only_handlers(scenario, Ordering.UNORDERED)
    _with_dead_letters(scenario)
    scenario.arrivals[:] = [(0.0, message, gap) for _, message, gap in scenario.arrivals]
    for _, message, _ in scenario.arrivals:
        message.kind, message.times, message.outputs = "ok", 0, 0
        message.seconds = min(message.seconds, 0.2)
    if scenario.arrivals:
        _, killer, _ = scenario.random.choice(scenario.arrivals)
        killer.kind, killer.times = "kills", 99
    limits = replace(scenario.limits, messages=1000, size=1 << 20, suspects=True, boot_seconds=5.0)
    scenario.limits = limits
    scenario.metadata_limit = scenario.metadata_budget = 4095
    scenario.mended.clear()
    for log in scenario.logs.values():
        log.damage = None
    scenario.strict = True
    del scenario.lives[:-1]


def ended_with_little_room(scenario: Scenario) -> None:
    """The same, where one message of a partition may be at work, and each fails once.

    They take so long that suspects are left when what is fetched is none any more, and so
    little is fetched ahead that some are kept from being fetched until then.
    """
    ended_by_a_message(scenario)
    scenario.limits = replace(scenario.limits, messages=1, ahead=300)
    for _, message, _ in scenario.arrivals:
        message.seconds = 1.0
        if message.kind == "ok":
            message.kind, message.times = "fail", 1


def ended_in_order_of_keys(scenario: Scenario) -> None:
    """The same, where each key keeps its order, and suspects lose their partition as they run."""
    ended_by_a_message(scenario)
    _only_handlers(scenario, Ordering.KEY)
    scenario.strict = False
    for _, message, _ in scenario.arrivals:
        message.seconds = 0.5
    lost = _every(0.7, 12, "lost")
    scenario.lives[:-1] = [Plan(9.0, lost, "kill", [], Faults()) for _ in range(3)]


def letters_too_large(scenario: Scenario) -> None:
    """All is rejected, and for a while most dead letters are refused, many for their size."""
    _only_handlers(scenario, Ordering.UNORDERED)
    _with_dead_letters(scenario)
    scenario.arrivals[:] = [(0.0, message, gap) for _, message, gap in scenario.arrivals]
    for _, message, _ in scenario.arrivals:
        message.kind, message.times, message.outputs = "reject", 1, 0
        message.seconds = 0.01
    scenario.lives[:-1] = [Plan(30.0, [], "catch up", [], Faults(deny=0.8))]


def _with_dead_letters(scenario: Scenario) -> None:
    for place, policy in enumerate(scenario.policies):
        changed = replace(policy, dead_letter=LETTERS)
        scenario.policies[place] = changed
        for _, message, _ in scenario.arrivals:
            if message.policy is policy:
                message.policy = changed


def beside_a_stuck_one(scenario: Scenario) -> None:
    """One partition stands still, and keeps more than its share, while others have work."""
    _only_handlers(scenario, Ordering.PARTITION)
    _first_and_others(scenario)
    first = next(iter(scenario.logs))
    stuck = next((m for _, m, _ in scenario.arrivals if m.partition == first), None)
    if stuck is not None:
        stuck.seconds = 20.0


def beside_failing_ones(scenario: Scenario) -> None:
    """All messages of one partition wait for their next attempt, while others have work."""
    _only_handlers(scenario, Ordering.UNORDERED, Retry(attempts=3, first=20.0, cap=20.0))
    _first_and_others(scenario)
    first = next(iter(scenario.logs))
    for _, message, _ in scenario.arrivals:
        if message.partition == first:
            message.kind, message.times = "fail", 1


def _first_and_others(scenario: Scenario) -> None:
    """Let the first partition's messages come at once, and those of others by and by."""
    first = next(iter(scenario.logs))
    spread = []
    for number, (_, message, gap) in enumerate(scenario.arrivals):
        message.kind, message.outputs, message.seconds = "ok", 0, 0.01
        when = 0.0 if message.partition == first else 1.0 + number / 10
        spread.append((when, message, gap))
    scenario.arrivals = sorted(spread, key=lambda arrival: arrival[0])
    limits = replace(scenario.limits, workers=4, messages=4, size=1 << 20, ahead=300)
    scenario.limits = replace(limits, commit_interval=1.0)
    scenario.batch = 1
    scenario.metadata_limit = scenario.metadata_budget = 4095
    del scenario.lives[:-1]


def _only_handlers(scenario: Scenario, ordering: Ordering, retry: Retry | None = None) -> None:
    """Let nothing wait, fail or be killed but by what the scene is about."""
    scenario.lag = 0.0
    for policy in scenario.policies:
        calm = replace(policy, ordering=ordering, time_limit=None, retry=retry or Retry(attempts=3))
        scenario.policies[scenario.policies.index(policy)] = calm
        for _, message, _ in scenario.arrivals:
            if message.policy is policy:
                message.policy = calm


def workers_come_and_go(scenario: Scenario) -> None:
    """Their number changes again and again, while they run slow messages and die."""
    _only_handlers(scenario, Ordering.UNORDERED)
    for number, (_, message, _) in enumerate(scenario.arrivals):
        message.kind, message.outputs = "ok", 0
        message.seconds = 1.5 if number % 3 else 0.01
    scenario.limits = replace(scenario.limits, workers=3, boot_seconds=1.0, reloads=False)
    acts = _every(0.45, 30, "scale") + _every(1.7, 8, "worker") + _every(3.1, 4, "replace")
    scenario.lives[:-1] = [Plan(14.0, acts, "catch up", [], Faults(boot=0.1, hooks=0.1))]


SCENES: dict[str, Callable[[Scenario], None]] = {
    "answers to former owners": answers_to_former_owners,
    "alone and hanging": alone_and_hanging,
    "beside a stuck one": beside_a_stuck_one,
    "beside failing ones": beside_failing_ones,
    "ended in order of keys": ended_in_order_of_keys,
    "ended with little room": ended_with_little_room,
    "letters too large": letters_too_large,
    "lost while paused": lost_while_paused,
    "ended in a drain": ended_in_a_drain,
    "killing in a row": killing_in_a_row,
    "ended by a message": ended_by_a_message,
    "some that kill in large frames": killing_in_large_frames,
    "workers come and go": workers_come_and_go,
    "one at work, none behind it": one_at_work_and_none_behind_it,
}


def directed(seed: int, scene: str) -> Scenario:
    """Draw a seed's scenario, bent to a scene; as it is if that is empty."""
    scenario = draw(seed)
    if scene:
        SCENES[scene](scenario)
    return scenario
