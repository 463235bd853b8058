"""Faults to be planted in the core, one at a time; each must be caught by the simulator.

At least two for each invariant, and one for each command that the core emits. The texts
are the core's own: when a line changes, its fault must be written anew, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A change of one place in a module of the core.

    Attributes:
        name: What is wrong with it.
        breaks: The invariant (its number) or the command that is wrong then.
        module: The module's name in `kqworker.core`.
        old: Text that stands in it exactly once.
        new: What is put in its place.
    """

    name: str
    breaks: int | str
    module: str
    old: str
    new: str


FAULTS = (
    # 1: nothing below a commit is unfinished
    Fault(
        "positions-move-past-what-a-drain-passed-over", 1, "supervisor",
        "if epoch is not None and not epoch.draining:", "if epoch is not None:",
    ),
    Fault(
        "watermark-is-the-position", 1, "offsets",
        "return self._starts[self._head] if self._count else self._position",
        "return self._position",
    ),
    Fault(
        "unbegun-is-accepted", 1, "messages",
        "if outcome is None and base + i not in unbegun:", "if outcome is None:",
    ),
    Fault(
        "skipped-is-accepted", 1, "crew",
        "flight.unbegun.update(event.unbegun)", "pass",
    ),
    Fault(
        "finished-with-the-first-of-two-records", 1, "messages",
        "pending.waits -= 1\n            if pending.waits == 0:",
        "pending.waits -= 1\n            if pending.waits <= 1:",
    ),
    Fault(
        "map-claims-one-too-many", 1, "offsets",
        "runs.append((last, self._position))", "runs.append((last, self._position + 1))",
    ),
    Fault(
        "behind-a-crash-is-accepted", 1, "crew",
        "index = event.index if event.task == flight.task.id else 0", "index = event.index",
    ),
    # 2: commits never go back within an epoch
    Fault(
        "what-comes-twice-is-opened-again", 4, "offsets",
        "position = first if self._position is None else self._position", "position = first",
    ),
    Fault(
        "full-map-falls-back", 2, "epochs",
        'return Mark(watermark, text or "")',
        'return Mark(0, "") if text is None else Mark(watermark, text)',
    ),
    Fault(
        "finished-runs-come-back", 2, "offsets",
        "del self._starts[: self._head]\n            del self._stops[: self._head]\n", "",
    ),
    Fault(
        "failed-commit-is-taken-back", 2, "epochs",
        "epoch.asked = None",
        "epoch.asked = None\n"
        "            if event.error: epoch.offsets._starts.insert(epoch.offsets._head, 0); "
        "epoch.offsets._stops.insert(epoch.offsets._head, 1); epoch.offsets._count += 1",
    ),
    # 3: only for owned partitions
    Fault(
        "lost-is-still-owned", 3, "supervisor",
        "ended = self._epochs.end(partitions)", "ended = []",
    ),
    Fault(
        "ended-is-still-owned", 3, "epochs",
        "epoch = self._epochs.pop(partition, None)", "epoch = self._epochs.get(partition)",
    ),
    Fault(
        "lost-while-drained-is-committed", 3, "supervisor",
        "epochs = [epoch for epoch in drain.epochs if epoch.live]", "epochs = drain.epochs",
    ),
    # 4: one runner per lane, its order kept
    Fault("lane-is-not-held", 4, "lanes", "lane.held = True", "lane.held = False"),
    Fault(
        "lane-does-not-wait-for-the-retry", 4, "messages",
        "if lane not in waiting:", "if True:",
    ),
    Fault(
        "given-back-in-reverse", 4, "lanes",
        "for span in reversed(spans):", "for span in spans:",
    ),
    Fault(
        "given-back-behind-the-others", 4, "lanes",
        "lane.spans.appendleft(span)", "lane.spans.append(span)",
    ),
    Fault(
        "keys-are-sent-out-of-order", 4, "lanes",
        "for s in sorted(spans, key=lambda s: (s.epoch.number, s.records.offsets[s.start])):",
        "for s in reversed(spans):",
    ),
    # 5: what is held is bounded
    Fault(
        "never-full", 5, "flow",
        "if held < self._messages and size < self._size:", "if True:",
    ),
    Fault(
        "bytes-do-not-count", 5, "flow",
        "if held < self._messages and size < self._size:", "if held < self._messages:",
    ),
    Fault(
        "ended-is-still-held", 5, "messages",
        "self.flow.remove(epoch.held, epoch.held_bytes)", "pass",
    ),
    Fault(
        "full-map-is-fetched-on", 5, "flow",
        "full = epoch.held and epoch.used * FULL_MAP[1] > epoch.budget * FULL_MAP[0]",
        "full = False",
    ),
    # 6: everything ends handled, dead-lettered or given up, after its attempts
    Fault(
        "one-attempt-too-many", 6, "messages",
        "or had >= policy.retry.attempts:", "or had > policy.retry.attempts:",
    ),
    Fault(
        "one-attempt-too-few", 6, "messages",
        "or had >= policy.retry.attempts:", "or had >= policy.retry.attempts - 1:",
    ),
    Fault(
        "charged-for-the-forkserver", 6, "crew",
        "if worker.state is State.CONDEMNED or event.cause is e.Cause.STOPPED:",
        "if worker.state is State.CONDEMNED:",
    ),
    Fault(
        "charged-for-our-own-kill", 6, "crew",
        "if worker.state is State.CONDEMNED or event.cause is e.Cause.STOPPED:",
        "if event.cause is e.Cause.STOPPED:",
    ),
    Fault(
        "told-and-charged-again", 6, "crew",
        "told = index in flight.outcomes", "told = False",
    ),
    Fault(
        "rejected-is-tried-again", 6, "messages",
        "if outcome.verdict is Verdict.REJECT or had", "if had",
    ),
    Fault(
        "lane-waits-for-ever", 6, "messages",
        "elif isinstance(timer, Lane):\n                self._queues[timer.epoch.handler]"
        ".release(timer)",
        "elif isinstance(timer, Lane):\n                pass",
    ),
    Fault(
        "attempts-are-not-in-the-map", 6, "epochs",
        "Completion(tuple(self.offsets.runs_done()), self.attempts)",
        "Completion(tuple(self.offsets.runs_done()))",
    ),
    Fault(
        "attempts-before-a-restart-are-forgotten", 6, "messages",
        "if records.offsets[0] <= epoch.tried:", "if False:",
    ),
    Fault(
        "delay-asked-for-is-ignored", "Send", "messages",
        "delay = outcome.delay\n", "delay = None\n",
    ),
    Fault(
        "failed-delivery-is-forgotten", 6, "messages",
        "self._later(now + ticket.delay(), ticket)", "pass",
    ),
    Fault(
        "paused-by-a-former-owners-map", 6, "flow",
        "elif epoch.paused and (room or not epoch.held):", "elif epoch.paused and room:",
    ),
    Fault(
        "second-task-is-lost-with-its-worker", 6, "crew",
        "for flight in worker.flights:\n            self._settle_dead",
        "for flight in list(worker.flights)[:1]:\n            self._settle_dead",
    ),
    Fault(
        "crash-loop-in-spite-of-progress", 6, "crew",
        "self.pool.progressed()  # the messages before the one that it died on", "pass",
    ),
    # 7: a stop ends within its time
    Fault(
        "grace-never-ends", 7, "ending",
        "if self.deadline is not None and now >= self.deadline:",
        "if self.deadline is not None and now >= self.deadline + 60.0:",
    ),
    Fault(
        "second-request-hurries-nothing", 7, "ending",
        "self.deadline = min(self.deadline, now + grace)", "pass",
    ),
    Fault(
        "late-and-yet-not-killed", 7, "supervisor",
        "begun\")\n                    crew.kill_all()", "begun\")",
    ),
    # 8: and leaves no process
    Fault(
        "stopped-before-the-workers", 8, "supervisor",
        "if len(crew.pool):", "if crew.flying:",
    ),
    Fault(
        "replaced-during-a-stop", 8, "crew",
        "if not self._closing:\n                self.pool.restarts += 1",
        "if True:\n                self.pool.restarts += 1",
    ),
    Fault("started-during-a-stop", 8, "crew", "self._starts.clear()", "pass"),
    # 9: a clean stop redelivers nothing
    Fault(
        "stops-before-the-last-commit-is-answered", 9, "supervisor",
        "if not self._epochs.settled():", "if False:",
    ),
    Fault(
        "failed-commit-counts", 9, "epochs",
        "if event.error is None:", "if True:",
    ),
    Fault(
        "released-without-marks", 9, "supervisor",
        "c.Release(drain.member, drain.partitions, marks)",
        "c.Release(drain.member, drain.partitions, {})",
    ),
    Fault(
        "map-is-left-out", 9, "epochs",
        'return Mark(watermark, text or "")', 'return Mark(watermark, "")',
    ),
    Fault(
        "hurried-commits", 9, "ending",
        "hasty = self.phase in (Phase.DRAINING, Phase.DISMISSING) and not self._overdue",
        "hasty = not self._overdue",
    ),
    # 10: a slow message holds up no other
    Fault(
        "late-tasks-are-left-alone", 10, "crew",
        "if worker.late_at is None and worker.open > 1:", "if False:",
    ),
    Fault(
        "second-task-is-never-late", 10, "crew",
        "worker.late_at = now + LATE_SECONDS if worker.open > 1 else None",
        "worker.late_at = None",
    ),
    Fault(
        "task-behind-the-slow-one-is-left", 10, "crew",
        "if not running.task <= number <= running.recalled:",
        "if number != running.task or number > running.recalled:",
    ),
    Fault(
        "sent-behind-the-slow-one", 10, "crew",
        "prompt = now < worker.since + LATE_SECONDS and first.id > worker.recalled",
        "prompt = True",
    ),
    Fault(
        "asked-back-and-not-looked-at", 10, "crew",
        "worker.late_at = now + LOOK_SECONDS if worker.open > 1 else None",
        "worker.late_at = None",
    ),
    Fault(
        "asked-back-of-who-has-begun-nothing", 6, "crew",
        "worker.late_at = now + LATE_SECONDS  # until the answer says more\n"
        "                checks.append(worker.id)", "self._ask_back(worker, now)",
    ),
    Fault(
        "taken-before-it-is-certain", 4, "crew",
        "if not running.task <= number <= running.recalled:", "if number < running.task:",
    ),
    Fault(
        "slow-one-is-taken-for-done", 1, "crew",
        "self._messages.settle_but(flight, on, now)",
        "self._messages.settle_but(flight, None, now)",
    ),
    Fault(
        "behind-the-slow-one-is-accepted", 1, "crew",
        "flight.unbegun.update(i for i in behind if i not in flight.outcomes)", "pass",
    ),
    Fault(
        "other-lanes-wait-for-the-slow-one", 10, "messages",
        "if lane is not held and lane not in waiting:", "if False:",
    ),
    Fault(
        "settled-twice", 5, "messages",
        "if base + i == running or base + i in settled:", "if base + i == running:",
    ),
    # each command
    Fault(
        "commits-late", "Commit", "supervisor",
        "self._next_commit = now + self._limits.commit_interval\n            self._commit()",
        "self._next_commit = now + 2 * self._limits.commit_interval\n            self._commit()",
    ),
    Fault(
        "two-commits-at-once", "Commit", "epochs",
        "[epoch for epoch in self if epoch.asked is None]", "list(self)",
    ),
    Fault(
        "former-epochs-answer-counts", "Commit", "epochs",
        "if epoch is None or epoch.asked != mark:",
        "if epoch is None or epoch.asked is None:",
    ),
    Fault(
        "former-map-is-taken-for-this-one", "Commit", "epochs",
        "if epoch is None or epoch.asked != mark:",
        "if epoch is None or not epoch.asked or epoch.asked.offset != mark.offset:",
    ),
    Fault(
        "releases-only-when-drained", "Release", "supervisor",
        "if wait and left and now < drain.deadline:", "if wait and left:",
    ),
    Fault(
        "releases-without-draining", "Release", "supervisor",
        "if wait and left and now < drain.deadline:", "if False:",
    ),
    Fault(
        "fetches-never-again", "Fetching", "flow",
        "elif held > self._messages // 2 or size > self._size // 2:", "elif True:",
    ),
    Fault(
        "stop-goes-on-dispatching", "Fetching", "supervisor",
        "self._messages.drain(self._epochs)\n            self._crew.close(now)",
        "self._crew.close(now)",
    ),
    Fault(
        "paused-again", "Pause", "flow",
        "epoch.paused = True\n", "pass\n",
    ),
    Fault(
        "never-resumed", "Resume", "flow",
        "commands.append(Resume(tuple(resume)))", "pass",
    ),
    Fault(
        "produced-at-once-again", "Produce", "messages",
        "self._later(now + ticket.delay(), ticket)",
        "self._later(now + ticket.delay(), ticket)\n"
        "            self.out.append(Produce(ticket.number, ticket.output))",
    ),
    Fault(
        "second-record-is-forgotten", "Produce", "deliveries",
        "for output in outputs:", "for output in tuple(outputs)[:1]:",
    ),
    Fault(
        "letter-tells-wrong-attempts", "Produce", "messages",
        "records, 0, had, policy.name, failure)\n        pending",
        "records, 0, had + 1, policy.name, failure)\n        pending",
    ),
    Fault(
        "dead-is-not-replaced", "StartWorker", "crew",
        "self._starts.append(now + delay if wait else now)", "pass",
    ),
    Fault(
        "replaced-twice", "StartWorker", "crew",
        "self._starts.append(now + delay if wait else now)",
        "self._starts += [now, now]",
    ),
    Fault(
        "three-tasks-at-once", "Send", "crew",
        "and len(worker.flights) < frames:", "and len(worker.flights) <= frames:",
    ),
    Fault(
        "sent-before-it-is-ready", "Send", "crew",
        "if worker.state is State.IDLE:\n                return worker",
        "if worker.state in (State.IDLE, State.STARTING):\n                return worker",
    ),
    Fault(
        "nobody-is-sent-to", "Send", "supervisor",
        "self._crew.dispatch(now)", "if now == self._next_commit: self._crew.dispatch(now)",
    ),
    Fault(
        "not-asked-back-at-a-revoke", "Recall", "supervisor",
        "self._crew.recall(now, epochs)", "pass",
    ),
    Fault(
        "not-asked-back-at-a-stop", "Recall", "crew",
        "self._broken = 0\n        self.recall(now)", "self._broken = 0",
    ),
    Fault(
        "not-asked-back-at-a-loss", "Recall", "supervisor",
        "self._crew.recall(now, ended)", "pass",
    ),
    Fault(
        "late-is-not-asked-back", "Recall", "crew",
        "self._out.append(c.Recall(worker.id))", "pass",
    ),
    Fault(
        "late-is-never-looked-at", "Observe", "crew",
        "worker.late_at = now + LATE_SECONDS  # until the answer says more\n"
        "                checks.append(worker.id)", "worker.late_at = None",
    ),
    Fault(
        "never-observed", "Observe", "crew",
        "self._out.append(c.Observe(tuple(dict.fromkeys(checks))))", "pass",
    ),
    Fault(
        "the-idle-are-observed", "Observe", "crew",
        "worker.check_at = None\n            retiring", "retiring",
    ),
    Fault(
        "observed-without-end", "Observe", "crew",
        "worker.check_at = now + 1.0  # until the answer sets it", "pass",
    ),
    Fault(
        "killed-whatever-it-does", "KillWorker", "crew",
        "c.KillWorker(worker.id, running.task, running.index)", "c.KillWorker(worker.id)",
    ),
    Fault(
        "killed-too-early", "KillWorker", "crew",
        "elif now < running.started + limit:", "elif now < running.started + limit / 2:",
    ),
    Fault(
        "killed-twice", "KillWorker", "crew",
        "if self.pool.may(worker, Signal.KILL):\n            self.pool.signal",
        "if True:\n            self.pool.signal",
    ),
    Fault(
        "hanging-boot-is-waited-for", "KillWorker", "crew",
        "worker.kill_at = now + self._boot_seconds", "pass",
    ),
    Fault(
        "stopped-at-work", "StopWorker", "crew",
        "self.pool.signal(worker, Signal.RETIRE)\n                self._ask_back(worker, now)",
        "self._out.append(c.StopWorker(worker.id))",
    ),
    Fault(
        "retired-and-kept", "StopWorker", "crew",
        "if retiring:", "if False:",
    ),
    Fault(
        "stalls-in-silence", "Report", "messages",
        "self._report(Note.STALLED, epoch, pending.records, 0, pending.attempt, event.failure)",
        "pass",
    ),
    Fault(
        "gives-up-in-silence", "Report", "messages",
        "self._report(Note.GAVE_UP, epoch, records, 0, had, failure)", "pass",
    ),
    Fault(
        "drops-the-map-in-silence", "Report", "epochs",
        "if full and not epoch.full:", "if False:",
    ),
    Fault(
        "drain-expires-in-silence", "Report", "supervisor",
        'self._out.append(c.Report(c.Note.DRAIN_EXPIRED, failure=Failure("Drain", text)))',
        "pass",
    ),
    Fault(
        "abandons-and-calls-it-clean", "Stopped", "ending",
        "self.end = End.ABANDONED", "pass",
    ),
    Fault(
        "abandoned-for-nothing", "Stopped", "supervisor",
        "if crew.flying or self._messages.delivering:\n                    if not late:",
        "if True:\n                    if (crew.flying or self._messages.delivering) and not late:",
    ),
    Fault(
        "stops-twice", "Stopped", "ending",
        "Phase.DISMISSING: (Phase.OVER, 0.0)", "Phase.DISMISSING: (Phase.DRAINING, 0.0)",
    ),
    Fault(
        "caught-up-too-early", "Stopped", "epochs",
        "return epoch is not None and (epoch.offsets.watermark or 0) >= target",
        "return epoch is not None and (epoch.offsets.position or 0) >= target",
    ),
)  # fmt: skip
