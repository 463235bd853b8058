"""One supervisor's life: its ports, its time, what happens to it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.supervisor import Supervisor
from kqworker.types import TopicPartition
from tests.sim.invariants import Invariants
from tests.sim.judge import must
from tests.sim.kafka import Member, Sink
from tests.sim.oracle import Oracle
from tests.sim.scenario import Faults, Message, Plan
from tests.sim.workers import Worker

if TYPE_CHECKING:
    from tests.sim.world import World

QUIET = Faults()
# So many ticks in a row may say that time has come, without any time passing.
TICKS = 4


class Life:
    """One supervisor with its simulated surroundings.

    Attributes:
        over: It has stopped or was killed; nothing reaches it any more.
        unreadable: The partitions that it was told cannot be read on, at any time.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.random = world.random
        self.faults = plan.faults
        self.lag = world.scenario.lag
        self.over = False
        self.unreadable: set[TopicPartition] = set()
        self.deadline: float | None = None
        self.stopped: c.Stopped | None = None
        self.workers: dict[int, Worker] = {}
        scenario = world.scenario
        self.supervisor = Supervisor(scenario.policies, scenario.limits, Random(world.number))
        self.oracle = Oracle(self)
        self.checks = Invariants(self, self.oracle)
        self.members = [Member(self, number) for number in range(scenario.members)]
        self.sink = Sink(self)
        self.bad_boots = self.bad_deaths = 0
        self.killers: set[tuple[TopicPartition, int]] = set()
        self.may_give_up = self.start_may_fail = False
        self._booted: set[int] = set()
        self._ticks = 0
        self._command_at = 0.0
        self._catching_up: dict[TopicPartition, int] | None = None
        self._carry: dict[type, Callable[[Any], None]] = {
            c.Commit: self._commit,
            c.Release: lambda x: self.members[x.member].release(x),
            c.Fetching: self._fetching,
            c.Pause: self._pause,
            c.Resume: self._resume,
            c.Produce: self.sink.produce,
            c.StartWorker: self._start_worker,
            c.Send: lambda x: self.workers[x.worker].send(x.task),
            c.Recall: lambda x: self.workers[x.worker].recall(self._last_task(x.worker)),
            c.Observe: self._observe,
            c.KillWorker: lambda x: self.workers[x.worker].kill(x),
            c.StopWorker: lambda x: self.workers[x.worker].stop(),
        }

    # -- time

    @property
    def now(self) -> float:
        return self.world.now

    def later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        """Call in some seconds, if this life still goes on then."""
        self.world.at(self, self.world.now + seconds, call, *arguments)

    def soon(self) -> float:
        """Return when what is said now is heard."""
        latency = self.world.scenario.latency
        return self.now + (latency * self.random.random() if latency else 0.0)

    def post_at(self, when: float, event: e.Event) -> None:
        """Let the supervisor hear of an event at a time."""
        self.world.at(self, when, self.feed, event)

    def post(self, event: e.Event) -> None:
        self.post_at(self.soon(), event)

    def tick(self) -> None:
        """The deadline has come."""
        self._ticks += 1
        must(self._ticks <= TICKS, "a busy loop: deadlines do not move", self.now)
        self.feed(e.Tick())

    def moved(self) -> None:
        """Time has passed."""
        self._ticks = 0

    # -- the supervisor

    def start(self) -> None:
        """Begin, and let the group give it partitions."""
        self._carry_out(None, self.supervisor.start(self.now))
        self.deadline = self.supervisor.deadline()
        partitions = list(self.world.logs)
        self.random.shuffle(partitions)
        for index, partition in enumerate(partitions):
            member = self.members[index % len(self.members)]
            self.later(self.random.choice((0.0, 0.3, 1.0)), self._give, member, partition)
        for when, action in self.plan.actions:
            self.later(when, getattr(self, "_do_" + action))
        self.later(self.plan.seconds, self._calm)

    def feed(self, event: e.Event) -> None:
        """Let the supervisor hear of an event now, and do what it says."""
        if self.world.story is not None:
            self.world.tell(event)
        self._judge(event)
        self.oracle.before(event, self.now)
        self.checks.let_go(self.oracle.leaving_views)
        self._carry_out(event, self.supervisor.handle(event, self.now))
        self.deadline = self.supervisor.deadline()

    def _carry_out(self, event: e.Event | None, commands: list[c.Command]) -> None:
        if self.world.story is not None:
            for command in commands:
                self.world.tell(command)
        self.checks.commands(event, commands, self.now)
        latency = self.world.scenario.latency
        for command in commands:
            self.world.seen.add(type(command))
            if isinstance(command, c.Report) and command.kind is c.ReportKind.BROKEN:
                self.later(1.0, self.feed, e.Replace())  # somebody mends the app
            if isinstance(command, c.Stopped):
                self.over, self.stopped = True, command
                return
            carry = self._carry.get(type(command))
            if carry is None:
                continue
            if latency:
                self._command_at = max(self._command_at, self.soon())
                self.world.at(self, self._command_at, carry, command)
            else:
                carry(command)

    def ending(self) -> bool:
        """Whether the supervisor has begun to end."""
        return bool(self.supervisor.visited()["ending"])

    def _judge(self, event: e.Event) -> None:
        """Keep count of deaths in a row, as the truth has it, and of when they are too many."""
        if self.ending():
            return
        if isinstance(event, e.WorkerReady):
            self.bad_boots = 0
            self._booted.add(event.worker)
        elif isinstance(event, e.Finished):
            if event.complete:
                self.bad_deaths = 0
                self.killers.clear()
        elif isinstance(event, e.BootFailed):
            self.bad_boots += 1
        elif isinstance(event, e.WorkerDied):
            flights = self.oracle.flights.get(event.worker, {})
            if any(f.outcomes for f in flights.values()) or (event.task in flights and event.index):
                self.bad_deaths = 0
                self.killers.clear()
            killer = self._killer(event)
            if killer is not None:
                self.killers.add(killer)
            elif event.worker in self._booted:
                self.bad_deaths += 1
            else:
                self.bad_boots += 1
        else:
            return
        if not isinstance(event, e.WorkerReady | e.Finished) and not self._booted:
            self.start_may_fail = True
        # Of those that are left when this one has gone.
        rounds = 4 * max(self.oracle.target, len(self.oracle.status) - 1)
        others = (status for w, status in self.oracle.status.items() if w != event.worker)
        boots = self.bad_boots >= max(5, rounds) and "ready" not in others
        deaths = self.bad_deaths >= max(20, rounds) or len(self.killers) >= max(200, rounds)
        self.may_give_up = self.may_give_up or boots or deaths

    def _killer(self, event: e.WorkerDied) -> tuple[TopicPartition, int] | None:
        """Return the message that is charged with a death, if it ends as a dead letter."""
        flight = self.oracle.flights.get(event.worker, {}).get(event.task or 0)
        if flight is None or event.cause is not e.Cause.CRASHED:
            return None
        if event.index >= len(flight.entries) or event.index in {*flight.outcomes, *flight.settled}:
            return None
        message = flight.entries[event.index].message
        kept = message.policy.dead_letter is not None
        return (message.partition, message.offset) if kept else None

    def check_end(self, command: c.Stopped) -> None:
        """Check that the end is what it says it is."""
        by = self.checks.stop_by
        must(by is not None and self.now <= by, "(7) a stop takes too long", self.now, by)
        if command.end is c.End.CRASH_LOOP:
            must(self.may_give_up, "(12) no crash loop", self.bad_boots, self.bad_deaths)
        if command.end is c.End.BOOT_FAILED:
            must(self.start_may_fail, "(12) given up although a worker was ready", command)
        if self._catching_up is not None and command.end is c.End.CLEAN:
            self._check_caught_up(self._catching_up)

    # -- commands to the source and to all workers

    def _commit(self, command: c.Commit) -> None:
        marks = dict(command.marks)
        for member in self.members:
            member.commit({p: marks.pop(p) for p in list(marks) if p in member.assigned})
        self.members[0].commit(marks)  # which says that nobody owns them

    def _fetching(self, command: c.Fetching) -> None:
        for member in self.members:
            member.fetching = command.on
            member.wake()

    def _pause(self, command: c.Pause) -> None:
        for member in self.members:
            member.pause(command.partitions)

    def _resume(self, command: c.Resume) -> None:
        for member in self.members:
            member.paused.difference_update(command.partitions)
            member.wake()

    def _start_worker(self, command: c.StartWorker) -> None:
        self.workers[command.worker] = Worker(self, command.worker)

    def _last_task(self, worker: int) -> int:
        return max(self.oracle.flights.get(worker) or (0,))

    def _observe(self, command: c.Observe) -> None:
        alive = [worker for w in command.workers if (worker := self.workers[w]).alive]
        # What they have told until now is heard before it, and what they tell later behind it.
        when = max([self.soon(), *(worker.told_until for worker in alive)])
        for worker in alive:
            worker.told_until = when
        self.post_at(when, e.Observed({worker.number: worker.observed() for worker in alive}))

    def began(self, message: Message) -> None:
        """A worker begins a message."""
        self.world.runs += 1
        message.began += 1
        if self.world.scenario.strict and message.kind == "kills":
            most = message.policy.retry.attempts + 1
            must(message.began <= most, "(13) begun again in spite of its attempts", message)

    def end(self) -> None:
        """The supervisor is killed, and all its workers with it."""
        self.over = True

    # -- what happens to it

    def _calm(self) -> None:
        """Nothing more goes wrong by chance; then it ends as planned."""
        self.faults = QUIET
        if self.plan.end == "kill":
            self.end()
            return
        if self.plan.end == "catch up":
            self._catching_up = {p: log.end for p, log in self.world.logs.items() if log.messages}
            self._catch_up()
            return
        if self.plan is self.world.scenario.lives[-1]:
            return  # the world says when all is done
        self.stop()

    def _catch_up(self) -> None:
        """Say what is to be reached, without what the group has committed by now."""
        committed = self.world.group.committed
        assert self._catching_up is not None
        left = {
            partition: target
            for partition, target in self._catching_up.items()
            if partition not in committed or committed[partition].offset < target
        }
        self.feed(e.CatchUp(left))
        self.later(2.0, self._catch_up)

    def stop(self) -> None:
        """Ask it to stop, perhaps more than once."""
        if self.world.now < 0:
            return
        when = 0.0
        for after, grace in self.plan.graces:
            when += after
            self.later(when, self.feed, e.StopRequested(grace))

    def _check_caught_up(self, targets: dict[TopicPartition, int]) -> None:
        for partition, target in targets.items():
            if partition in self.checks.owned_at_stop:
                log = self.world.logs[partition]
                view = self.oracle.views.get(partition)
                if partition in self.unreadable and view is not None:
                    # It may have been mended since.
                    target = min(target, view.reached or 0)
                for message in log.messages:
                    if message.offset < target:
                        must(message.settled(), "not caught up", message)

    def _do_worker(self) -> None:
        alive = [worker for worker in self.workers.values() if not worker.doomed]
        if alive:
            self.random.choice(alive).die(e.Cause.CRASHED)

    def _do_unbootable(self) -> None:
        """From now on no worker gets ready."""
        self.faults = replace(self.faults, boot=1.0)

    def _do_forkserver(self) -> None:
        for worker in self.workers.values():
            worker.die(e.Cause.STOPPED)

    def _do_replace(self) -> None:
        self.feed(e.Replace())

    def _do_scale(self) -> None:
        self.feed(e.Scale(self.random.choice((1, 1, 2, 3, 5))))

    def _some(self, waiting: bool) -> tuple[Member, tuple[TopicPartition, ...]] | None:
        members = [m for m in self.members if m.assigned and (waiting or m.waiting is None)]
        if not members:
            return None
        member = self.random.choice(members)
        owned = list(member.assigned)
        return member, tuple(self.random.sample(owned, self.random.randint(1, len(owned))))

    def _do_revoke(self) -> None:
        if some := self._some(waiting=False):
            some[0].revoke(some[1], self.random.choice((0.0, 0.1, 1.0, 20.0)))

    def _do_fenced(self) -> None:
        """Take partitions away while they are being given back."""
        if some := self._some(waiting=False):
            some[0].revoke(some[1], 20.0)
            self.later(0.05, self._lose_from, *some, 0.0)

    def _do_lost(self) -> None:
        self._lose(self.random.choice((0.0, 0.0, 0.3, 2.0)))

    def _do_unheard(self) -> None:
        """Let a member be given again what it has, and somebody had meanwhile."""
        if some := self._some(waiting=False):
            member, partitions = some
            for partition in partitions:
                if self.world.group.owners[partition] is member:
                    self.world.group.other_works(partition)
                    member.assign((partition,))

    def _lose(self, seconds: float) -> None:
        """Take partitions away, which their member learns after some seconds."""
        # Also in the middle of a revoke that takes too long.
        if some := self._some(waiting=True):
            self._lose_from(*some, seconds)

    def _lose_from(
        self, member: Member, partitions: tuple[TopicPartition, ...], seconds: float
    ) -> None:
        owned = [p for p in partitions if self.world.group.owners[p] is member]
        for partition in owned:
            self.world.group.owners[partition] = None
            self.world.given_back(self, partition)
        self.later(seconds, member.lose, {p: member.assigned[p] for p in owned})

    def _give(self, member: Member, partition: TopicPartition) -> None:
        """Give a partition to a member, as soon as that has time for it."""
        if member.waiting is not None:
            self.later(0.1, self._give, member, partition)
        else:
            # Should it not have learned yet that it was taken away:
            member.lose({partition: member.assigned.get(partition)})
            member.assign((partition,))

    def give_again(self, partition: TopicPartition) -> None:
        """Let a partition come back from whoever had it meanwhile."""
        self.world.group.other_works(partition)
        self._give(self.random.choice(self.members), partition)
