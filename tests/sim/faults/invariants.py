"""Faults that break an invariant: at least two for each, in the order of their numbers."""

from tests.sim.faults.fault import Fault

FAULTS = (
    # 1: nothing below a commit is unfinished
    Fault(
        "positions-move-past-what-a-drain-passed-over", 1,
        "if epoch is not None and not epoch.draining:", "if epoch is not None:",
    ),
    Fault(
        "watermark-is-the-position", 1,
        "return self._starts[self._head] if self._count else self._position",
        "return self._position",
    ),
    Fault(
        "unstarted-is-accepted", 1,
        "if outcome is None and base + i not in unstarted:", "if outcome is None:",
    ),
    Fault(
        "skipped-is-accepted", 1,
        "self.unstarted.update(unstarted)", "pass",
    ),
    Fault(
        "finished-with-the-first-of-two-records", 1,
        "pending.waits -= 1\n            if pending.waits == 0:",
        "pending.waits -= 1\n            if pending.waits <= 1:",
    ),
    Fault(
        "map-claims-one-too-many", 1,
        "runs.append((last, self._position))", "runs.append((last, self._position + 1))",
    ),
    Fault(
        "behind-a-crash-is-accepted", 1,
        "index = event.index if event.task == flight.task.id else 0", "index = event.index",
    ),
    # 2: commits never go back within an epoch
    Fault(
        "what-comes-twice-is-opened-again", 4,
        "position = first if self._position is None else self._position", "position = first",
    ),
    Fault(
        "full-map-falls-back", 2,
        'return Mark(watermark, text or "")',
        'return Mark(watermark if self.used <= self.budget else 0, text or "")',
    ),
    Fault(
        "finished-runs-come-back", 2,
        "del self._starts[: self._head]\n            del self._stops[: self._head]\n", "",
    ),
    Fault(
        "failed-commit-is-taken-back", 2,
        "epoch.awaited = None",
        "epoch.awaited = None\n"
        "            if event.error: epoch.offsets._starts.insert(epoch.offsets._head, 0); "
        "epoch.offsets._stops.insert(epoch.offsets._head, 1); epoch.offsets._count += 1",
    ),
    # 3: only for owned partitions
    Fault(
        "lost-is-still-owned", 3,
        "ended = self._epochs.end(partitions)", "ended = []",
    ),
    Fault(
        "ended-is-still-owned", 3,
        "epoch = self._epochs.pop(partition, None)", "epoch = self._epochs.get(partition)",
    ),
    Fault(
        "lost-while-drained-is-committed", 3,
        "epochs = [epoch for epoch in drain.epochs if epoch.live]", "epochs = drain.epochs",
    ),
    # 4: one runner per lane, its order kept
    Fault(
        "lane-is-not-held", 4,
        "lane.held = True\n                lanes", "lane.held = False\n                lanes",
    ),
    Fault(
        "lane-does-not-wait-for-the-retry", 4,
        "if lane not in waiting:", "if True:",
    ),
    Fault(
        "given-back-in-reverse", 4,
        "for span in reversed(spans):", "for span in spans:",
    ),
    Fault(
        "lanes-are-joined", 4,
        "back[-1].stop == i and whole:", "back[-1].stop == i:",
    ),
    Fault(
        "given-back-behind-the-others", 4,
        "lane.spans.appendleft(span)", "lane.spans.append(span)",
    ),
    Fault(
        "keys-are-sent-out-of-order", 4,
        "for s in sorted(spans, key=lambda s: (s.epoch.number, s.records.offsets[s.start])):",
        "for s in reversed(spans):",
    ),
    # 5: what is held is bounded
    Fault(
        "never-full", 5,
        "count = stock.messages - stock.working", "count = 1 << 30",
    ),
    Fault(
        "bytes-do-not-count", 5,
        "self._take(found, epoch, count, stock.size - stock.working_bytes)",
        "self._take(found, epoch, count, 1 << 30)",
    ),
    Fault(
        "part-of-a-batch-weighs-nothing", 5,
        "self._ahead_size -= weight", "self._ahead_size -= 0 if self._ahead else weight",
    ),
    Fault(
        "large-ones-go-together", 5,
        "if self._large is None and epoch in self.wanting and not epoch.stock.working:",
        "if epoch in self.wanting and epoch.stock.working < epoch.stock.messages:",
    ),
    Fault(
        "ended-is-still-held", 5,
        "self._backpressure.forget(epoch)", "pass",
    ),
    Fault(
        "never-paused", 5,
        "return not stock.paused and not epoch.draining and stock.ahead_bytes >= self._most(stock)",
        "return False",
        scene="beside a stuck one",
    ),
    Fault(
        "all-may-wait", 5,
        "return self.full or self.choked", "return self.full",
        scene="beside failing ones",
    ),
    Fault(
        "full-map-goes-on", 5,
        "stock.full = True", "pass",
    ),
    # 6: everything ends handled, dead-lettered or given up, after its attempts
    Fault(
        "one-attempt-too-many", 6,
        "or attempt >= policy.retry.attempts:", "or attempt > policy.retry.attempts:",
    ),
    Fault(
        "first-dead-letter-taken-for-the-last", 6,
        "    if before < TOLD_ROUNDS or", "    before = ROUNDS\n    if before < TOLD_ROUNDS or",
    ),
    Fault(
        "results-come-round-for-ever", 6,
        "if output.returned and number > MOST:", "if False:",
    ),
    Fault(
        "dead-letter-begins-a-new-row", 6,
        " or is_count(name)", "",
    ),
    Fault(
        "one-attempt-too-few", 6,
        "or attempt >= policy.retry.attempts:", "or attempt >= policy.retry.attempts - 1:",
    ),
    Fault(
        "charged-for-the-forkserver", 6,
        "if worker.state is State.CONDEMNED or event.cause is e.Cause.STOPPED:",
        "if worker.state is State.CONDEMNED:",
    ),
    Fault(
        "charged-for-our-own-kill", 6,
        "if worker.state is State.CONDEMNED or event.cause is e.Cause.STOPPED:",
        "if event.cause is e.Cause.STOPPED:",
    ),
    Fault(
        "told-and-charged-again", 6,
        "told, charged = index in flight.outcomes, False", "told, charged = False, False",
    ),
    Fault(
        "rejected-is-tried-again", 6,
        "if outcome.verdict is Verdict.REJECT or attempt", "if attempt",
    ),
    Fault(
        "lane-waits-for-ever", 6,
        "timer.spans[0].records.size)\n"
        "                self._queues[timer.epoch.handler].release(timer)",
        "timer.spans[0].records.size)",
    ),
    Fault(
        "attempts-are-not-in-the-map", 6,
        "            self.attempts,\n", "            {},\n",
    ),
    Fault(
        "attempts-before-a-restart-are-forgotten", 6,
        "if records.offsets[0] <= epoch.tried:", "if False:",
    ),
    Fault(
        "delay-asked-for-is-ignored", "Send",
        "delay = outcome.delay\n", "delay = None\n",
    ),
    Fault(
        "waits-for-what-cannot-be-read", 6,
        "read = epoch.unreadable and watermark", "read = False and watermark",
    ),
    Fault(
        "failed-delivery-is-forgotten", 6,
        "self._later(now + ticket.delay(), ticket)", "pass",
    ),
    Fault(
        "paused-by-a-former-owners-map", 6,
        "if stock.held == stock.ahead or epoch.used * 2 <= epoch.budget:",
        "if epoch.used * 2 <= epoch.budget:",
    ),
    Fault(
        "second-task-is-lost-with-its-worker", 6,
        "for flight in self._flights:\n            self._settle",
        "for flight in self._flights[:1]:\n            self._settle",
    ),
    Fault(
        "crash-loop-in-spite-of-progress", 12,
        "self.progress = True  # the messages before the one that it died on",
        "pass",
        scene="some that kill in large frames",
    ),
    # 7: a stop ends within its time
    Fault(
        "second-request-hurries-nothing", 7,
        "self.deadline = min(self.deadline, now + grace)", "pass",
    ),
    Fault(
        "late-and-yet-not-killed", 7,
        "begun\")\n            workforce.staffing.kill_all()",
        "begun\")",
    ),
    # 8: and leaves no process
    Fault(
        "stopped-before-the-workers", 8,
        "if len(workforce.pool):", "if workforce.flying:",
    ),
    Fault(
        "replaced-during-a-stop", 8,
        "if self._has_successor(worker):\n            self._pool.replaced()",
        "if worker.seat < self._pool.target:\n            self._pool.replaced()",
    ),
    Fault(
        "started-during-a-stop", 8,
        "for number in self._starts:\n            self._timetable.clear((Due.START, number))\n"
        "        self._starts.clear()", "pass",
        scene="one at work, none behind it",
    ),
    # 9: a clean stop redelivers nothing
    Fault(
        "stops-before-the-last-commit-is-answered", 9,
        "if not self._epochs.settled():", "if False:",
    ),
    Fault(
        "failed-commit-counts", 9,
        "if event.error is None:", "if True:",
    ),
    Fault(
        "released-without-marks", 9,
        "c.Release(drain.member, drain.partitions, marks)",
        "c.Release(drain.member, drain.partitions, {})",
    ),
    Fault(
        "count-of-partitions-is-forgotten", 9,
        "            self.partitions,\n", "            None,\n",
    ),
    Fault(
        "count-of-partitions-is-not-taken-over", 9,
        "self.partitions = found.partitions if start.partitions is None else start.partitions",
        "self.partitions = start.partitions",
    ),
    Fault(
        "map-is-left-out", 9,
        'return Mark(watermark, text or "")', 'return Mark(watermark, "")',
    ),
    Fault(
        "hurried-commits", 9,
        "hasty = self.phase in (Phase.DRAINING, Phase.DISMISSING) and not self._overdue",
        "hasty = not self._overdue",
    ),
    # 10: a slow message holds up no other
    Fault(
        "late-tasks-are-left-alone", 10,
        "if (Due.LATE, worker.id) not in self._timetable and worker.open > 1:",
        "if False:",
    ),
    Fault(
        "second-task-is-never-late", 10,
        "self._late_in(LATE_SECONDS, worker, now)",
        "self._timetable.clear((Due.LATE, worker.id))",
    ),
    Fault(
        "sent-behind-the-slow-one", 10,
        "return now < worker.since + LATE_SECONDS and first.id > worker.recalled",
        "return True",
    ),
    Fault(
        "asked-back-and-not-looked-at", 10,
        "self._late_in(LOOK_SECONDS, worker, now)",
        "self._timetable.clear((Due.LATE, worker.id))",
    ),
    Fault(
        "asked-back-of-who-has-begun-nothing", 6,
        "self.recalls.looked(worker, now)\n                    looks.append(number)",
        "self.recalls.ask_back(worker, now)",
    ),
    Fault(
        "slow-one-is-taken-for-done", 1,
        "self._messages.settle_but(flight, on, now)",
        "self._messages.settle_but(flight, None, now)",
    ),
    Fault(
        "behind-the-slow-one-is-accepted", 1,
        "flight.begin_none_of(behind)", "pass",
    ),
    Fault(
        "settled-twice", 5,
        "if base + i == running or base + i in settled:", "if base + i == running:",
    ),
    # 11: a stopped worker keeps no messages for long where there is a time limit
    Fault(
        "stopped-is-waited-for", 11,
        "if self.quiet_at is None:",
        "if True:",
    ),
    Fault(
        "stopped-is-looked-at-too-late", 11,
        "self._timetable.set((Due.LIMIT, worker.id), due)\n",
        "self._timetable.set((Due.LIMIT, worker.id), due + 5.0)\n",
    ),
    Fault(
        "quiet-in-spite-of-an-answer", 11,
        "worker.heard()\n        if",
        "pass\n        if",
    ),
    # 12: a run that gets on is not given up
    Fault(
        "dead-letters-make-a-crash-loop", 12,
        "if killer is not None:", "if False:",
        scene="killing in a row",
    ),
    Fault(
        "given-up-with-one-at-work", 12,
        "self._boot_deaths >= max(self._boots, rounds) and alone",
        "self._boot_deaths >= max(self._boots, rounds)",
        scene="one at work, none behind it",
    ),
    # 13: only who ran alone, named in a commit, pays for its supervisor
    Fault(
        "begun-before-it-is-confirmed", 13,
        "if not idle or not confirmed:", "if not idle:",
        scene="ended by a message",
    ),
    Fault(
        "suspects-are-not-alone", 13,
        "        if flying is not None:\n            self._wait(flying, now)\n        elif idle:",
        "        if idle:",
        scene="ended with little room",
    ),
    Fault(
        "others-begin-beside-a-suspect", 13,
        "        if self._chosen is not None:\n            return True\n", "",
        scene="ended in order of keys",
    ),
    Fault(
        "who-ended-it-is-never-charged", 13,
        "for offset in former.begun:", "for offset in ():",
        scene="ended by a message",
    ),
    Fault(
        "charged-before-it-ran-alone", 6,
        "for offset in former.begun:", "for offset in former.begun or (start,):",
        scene="ended by a message",
    ),
    Fault(
        "charged-for-who-comes-after-it", 13,
        "if epoch.begun or epoch.told or self._is_chosen(epoch) or not ward.is_through(queue):",
        "if self._is_chosen(epoch) or not ward.is_through(queue):",
        scene="ended with little room",
    ),
    Fault(
        "an-end-in-order-is-not-told", 13,
        "self.clean, self.begun = True, ()", "self.begun = ()",
    ),
    Fault(
        "offsets-of-two-partitions-are-compared", 13,
        "rank = span.attempt, charged, -place",
        "rank = span.attempt, charged, -span.records.offsets[0]",
        scene="ended by a message",
    ),
    Fault(
        "no-suspect-who-is-still-ahead", 13,
        "if ahead is not None and ahead < ward.below:", "if False:",
        scene="ended with little room",
    ),
    Fault(
        "no-suspect-whom-a-pause-keeps-back", 13,
        "if self.until is not None and self.epoch.stock.paused:", "if False:",
        scene="ended with little room",
    ),
    Fault(
        "suspects-before-others", 13,
        "return self.theirs", "return True",
        scene="ended by a message",
    ),
    Fault(
        "begun-before-a-suspect-of-its-lane", 4,
        "(self.kept if self.lane(part) in self.lanes else found).append(part)",
        "found.append(part)",
        scene="ended in order of keys",
    ),
    # 14: nobody starves beside others
    Fault(
        "fetching-waits-for-a-stuck-one", 14,
        "if self._slow:\n            on = True\n        elif self._fetching:",
        "if self._fetching:",
        scene="beside a stuck one",
    ),
    Fault(
        "no-room-beside-a-stuck-one", 14,
        "count = stock.messages - stock.working",
        "count = self._messages - self._working",
        scene="beside a stuck one",
    ),
    Fault(
        "a-turn-is-never-taken", 14,
        "touched, self._touched = self._touched, {}", "touched, self._touched = {}, {}",
        scene="beside a stuck one",
    ),
    # 15: there are as many workers as are wanted, each with a seat of its own
    Fault(
        "two-on-one-seat", 15,
        "taken = {worker.seat for worker in self}",
        "taken = {worker.seat for worker in self if worker.state is not State.LEAVING}",
        scene="workers come and go",
    ),
    Fault(
        "seats-are-never-used-again", 15,
        "seat = next(number for number in itertools.count() if number not in taken)",
        "seat = self._next",
    ),
    Fault(
        "fewer-are-wanted-and-all-stay", 15,
        "if worker.seat >= target:\n                self._let_go(worker, now)",
        "pass",
        scene="workers come and go",
    ),
    Fault(
        "more-are-wanted-and-nobody-comes", 15,
        "self._let_go(worker, now)\n        self.fill(now)",
        "self._let_go(worker, now)",
        scene="workers come and go",
    ),
    Fault(
        "a-seat-that-is-gone-is-taken-again", 15,
        "return not self.closing and worker.seat < self._pool.target",
        "return not self.closing",
        scene="workers come and go",
    ),
)  # fmt: skip
