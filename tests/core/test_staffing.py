"""How many workers there are, and where they sit, while another number of them is wanted."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.pool import State
from kqworker.core.snapshot import Seated
from kqworker.types import Failure
from tests.core.supervised import BOOM, Supervised, notes, offsets_of, running, tasks, the, those

SYNTAX = Failure("ConfigError", "module 'app' cannot be imported")


def seats(supervisor: Supervised) -> list[int]:
    return [at.seat for at in supervisor.core.snapshot().seats]


def working(workers: int) -> Supervised:
    """A supervisor each of whose workers is on a message: worker n has offset n - 1."""
    supervisor = running(workers=workers)
    supervisor.fetch(*range(workers))
    assert [offsets_of(task) for task in supervisor.tasks()] == [[n] for n in range(workers)]
    return supervisor


def test_the_first_workers_sit_from_0_on() -> None:
    started = those(Supervised(workers=3).seen, c.StartWorker)
    assert started == [c.StartWorker(1, 0), c.StartWorker(2, 1), c.StartWorker(3, 2)]


def test_a_successor_sits_where_the_dead_one_sat() -> None:
    supervisor = running(workers=3)
    assert the(supervisor.die(2), c.StartWorker) == c.StartWorker(4, 1)
    assert the(supervisor.die(1), c.StartWorker) == c.StartWorker(5, 0)


def test_a_replacement_waits_for_the_seat() -> None:
    supervisor = running(workers=2)
    assert not those(supervisor.on(e.Replace()), c.StartWorker)
    started = supervisor.die(2, cause=e.Cause.STOPPED) + supervisor.die(1, cause=e.Cause.STOPPED)
    assert those(started, c.StartWorker) == [c.StartWorker(3, 1), c.StartWorker(4, 0)]


def test_what_is_seen_of_workers_says_where_they_sit() -> None:
    supervisor = running(workers=2)
    supervisor.fetch(0)
    supervisor.die(1, supervisor.seen_task())

    assert supervisor.core.snapshot().seats == (
        Seated(0, 3, State.STARTING, 0),
        Seated(1, 2, State.IDLE, 0),
    )


def test_a_death_is_told_with_the_seat() -> None:
    supervisor = working(2)
    (died, _) = those(supervisor.die(2, supervisor.seen_task()), c.Report)
    assert (died.kind, died.worker, died.seat) == (c.ReportKind.WORKER_DIED, 2, 1)

    idle = running(workers=2)
    assert the(idle.die(2), c.Report).seat == 1


# -- more


def test_more_workers_come_at_once_while_others_work() -> None:
    supervisor = working(2)
    assert supervisor.on(e.Scale(4)) == [c.StartWorker(3, 2), c.StartWorker(4, 3)]

    supervisor.fetch(7)
    assert offsets_of(the(supervisor.boot(4), c.Send).task) == [7]
    assert supervisor.core.snapshot().in_flight == 3


def test_the_same_number_again_changes_nothing() -> None:
    supervisor = working(2)
    assert supervisor.on(e.Scale(2)) == []


# -- fewer


def test_the_highest_seats_go_and_end_no_work() -> None:
    supervisor = working(4)
    first, second, third, fourth = supervisor.tasks()

    assert supervisor.on(e.Scale(2)) == [c.Recall(3), c.Recall(4)]
    assert supervisor.core.snapshot().in_flight == 4
    assert tasks(supervisor.fetch(4, 5, 6, 7)) == []  # how long one takes is unknown

    assert supervisor.accept(fourth, worker=4) == [c.StopWorker(4)]
    assert supervisor.accept(third, worker=3) == [c.StopWorker(3)]
    ended = supervisor.die(4, cause=e.Cause.STOPPED) + supervisor.die(3, cause=e.Cause.STOPPED)
    assert not those(ended, c.StartWorker)
    assert seats(supervisor) == [0, 1]
    assert tasks(supervisor.accept(first, worker=1)) and tasks(supervisor.accept(second, worker=2))
    assert supervisor.core.snapshot().handled == 4
    assert notes(supervisor.seen) == []


def test_who_is_idle_goes_at_once_and_who_boots_is_ended() -> None:
    supervisor = Supervised(workers=3)
    supervisor.boot(1, 3)
    assert supervisor.on(e.Scale(1)) == [c.KillWorker(2), c.StopWorker(3)]
    assert supervisor.die(2, cause=e.Cause.KILLED) == []
    assert supervisor.die(3, cause=e.Cause.STOPPED) == []
    assert seats(supervisor) == [0]
    assert supervisor.core.snapshot().restarts == 0


def test_who_is_to_go_and_crashes_has_no_successor() -> None:
    supervisor = working(2)
    task = supervisor.seen_task()
    supervisor.on(e.Scale(1))

    commands = supervisor.die(2, task)

    assert notes(commands) == [c.ReportKind.WORKER_DIED, c.ReportKind.RETRYING]
    assert not those(commands + supervisor.tick(0.5), c.StartWorker)


def test_who_was_killed_as_it_booted_and_fails_to_has_no_successor() -> None:
    supervisor = Supervised(workers=2, reloads=True, boot_seconds=3.0)
    supervisor.boot(1)
    assert supervisor.tick(3.0) == [c.KillWorker(2)]
    supervisor.on(e.Scale(1))

    assert supervisor.on(e.BootFailed(2, SYNTAX)) == []
    assert supervisor.on(e.Replace()) == [c.StopWorker(1)]


def test_a_successor_that_is_still_to_come_is_called_off() -> None:
    supervisor = running(workers=3)
    for worker in (2, 3):
        supervisor.die(worker)
    supervisor.on(e.BootFailed(4, BOOM))  # the next ones come in a while
    supervisor.on(e.BootFailed(5, BOOM))
    supervisor.on(e.Scale(2))

    assert those(supervisor.tick(30.0), c.StartWorker) == [c.StartWorker(6, 1)]
    supervisor.on(e.Scale(1))
    supervisor.on(e.Scale(3))
    assert those(supervisor.seen, c.StartWorker)[-1] == c.StartWorker(7, 2)


def test_whom_a_broken_app_keeps_waiting_is_forgotten_first() -> None:
    supervisor = Supervised(workers=2, reloads=True)
    supervisor.boot(1, 2)
    supervisor.die(2)
    supervisor.on(e.BootFailed(3, SYNTAX))

    assert supervisor.on(e.Scale(1)) == []
    assert those(supervisor.on(e.Replace()), c.StartWorker) == []


# -- to and fro


def test_who_goes_although_more_are_wanted_again_has_a_successor() -> None:
    supervisor = working(2)
    task = supervisor.seen_task()
    supervisor.on(e.Scale(1))
    assert supervisor.on(e.Scale(3)) == [c.StartWorker(3, 2)]

    assert supervisor.accept(task, worker=2) == [c.StopWorker(2)]
    started = the(supervisor.die(2, cause=e.Cause.STOPPED), c.StartWorker)
    assert started == c.StartWorker(4, 1)
    assert seats(supervisor) == [0, 1, 2]


def test_while_a_stop_drains_nobody_comes() -> None:
    supervisor = working(1)
    supervisor.stop()
    assert supervisor.on(e.Scale(3)) == []
    assert supervisor.accept(supervisor.seen_task()) != []
    assert not those(supervisor.tick(60.0), c.StartWorker)


class Staff(RuleBasedStateMachine):
    """A run with work, whose workers boot, work, fail and die while their number changes."""

    def __init__(self) -> None:
        super().__init__()
        self.supervisor = Supervised(workers=2)
        self.supervisor.assign()
        self.target = self.most = 2
        self.offset = 0
        self.live: dict[int, int] = {}  # seats by worker
        self.starting: set[int] = set()
        self.going: set[int] = set()  # told to end
        self.tasks: dict[int, list[int]] = {}  # by worker
        self.ended_at_work = 0
        self.take(self.supervisor.seen)

    def take(self, commands: list[c.Command]) -> None:
        for command in commands:
            match command:
                case c.StartWorker():
                    assert command.seat not in self.live.values()
                    assert command.seat < self.target
                    self.live[command.worker] = command.seat
                    self.starting.add(command.worker)
                case c.Send():
                    self.tasks.setdefault(command.worker, []).append(command.task.id)
                case c.KillWorker() | c.StopWorker():
                    self.going.add(command.worker)
                    self.ended_at_work += bool(self.tasks.get(command.worker))
                case c.Stopped():
                    raise AssertionError("nobody has asked for a stop")

    def on(self, event: e.Event) -> None:
        self.take(self.supervisor.on(event))

    @rule(wanted=st.integers(1, 5))
    def scale(self, wanted: int) -> None:
        self.target, self.most = wanted, max(self.most, wanted)
        self.on(e.Scale(wanted))

    @rule()
    def fetch(self) -> None:
        self.take(self.supervisor.fetch(self.offset))
        self.offset += 1

    @precondition(lambda self: self.starting - self.going)
    @rule(data=st.data())
    def boot(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.starting - self.going)))
        self.starting.remove(worker)
        self.take(self.supervisor.boot(worker))

    @precondition(lambda self: any(self.tasks.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, tasks in self.tasks.items() if tasks)))
        self.on(e.Finished(worker, self.tasks[worker].pop(0), complete=True, seconds=0.5))

    @precondition(lambda self: self.going)
    @rule()
    def end(self) -> None:
        """Who was told to end, ends."""
        for worker in sorted(self.going):
            self.gone(worker, e.Cause.STOPPED)

    @precondition(lambda self: set(self.live) - self.starting)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(set(self.live) - self.starting)))
        self.gone(worker, e.Cause.CRASHED)
        self.finish_one()  # or it would be a crash loop

    def gone(self, worker: int, cause: e.Cause) -> None:
        task = (self.tasks.pop(worker, None) or [None])[0]
        del self.live[worker]
        self.starting.discard(worker)
        self.going.discard(worker)
        self.on(e.WorkerDied(worker, cause, task, 0, "gone"))

    def finish_one(self) -> None:
        for worker, mine in self.tasks.items():
            if mine:
                self.on(e.Finished(worker, mine.pop(0), complete=True, seconds=0.5))
                return

    @invariant()
    def what_is_shown_is_so(self) -> None:
        shown = [(at.seat, at.worker) for at in self.supervisor.core.snapshot().seats]
        assert shown == sorted((seat, worker) for worker, seat in self.live.items())

    @invariant()
    def nobody_sits_higher_than_ever_wanted(self) -> None:
        assert all(seat < self.most for seat in self.live.values())

    @invariant()
    def no_work_was_ended(self) -> None:
        assert not self.ended_at_work

    def teardown(self) -> None:
        """In the end there are as many as are wanted, once who goes has gone."""
        for _ in range(3):
            while any(self.tasks.values()):
                self.finish_one()
            for worker in sorted(self.going):
                self.gone(worker, e.Cause.STOPPED)
            self.take(self.supervisor.tick(self.supervisor.now + 6.0))
            for worker in sorted(self.starting - self.going):
                self.starting.remove(worker)
                self.take(self.supervisor.boot(worker))
        assert sorted(self.live.values()) == list(range(self.target))


TestStaff = Staff.TestCase
TestStaff.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
