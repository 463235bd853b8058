"""Checks of what is held in memory and of who gets its share: invariants (5) and (14).

Shares are reckoned here anew, from what is owned; which messages are ahead of their turn is
the core's own to say, and whether they may be is judged here.
"""

from __future__ import annotations

from collections import Counter

from kqworker.core.backpressure import LOOK_SECONDS
from kqworker.core.stock import MOST_WAITING, OVERHEAD_BYTES
from tests.sim.judge import must
from tests.sim.views import Entry, View
from tests.sim.work import SLACK, WorkChecks, first_ahead

LARGEST = 12  # bytes of the largest message


class ShareChecks(WorkChecks):
    """The checks of bounds and shares."""

    def check_shares(self, now: float) -> None:
        """Check the bounds, and that nobody starves."""
        self._check_bounds()
        idle = not self.oracle.stopping and any(
            status == "ready" and not self.oracle.flights.get(worker)
            for worker, status in self.oracle.status.items()
        )
        handlers = Counter(v.partition.topic for v in self.oracle.views.values())
        for view in self.oracle.views.values():
            if not view.draining:
                self._check_full(view, now)
            self._check_fed(view, now, idle)
            if idle and not view.draining:
                self._check_share(view, len(handlers) * handlers[view.partition.topic], now)

    def _check_bounds(self) -> None:
        scenario = self.life.world.scenario
        limits, views = scenario.limits, self.oracle.views.values()
        fresh = ahead = size = ahead_size = known = 0
        for view in views:
            if view.draining:
                continue  # what was ahead is dropped, and counts until all of it is
            epoch = self.life.supervisor._epochs.get(view.partition)
            assert epoch is not None
            first = first_ahead(epoch)
            for entry in view.open.values():
                if entry.offset >= first:
                    ahead += 1
                    ahead_size += entry.size + OVERHEAD_BYTES
                elif entry.known or entry.state == "sinking" or entry.offset <= view.tried:
                    known += 1
                else:
                    fresh += 1
                    size += entry.size
        must(fresh <= 2 * limits.messages + len(views), "(5) too much is at work", fresh)
        must(size <= 2 * limits.size + LARGEST, "(5) too many bytes are at work", size)
        # What waits has the same bound again; what is at work when it is reached may come to it.
        most = 2 * (2 * limits.messages + len(views))
        must(known <= most + self._tried(), "(5) too much waits", known)
        # What is fetched when a pause is decided still comes.
        batches = (5 if scenario.latency else 2) * scenario.batch * max(1, len(views)) ** 2
        most = 2 * limits.ahead + (LARGEST + OVERHEAD_BYTES) * batches
        must(ahead_size <= most, "(5) too much is fetched ahead", ahead, ahead_size, most)

    def _tried(self) -> int:
        return sum(sum(o <= v.tried for o in v.open) for v in self.oracle.views.values())

    def _check_full(self, view: View, now: float) -> None:
        """Nothing more of a partition goes to work for long while its map does not fit."""
        epoch = self.life.supervisor._epochs.get(view.partition)
        assert epoch is not None
        first = first_ahead(epoch)
        last = max((o for o in view.open if o < first), default=-1)
        if last <= view.let_in:
            return
        before, view.let_in = view.let_in, last
        if view.full_since is None or self.oracle.stopping:
            return
        late = (
            now
            > view.full_since + 2 * LOOK_SECONDS + self.life.world.scenario.limits.commit_interval
        )
        # Where nothing else is at work, only what comes can shrink the map.
        alone = min(view.open) > before
        if alone:
            view.full_since = now
        done = view.finished | view.skip
        shrunk = not any(offset > min(view.open) for offset in done)
        must(not late or alone or shrunk, "(5) its map is full, and yet it goes on", view.partition)

    def _check_fed(self, view: View, now: float, idle: bool) -> None:
        """With a worker idle, what has nothing in memory is fetched soon."""
        member = self.life.members[view.member]
        place = member.assigned.get(view.partition)
        owned = self.life.world.group.owners.get(view.partition) is member
        waits = place is not None and place.index < place.log.readable() and not place.stumbled
        if not (idle and owned and waits and member.waiting is None) or view.open or view.draining:
            view.hungry = None
            return
        assert place is not None
        if view.hungry is None or view.hungry[1] != place.index:
            view.hungry = now, place.index
        scenario = self.life.world.scenario
        by = view.hungry[0] + SLACK + LOOK_SECONDS + 0.1 * scenario.line * len(self.oracle.views)
        must(now <= by, "(14) a worker idles, and nothing is fetched", view.partition, now, by)

    def _check_share(self, view: View, parts: int, now: float) -> None:
        """With a worker idle, what is within its partition's share is at work."""
        epoch = self.life.supervisor._epochs.get(view.partition)
        assert epoch is not None
        first = first_ahead(epoch)
        limits = self.life.world.scenario.limits
        messages, size = max(1, limits.messages // parts), max(1, limits.size // parts)
        before = [x for x in view.open.values() if x.offset < first]
        waiting = [x for x in before if _waits(x, now)]
        shut = len(waiting) >= min(messages, MOST_WAITING)
        shut = shut or sum(x.size for x in waiting) >= size or epoch.stock.full
        if first not in view.open or shut:
            return
        entry = view.open[int(first)]
        room = len(before) < messages and sum(x.size for x in before) + entry.size <= size
        must(not room, "(14) a worker idles beside what is within its share", entry, now)


def _waits(entry: Entry, now: float) -> bool:
    return entry.state == "sinking" or (entry.state == "waiting" and entry.due > 0)
