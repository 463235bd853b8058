"""Faults that make a command wrong: at least one for each command that the core gives."""

from tests.sim.faults.fault import Fault

FAULTS = (
    Fault(
        "commits-late", "Commit",
        "self._next = now + self._interval(now)\n            self.commit()",
        "self._next = now + 2 * self._interval(now)\n            self.commit()",
    ),
    Fault(
        "two-commits-at-once", "Commit",
        "[epoch for epoch in epochs if epoch.awaited is None]", "list(epochs)",
    ),
    Fault(
        "former-epochs-answer-counts", "Commit",
        "if epoch is None or epoch.awaited != mark:",
        "if epoch is None or epoch.awaited is None:",
    ),
    Fault(
        "former-map-is-taken-for-this-one", "Commit",
        "if epoch is None or epoch.awaited != mark:",
        "if epoch is None or not epoch.awaited or epoch.awaited.offset != mark.offset:",
        scene="answers to former owners",
    ),
    Fault(
        "releases-only-when-drained", "Release",
        "if wait and left and now < drain.deadline:", "if wait and left:",
    ),
    Fault(
        "releases-without-draining", "Release",
        "if wait and left and now < drain.deadline:", "if False:",
    ),
    Fault(
        "fetches-never-again", "Fetching",
        "commands.append(Fetching(on))",
        "commands += [] if on else [Fetching(False)]",
    ),
    Fault(
        "stop-goes-on-dispatching", "Fetching",
        "if self._messages.drain(self._epochs):\n                self._commits.at_once(now)\n"
        "            self._workforce.staffing.close(now)",
        "self._workforce.staffing.close(now)",
    ),
    Fault(
        "paused-again", "Pause",
        "epoch.stock.paused = True\n", "pass\n",
    ),
    Fault(
        "not-resumed-at-a-loss", "Resume",
        "self._out.append(c.Resume(paused))", "pass",
    ),
    Fault(
        "never-resumed", "Resume",
        "commands.append(Resume(tuple(self._resumed)))", "pass",
    ),
    Fault(
        "produced-at-once-again", "Produce",
        "self._later(now + ticket.delay(), ticket)",
        "self._later(now + ticket.delay(), ticket)\n"
        "            self._out.append(Produce(ticket.number, ticket.output))",
    ),
    Fault(
        "second-record-is-forgotten", "Produce",
        "for output in outputs:\n            self._number",
        "for output in tuple(outputs)[:1]:\n            self._number",
    ),
    Fault(
        "letter-tells-wrong-attempts", "Produce",
        "records, 0, attempt, policy.name, failure)",
        "records, 0, attempt + 1, policy.name, failure)",
    ),
    Fault(
        "cut-without-a-mark", "Produce",
        "headers = (*headers, (TRUNCATED, str(len(letter.value)).encode()))", "pass",
        scene="letters too large",
    ),
    Fault(
        "dead-is-not-replaced", "StartWorker",
        "self._start_at(now + delay if wait else now)", "pass",
    ),
    Fault(
        "replaced-twice", "StartWorker",
        "self._start_at(now + delay if wait else now)",
        "self._start_at(now); self._start_at(now)",
    ),
    Fault(
        "three-tasks-at-once", "Send",
        "and len(worker.flights) == 1:", "and len(worker.flights) <= 2:",
    ),
    Fault(
        "sent-before-it-is-ready", "Send",
        "if worker.state is State.IDLE:\n                return worker",
        "if worker.state in (State.IDLE, State.STARTING):\n                return worker",
    ),
    Fault(
        "nobody-is-sent-to", "Send",
        "self._workforce.dispatch.send_ready(now)",
        "if now == self._commits.deadline: self._workforce.dispatch.send_ready(now)",
    ),
    Fault(
        "not-asked-back-at-a-revoke", "Recall",
        "self._workforce.recalls.recall(now, epochs)",
        "pass",
    ),
    Fault(
        "not-asked-back-at-a-stop", "Recall",
        "self._broken = 0\n        self._recalls.recall(now)",
        "self._broken = 0",
    ),
    Fault(
        "not-asked-back-at-a-loss", "Recall",
        "self._workforce.recalls.recall(now, ended)",
        "pass",
    ),
    Fault(
        "late-is-not-asked-back", "Recall",
        "self._out.append(Recall(worker.id))",
        "pass",
    ),
    Fault(
        "late-is-never-looked-at", "Observe",
        "self._timetable.set((Due.LATE, worker.id), now + LATE_SECONDS)",
        "pass",
    ),
    Fault(
        "never-observed", "Observe",
        "self._out.append(c.Observe(tuple(dict.fromkeys(looks))))",
        "pass",
    ),
    Fault(
        "the-idle-are-observed", "Observe",
        "if (Due.LIMIT, worker.id) in self._timetable:", "if worker.flights:",
    ),
    Fault(
        "observed-without-end", "Observe",
        "self._timetable.set((Due.LIMIT, worker.id), now + AGAIN_SECONDS)",
        "self._timetable.set((Due.LIMIT, worker.id), now + 1e-9)",
    ),
    Fault(
        "killed-whatever-it-does", "KillWorker",
        "KillWorker(worker.id, on)", "KillWorker(worker.id)",
    ),
    Fault(
        "killed-too-early", "KillWorker",
        "due = running.started + limit", "due = running.started + limit / 2",
    ),
    Fault(
        "killed-twice", "KillWorker",
        "if self._pool.may(worker, Signal.KILL):\n            self._pool.signal",
        "if True:\n            self._pool.signal",
    ),
    Fault(
        "hanging-boot-is-waited-for", "KillWorker",
        "self._timetable.set((Due.KILL, worker.id), now + self._boot_seconds)",
        "pass",
        scene="alone and hanging",
    ),
    Fault(
        "stopped-at-work", "StopWorker",
        "self._pool.signal(worker, Signal.RETIRE)\n"
        "            self._recalls.ask_back(worker, now)",
        "self._out.append(c.StopWorker(worker.id))",
    ),
    Fault(
        "retired-and-kept", "StopWorker",
        "if retiring:", "if False:",
    ),
    Fault(
        "stalls-in-silence", "Report",
        "self.report(ReportKind.STALLED, epoch, pending.records, 0, pending.attempt, told)",
        "pass",
    ),
    Fault(
        "tells-every-try-of-a-record", "Report",
        "if last is not None and now < last + TELL_SECONDS:", "if False:",
    ),
    Fault(
        "one-topic's-stall-hides-another's", "Report",
        "kind = topic, failure.type", 'kind = "", failure.type',
    ),
    Fault(
        "unreadable-in-silence", "Report",
        "offset=event.offset, failure=failure)\n        self._out.append(report)",
        "offset=event.offset, failure=failure)",
    ),
    Fault(
        "a-stall-is-never-over", "Report",
        "epoch.read_on()\n            kept", "pass\n            kept",
    ),
    Fault(
        "gives-up-in-silence", "Report",
        "self.report(kind, epoch, records, 0, attempt, failure)",
        "kind is ReportKind.GAVE_UP or self.report(kind, epoch, records, 0, attempt, failure)",
    ),
    Fault(
        "drops-the-map-in-silence", "Report",
        "if full and not epoch.full:", "if False:",
    ),
    Fault(
        "drain-expires-in-silence", "Report",
        'self._out.append(c.Report(c.ReportKind.DRAIN_EXPIRED, failure=failure))',
        "pass",
    ),
    Fault(
        "abandons-and-calls-it-clean", "Stopped",
        "self.end = End.ABANDONED", "pass",
    ),
    Fault(
        "cut-off-and-calls-it-clean", "Stopped",
        "self.cut_off = True\n            name", "pass\n            name",
        scene="ended in a drain",
    ),
    Fault(
        "abandoned-for-nothing", "Stopped",
        "if workforce.flying or self._messages.settling.delivering:\n            if not late:",
        "if True:\n"
        "            if (workforce.flying or self._messages.settling.delivering) and not late:",
    ),
    Fault(
        "stops-twice", "Stopped",
        "Phase.DISMISSING: (Phase.OVER, 0.0)", "Phase.DISMISSING: (Phase.DRAINING, 0.0)",
    ),
    Fault(
        "caught-up-too-early", "Stopped",
        "return read or (watermark or 0) >= target",
        "return read or (epoch.offsets.position or 0) >= target",
    ),
    Fault(
        "caught-up-with-what-is-open-of-an-unreadable-partition", "Stopped",
        "read = epoch.unreadable and watermark == epoch.offsets.position",
        "read = epoch.unreadable",
    ),
    Fault(
        "other-lanes-wait-for-the-slow-one", "Recall",
        "if lane is not held and lane not in waiting:", "if False:",
    ),
    Fault(
        "taken-before-it-is-certain", "Recall",
        "if not running.task <= number <= running.recalled:", "if number < running.task:",
    ),
    Fault(
        "task-behind-the-slow-one-is-left", "Recall",
        "if not running.task <= number <= running.recalled:",
        "if number != running.task or number > running.recalled:",
    ),
    Fault(
        "grace-never-ends", "Stopped",
        "if self.deadline is not None and now >= self.deadline:",
        "if self.deadline is not None and now >= self.deadline + 60.0:",
    ),
)  # fmt: skip
