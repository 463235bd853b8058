"""Simulated Kafka: a group with its committed offsets, its members, and a sink.

Members keep the promises of `kqworker.ports.Source` and no more: what they fetched may
still come after a pause, commits are slow, fail, or are refused for their size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.completion import Completion, decode, encode
from kqworker.types import Failure, Records, TopicPartition, payload_size
from tests.sim.scenario import LETTERS, Log, Message

# What cannot be read is tried again, and told with the second try and each one that follows.
RETRY_SECONDS = 1.0, 30.0

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.world import World

NOT_OWNED = "not owned"
TOO_LARGE = "OFFSET_METADATA_TOO_LARGE"


class Group:
    """What the broker knows of the group: committed offsets, and who owns what.

    Attributes:
        owners: A member, or None: somebody outside this supervisor.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.committed: dict[TopicPartition, c.Mark] = {}
        self.owners: dict[TopicPartition, Member | None] = dict.fromkeys(world.logs)

    def other_works(self, partition: TopicPartition) -> None:
        """Let another owner handle some messages, in any order, and commit or vanish."""
        world = self._world
        random, log = world.random, world.logs[partition]
        start = self.committed.get(partition, c.Mark(0, ""))
        found = decode(start.metadata, start.offset) or Completion()
        done = {offset for run in found.done for offset in range(*run)}
        waiting = [m for m in log.messages if m.offset >= start.offset and m.offset not in done]
        taken = waiting[: random.choice((0, 3, 10))]
        handled = [m for m in taken if random.random() < 0.7]
        for message in handled:
            message.finished = True
        if not taken or random.random() < 0.3:
            return
        reached = taken[-1].offset + 1
        done.update(m.offset for m in handled)
        watermark = min((m.offset for m in taken if m.offset not in done), default=reached)
        while watermark in done:
            watermark += 1
        runs: list[tuple[int, int]] = []
        for offset in sorted(o for o in done if o > watermark):
            if runs and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], offset + 1)
            else:
                runs.append((offset, offset + 1))
        attempts = {o: n for o, n in found.attempts.items() if o >= watermark}
        text = encode(
            watermark, Completion(tuple(runs), attempts, found.partitions), world.metadata_limit
        )
        self.committed[partition] = c.Mark(watermark, text or "")


class Assigned:
    """A member's place in one partition.

    Attributes:
        index: Up to which message it was handed over; `fetched` up to which its client has it.
        stumbled: It has come to what cannot be read.
    """

    __slots__ = ("fetched", "first", "index", "log", "stumbled", "told")

    def __init__(self, log: Log, committed: int | None, told: int | None) -> None:
        self.log = log
        self.first = sum(1 for m in log.messages if m.offset < (committed or 0))
        self.index = self.fetched = self.first
        self.told = -1 if told is None else told
        self.stumbled = False

    def ahead(self, paused: bool) -> bool:
        """Whether there is something to fetch, or a position to tell."""
        if self.fetched < self.log.readable() and not paused:
            return True
        return self.index == len(self.log.messages) and self.told < self.log.end


class Member:
    """One member of the group: fetches, commits, and waits in a revoke."""

    def __init__(self, life: Life, number: int) -> None:
        self.life = life
        self.number = number
        self.assigned: dict[TopicPartition, Assigned] = {}
        self.paused: set[TopicPartition] = set()
        # What its client has prefetched, in the order in which it came: one line for all.
        self._line: deque[tuple[Assigned, list[Message]]] = deque()
        self.fetching = True
        self.waiting: tuple[TopicPartition, ...] | None = None
        self._under_way: dict[TopicPartition, tuple[c.Mark, Assigned]] = {}
        self._next: dict[TopicPartition, c.Mark] = {}
        self._scheduled = False
        self._untaken = False  # a batch that the supervisor has not heard of: no second one
        self._last = 0.0

    def put(self, event: e.Event) -> None:
        """Say something; what one member says comes in order."""
        self._last = max(self._last, self.life.soon())
        self.life.post_at(self._last, event)

    # -- fetching

    def wake(self) -> None:
        """Poll soon, if there is something to fetch."""
        for assigned in self.assigned.values():
            if assigned.log.readable() <= assigned.index < len(assigned.log.messages):
                self._stumble(assigned)
        if not self._scheduled and self._ready():
            self._scheduled = True
            self.life.later(self.life.random.uniform(0.0005, 0.03), self._poll)

    def _taken(self, event: e.Fetched) -> None:
        self._untaken = False
        self.life.feed(event)
        self.wake()

    def _ready(self) -> bool:
        if self.waiting is not None or not self.fetching or self._untaken:
            return False
        return bool(self._line) or any(
            a.ahead(paused=p in self.paused) for p, a in self.assigned.items()
        )

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Throw away what was prefetched of partitions, and prefetch no more."""
        for partition in partitions:
            if partition in self.assigned:
                self.paused.add(partition)
                self._purge(self.assigned[partition])

    def _purge(self, assigned: Assigned) -> None:
        self._line = deque(entry for entry in self._line if entry[0] is not assigned)
        assigned.fetched = assigned.index

    def _prefetch(self) -> None:
        """Fetch, as the client does in a thread of its own, until its line is long enough."""
        most = self.life.world.scenario.line
        for partition, assigned in self.assigned.items():
            if sum(len(messages) for _, messages in self._line) >= most:
                return
            whole = assigned.log.messages[: assigned.log.readable()]
            messages = whole[assigned.fetched :][:most]
            if messages and partition not in self.paused:
                assigned.fetched += len(messages)
                self._line.append((assigned, messages))

    def _stumble(self, assigned: Assigned) -> None:
        if not assigned.stumbled:
            assigned.stumbled = True
            self.life.later(RETRY_SECONDS[0], self._try_again, assigned)

    def _try_again(self, assigned: Assigned) -> None:
        partition = assigned.log.partition
        if self.assigned.get(partition) is not assigned:
            return
        if assigned.index < assigned.log.readable():
            assigned.stumbled = False
            self.wake()
            return
        if self.waiting is None:
            self.life.unreadable.add(partition)
            offset = max(assigned.told, -1)
            self.put(e.Unreadable(self.number, partition, offset, "damaged"))
        self.life.later(RETRY_SECONDS[1], self._try_again, assigned)

    def _poll(self) -> None:
        self._scheduled = False
        if not self._ready():
            return
        random, most = self.life.random, self.life.world.scenario.batch
        self._prefetch()
        for assigned in self.assigned.values():
            if random.random() < 0.02:
                # As after a seek: what was fetched comes again.
                assigned.index = max(assigned.first, assigned.index - random.randint(1, 3))
                self._purge(assigned)
        batch: list[Records] = []
        left = random.randint(1, most) * max(1, len(self.assigned))
        while self._line and left > 0:
            assigned, messages = self._line.popleft()
            taken, rest = messages[:left], messages[left:]
            if rest:
                self._line.appendleft((assigned, rest))
            left -= len(taken)
            assigned.index += len(taken)
            assigned.told = taken[-1].offset + 1
            batch.append(records_of(taken))
        self._hand_over(batch)

    def _hand_over(self, batch: list[Records]) -> None:
        random = self.life.random
        positions: dict[TopicPartition, int] = {}
        for assigned in self.assigned.values():
            if assigned.index == len(assigned.log.messages):
                if assigned.told < assigned.log.end or random.random() < 0.2:
                    assigned.told = positions[assigned.log.partition] = assigned.log.end
            elif assigned.index < assigned.log.readable() and random.random() < 0.2:
                # Past a gap, as far as the next message.
                following = assigned.log.messages[assigned.index].offset
                assigned.told = positions[assigned.log.partition] = following
        if batch:
            self._untaken = True
            self._last = max(self._last, self.life.soon())
            self.life.world.at(
                self.life, self._last, self._taken, e.Fetched(tuple(batch), self.number)
            )
        if positions:
            self.put(e.Positions(positions, self.number))
        self.wake()

    # -- rebalances

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions over from whoever had them."""
        life = self.life
        group, faults, random = life.world.group, life.faults, life.random
        starts = {}
        for partition in partitions:
            committed = group.committed.get(partition)
            # Kafka knows it by other partitions, where this one's commit does not say it.
            count = life.world.scenario.first_count
            start = e.Start(None, partitions=count)
            if committed is not None:
                metadata = committed.metadata
                if faults.garbage and random.random() < faults.garbage:
                    metadata = random.choice(("1garbage", "hello", metadata[:-1], "2" + metadata))
                told = decode(metadata, committed.offset)
                tells = told is not None and told.partitions == count
                start = e.Start(committed.offset, metadata, None if tells else count)
                if faults.unknown and random.random() < faults.unknown:
                    start = e.Start(None, partitions=count)
            log = life.world.logs[partition]
            group.owners[partition] = self
            if partition in self.assigned:
                self._purge(self.assigned.pop(partition))
            self.paused.discard(partition)
            offset = committed.offset if committed else None
            self.assigned[partition] = Assigned(log, offset, start.offset)
            starts[partition] = start
        self.put(e.Assigned(self.number, starts))
        self.wake()

    def revoke(self, partitions: tuple[TopicPartition, ...], seconds: float) -> None:
        """Ask for partitions back; the thread waits for the answer."""
        self.waiting = partitions
        self.put(e.Revoked(self.number, partitions, seconds))

    def lose(self, places: Mapping[TopicPartition, Assigned | None]) -> None:
        """Learn that places were taken away, perhaps long after another got them."""
        lost = tuple(p for p, place in places.items() if place and self.assigned.get(p) is place)
        self._let_go(lost)
        if lost:
            self.put(e.Lost(self.number, lost))

    def _let_go(self, partitions: Iterable[TopicPartition]) -> None:
        owners = self.life.world.group.owners
        for partition in partitions:
            self._purge(self.assigned.pop(partition))
            # A pause would outlive the assignment: the source ends it.
            self.paused.discard(partition)
            if partition in self._next:
                self.put(e.Committed({partition: self._next.pop(partition)}, NOT_OWNED))
            if owners[partition] is self:
                owners[partition] = None

    # -- commands

    def release(self, command: c.Release) -> None:
        partitions = self.waiting
        assert partitions == command.partitions, f"{command} does not answer {partitions}"
        self.waiting = None
        world = self.life.world
        owned = [p for p in partitions if world.group.owners[p] is self]
        for partition, mark in command.marks.items():
            if partition in owned and not self._refuses(mark):
                world.group.committed[partition] = mark
        self._let_go([partition for partition in partitions if partition in self.assigned])
        for partition in owned:
            world.given_back(self.life, partition)
        self.wake()

    def _refuses(self, mark: c.Mark) -> str | None:
        life = self.life
        if len(mark.metadata) > life.world.metadata_limit:
            return TOO_LARGE
        if life.faults.commit and life.random.random() < life.faults.commit:
            return "COORDINATOR_NOT_AVAILABLE"
        return None

    def commit(self, marks: Mapping[TopicPartition, c.Mark]) -> None:
        """Send marks, one commit of a partition at a time; a newer one waits, or goes alone."""
        send = {}
        for partition, mark in marks.items():
            if partition not in self.assigned:
                self.put(e.Committed({partition: mark}, NOT_OWNED))
            elif partition in self._under_way:
                self._next[partition] = mark
            else:
                send[partition] = (mark, self.assigned[partition])
        if send:
            self._under_way.update(send)
            life = self.life
            slow = life.faults.commit_slow and life.random.random() < life.faults.commit_slow
            seconds = life.random.uniform(0.5, 3.0) if slow else life.random.uniform(0.001, 0.03)
            life.later(seconds, self._answer, send)

    def _answer(self, sent: Mapping[TopicPartition, tuple[c.Mark, Assigned]]) -> None:
        answers: dict[str | None, dict[TopicPartition, c.Mark]] = {}
        following = {}
        for partition, (mark, assigned) in sent.items():
            del self._under_way[partition]
            still = self.assigned.get(partition) is assigned
            owned = still and self.life.world.group.owners[partition] is self
            error = self._refuses(mark) if owned else NOT_OWNED
            if error is None:
                self.life.world.group.committed[partition] = mark
            answers.setdefault(error, {})[partition] = mark
            if partition in self._next:
                following[partition] = self._next.pop(partition)
        for error, marks in answers.items():
            self.put(e.Committed(marks, error, error == TOO_LARGE))
        self.commit(following)


def records_of(messages: list[Message]) -> Records:
    """Return messages of one partition as columns."""
    offsets = [m.offset for m in messages]
    whole = offsets[-1] - offsets[0] + 1 == len(offsets)
    keys = [m.key for m in messages] if any(m.key is not None for m in messages) else None
    values = [m.value for m in messages]
    return Records(
        messages[0].partition,
        range(offsets[0], offsets[-1] + 1) if whole else offsets,
        values,
        keys,
        [-1] * len(messages),
        [m.headers for m in messages] if any(m.headers for m in messages) else None,
        payload_size(keys, values),
    )


class Sink:
    """Where records go: each is answered once, some late, some with a failure."""

    def __init__(self, life: Life) -> None:
        self.life = life

    def produce(self, command: c.Produce) -> None:
        life = self.life
        late = life.faults.late and life.random.random() < life.faults.late
        seconds = life.random.uniform(5.0, 30.0) if late else life.random.uniform(0.001, 0.05)
        life.later(seconds, self._answer, command)

    def _answer(self, command: c.Produce) -> None:
        life, output = self.life, command.output
        random, faults = life.random, life.faults
        failure, retriable = None, True
        message = life.world.origin(output)
        letter = output.topic == LETTERS
        if faults.produce and random.random() < faults.produce:
            failure = Failure("KafkaError", "no answer in time")
            if random.random() < 0.3:
                life.world.landed(output)  # the answer is what was lost
        elif (message.refused and not letter) or (faults.deny and random.random() < faults.deny):
            failure, retriable = Failure("KafkaError", "too large"), False
            message.denied = message.denied or not letter
        else:
            life.world.landed(output)
        too_large = not retriable and random.random() < 0.5
        life.post(e.Delivered(command.ticket, failure, retriable, too_large))
