"""What a seed is about: handlers, messages and what each of them does, faults, and lives.

Draws everything that is fixed before the time begins. Knows nothing of events or commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from kqworker.core.circles import MOST, RESULTS
from kqworker.core.limits import Limits
from kqworker.core.policy import HandlerPolicy
from kqworker.core.retry import Retry
from kqworker.types import Headers, Ordering, TopicPartition

LETTERS = "letters"
OUT = "out"
ORDERINGS = tuple(Ordering)


class Message:
    """A message in the log, what its handler does with it, and the truth about it.

    Attributes:
        kind: How its first `times` attempts go: fail, later, crash, hang, kills: the whole
            supervisor; reject: the last of them rejects; ok: all is well at once.
        began: How often it was begun.
        outputs: Records that its handler pushes when all is well; it returns the last of them.
        refused: Kafka will never take those records.
        charged: Attempts that really failed, or on which a worker really died.
        rejected: Its handler rejected it.
        finished: Its handler returned, and all that it pushed is in the log; or its dead
            letter is; or it was given up after its attempts were used.
    """

    __slots__ = (
        "began",
        "charged",
        "denied",
        "finished",
        "headers",
        "key",
        "kind",
        "landed",
        "offset",
        "outputs",
        "partition",
        "policy",
        "refused",
        "rejected",
        "returned",
        "seconds",
        "times",
        "value",
    )

    def __init__(self, partition: TopicPartition, offset: int, policy: HandlerPolicy) -> None:
        self.partition = partition
        self.offset = offset
        self.policy = policy
        self.key: bytes | None = None
        self.value: bytes | None = b""
        self.headers: Headers | None = None
        self.kind = "ok"
        self.times = 0
        self.outputs = 0
        self.refused = False
        self.seconds = 0.01
        self.began = 0
        self.charged = 0
        self.rejected = False
        self.denied = False  # a record of it was refused for good
        self.returned = False
        self.landed: set[int] = set()  # its outputs in the log
        self.finished = False

    def goes(self, attempt: int) -> str:
        """How an attempt goes: ok, fail, later, reject, crash or hang."""
        if attempt > self.times:
            return "ok"
        if self.kind == "reject":
            return "reject" if attempt == self.times else "fail"
        return self.kind

    @property
    def exhausted(self) -> bool:
        """Whether it may be given up."""
        return self.rejected or self.denied or self.charged >= self.policy.retry.attempts

    @property
    def comes_round(self) -> bool:
        """Whether it comes of so many results in a row that it must lead to no more."""
        return self.headers is not None and self.outputs > 0

    def settled(self) -> bool:
        """Whether committing past it is right."""
        if not self.finished:
            handled = self.returned and len(self.landed) == self.outputs
            self.finished = handled or (self.policy.dead_letter is None and self.exhausted)
        return self.finished

    def __repr__(self) -> str:
        return (
            f"{self.partition}@{self.offset} {self.kind}×{self.times} outputs={self.outputs} "
            f"charged={self.charged} finished={self.finished}"
        )


class Log:
    """A partition: messages at ascending offsets with gaps, also behind the last.

    Attributes:
        damage: From this message on it cannot be read; None: all of it can.
    """

    __slots__ = ("at", "damage", "end", "messages", "partition")

    def __init__(self, partition: TopicPartition, start: int) -> None:
        self.partition = partition
        self.messages: list[Message] = []
        self.at: dict[int, Message] = {}
        self.damage: Message | None = None
        self.end = start

    def append(self, message: Message, gap: int) -> None:
        message.offset = self.end
        self.messages.append(message)
        self.at[message.offset] = message
        self.end += 1 + gap

    def readable(self) -> int:
        """How many of the messages can be read."""
        if self.damage is None or self.at.get(self.damage.offset) is not self.damage:
            return len(self.messages)
        return self.messages.index(self.damage)


@dataclass(slots=True)
class Faults:
    """How often what goes wrong; probabilities, unless said otherwise."""

    kill: float = 0.0  # a worker, at each message
    produce: float = 0.0  # a record is not taken, though it would be later
    deny: float = 0.0  # a record is refused for good
    late: float = 0.0  # a record is answered for only after half a minute
    commit: float = 0.0
    commit_slow: float = 0.0
    boot: float = 0.0  # a worker hangs, dies or fails while it boots
    hooks: float = 0.0  # stop hooks hang, or die
    undead: float = 0.0  # who is killed is not seen to end, for long
    garbage: float = 0.0  # somebody else has written metadata
    unknown: float = 0.0  # the committed offset was not to be had
    stop: float = 0.0  # a worker is stopped, or hangs, at the end or before the beginning of a task


@dataclass(slots=True)
class Plan:
    """One supervisor's life.

    Attributes:
        seconds: How long faults happen.
        actions: What is done to it, and when.
        end: kill, stop, catch up.
        graces: Of the stop: each request's time after the one before, and its seconds.
    """

    seconds: float
    actions: list[tuple[float, str]]
    end: str
    graces: list[tuple[float, float]]
    faults: Faults


@dataclass(slots=True)
class Scenario:
    """All that is drawn for a seed.

    Attributes:
        mended: By partition that is damaged, the seconds after which it is whole; None: in the
            last life.
        lag: Seconds until a worker takes a task up: it gets no processor.
        strict: Nothing but a message ends a life: nobody else is charged, nor begun too often.
        line: Messages that a member's client prefetches.
        metadata_limit: The broker's, for a completion map; `metadata_budget` what the core
            takes it for.
    """

    random: Random
    policies: list[HandlerPolicy]
    limits: Limits
    logs: dict[TopicPartition, Log]
    arrivals: list[tuple[float, Message, int]]
    lives: list[Plan]
    members: int
    batch: int
    latency: float
    lag: float = 0.0
    strict: bool = False
    line: int = 20
    metadata_limit: int = 4095
    metadata_budget: int = 4095
    speeds: list[float] = field(default_factory=list)
    mended: dict[TopicPartition, float | None] = field(default_factory=dict)

    @property
    def first_count(self) -> int | None:
        """How many partitions the topics had at the group's first start, where that is known."""
        return (None, 0, 3)[self.batch % 3]


ACTIONS = (
    "worker", "worker", "worker", "forkserver", "revoke", "revoke", "revoke", "lost", "unheard",
    "replace", "replace", "fenced",
)  # fmt: skip


def draw(seed: int) -> Scenario:
    """Draw a seed's scenario."""
    random = Random(seed)
    policies = [_policy(random, number) for number in range(random.choice((1, 1, 2, 3)))]
    limits = Limits(
        workers=random.choice((1, 2, 2, 3, 4)),
        messages=random.choice((4, 20, 20, 1000)),
        size=random.choice((60, 1 << 20, 1 << 20)),
        commit_interval=random.choice((0.2, 1.0, 1.0, 3.0, 8.0)),
        boot_seconds=random.choice((1.0, 5.0)),
        grace=random.choice((0.5, 5.0, 30.0)),
        reloads=random.random() < 0.2,
    )
    speeds = [random.choice((0.0001, 0.002, 0.02, 0.2, 0.6, 3.0)) for _ in policies]
    bad = random.choice((0.0, 0.1, 0.3))
    kinds, counts, spreads = KINDS, (0, 4, 12, 30), (0.0, 2.0, 10.0)
    if random.random() < 0.03:
        # Much that is good, and some that kills, in the same large frames.
        speeds, bad, kinds = [0.0001] * len(policies), 0.25, ("crash",)
        limits = replace(limits, workers=1, messages=1000, size=1 << 20)
        counts, spreads = (40,), (0.0,)
    logs: dict[TopicPartition, Log] = {}
    arrivals: list[tuple[float, Message, int]] = []
    for policy, speed in zip(policies, speeds, strict=True):
        gappy = random.choice((0.0, 0.0, 0.2))
        keyed = random.choice((0.0, 0.5, 1.0))
        slow = random.choice((0.0, 0.0, 0.05, 0.2))
        for number in range(random.choice((1, 2, 3))):
            partition = TopicPartition(policy.topic.strip("^"), number)
            logs[partition] = Log(partition, random.choice((0, 0, 50)))
            spread = random.choice(spreads)
            for _ in range(random.choice(counts)):
                message = Message(partition, 0, policy)
                _fill(random, message, speed, keyed, bad, kinds)
                if random.random() < slow:
                    message.seconds = random.choice((0.3, 1.5, 6.0))
                gap = random.randint(1, 4) if random.random() < gappy else 0
                arrivals.append((random.random() * spread, message, gap))
    arrivals.sort(key=lambda arrival: arrival[0])
    lives = [_plan(random) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    # By a generator of its own: what older faults have found stays where it was found.
    other = Random(~seed)
    for plan in lives:
        if other.random() < 0.1:
            plan.faults.stop = other.choice((0.05, 0.3))
    scaling = Random(f"scale {seed}")
    for plan in lives:
        if scaling.random() < 0.2:
            times = [scaling.random() * plan.seconds for _ in range(scaling.choice((1, 2, 5)))]
            plan.actions += [(when, "scale") for when in times]
    # And by another one.
    damaged = _damage(Random(f"damage {seed}"), logs, arrivals)
    lives.append(Plan(0.0, [], random.choice(("stop", "catch up")), [(0.0, 60.0)], Faults()))
    limits = replace(limits, suspects=other.random() < 0.5)
    limits = replace(limits, ahead=other.choice((150, 1500, 1 << 20)))
    line = other.choice((1, 5, 40))
    return Scenario(
        random=random,
        policies=policies,
        limits=limits,
        logs=logs,
        arrivals=arrivals,
        lives=lives,
        members=random.choice((1, 1, 2)),
        batch=random.choice((1, 5, 20)),
        latency=random.choice((0.0, 0.001, 0.03)),
        lag=random.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4)),
        line=line,
        metadata_limit=random.choice((4095, 4095, 4095, 30, 14)),
        metadata_budget=random.choice((4095, 4095, 40, 20)),
        speeds=speeds,
        mended=damaged,
    )


def _damage(
    random: Random,
    logs: dict[TopicPartition, Log],
    arrivals: list[tuple[float, Message, int]],
) -> dict[TopicPartition, float | None]:
    """Damage some of the logs; return when each is mended."""
    mended: dict[TopicPartition, float | None] = {}
    if random.random() < 0.8:
        return mended
    for partition, log in logs.items():
        messages = [message for _, message, _ in arrivals if message.partition == partition]
        if messages and random.random() < 0.5:
            log.damage = random.choice(messages)
            mended[partition] = random.choice((None, random.uniform(0.0, 40.0)))
    return mended


def _policy(random: Random, number: int) -> HandlerPolicy:
    retry = Retry(
        attempts=random.choice((1, 2, 3, 3)),
        first=random.choice((0.0, 0.3, 1.0)),
        cap=3.0,
        jitter=random.random() < 0.5,
    )
    return HandlerPolicy(
        name=f"handler{number}",
        topic=random.choice(("", "^")) + f"topic{number}",
        ordering=random.choice(ORDERINGS),
        retry=retry,
        dead_letter=random.choice((LETTERS, LETTERS, None)),
        time_limit=random.choice((None, None, 0.1, 1.0, 2.5)),
    )


KINDS = (
    "fail",
    "fail",
    "fail",
    "later",
    "reject",
    "crash",
    "hang",
    "outputs",
    "outputs",
    "refused",
)


def _fill(
    random: Random,
    message: Message,
    speed: float,
    keyed: float,
    bad: float,
    kinds: tuple[str, ...],
) -> None:
    message.seconds = speed * random.uniform(0.5, 1.5)
    if random.random() < keyed:
        message.key = random.choice((b"a", b"b", b""))
    message.value = None if random.random() < 0.05 else b"v" * random.choice((0, 1, 10, 10))
    if random.random() < 0.1:
        row = (RESULTS, b"%d" % MOST)
        message.headers = (("trace", b"1"), ("kqworker-attempts", b"9"), row)
    if random.random() >= bad:
        message.outputs = int(random.random() < bad / 2)
        return
    kind = random.choice(kinds)
    if kind == "hang" and message.policy.time_limit is None:
        kind = "fail"
    if kind in ("outputs", "refused"):
        message.outputs = random.choice((1, 2))
        message.refused = kind == "refused"
        return
    message.kind = kind
    message.times = random.choice((1, 1, 2, 3, 99))
    if kind == "reject":
        message.times = min(message.times, message.policy.retry.attempts)
    if random.random() < 0.2:
        message.outputs = 1


def _plan(random: Random) -> Plan:
    seconds = random.choice((1.0, 4.0, 12.0))
    count = random.choice((0, 0, 1, 2, 4))
    actions = sorted((random.random() * seconds, random.choice(ACTIONS)) for _ in range(count))
    end = random.choice(("kill", "stop", "stop", "catch up"))
    graces = [(0.0, random.choice((0.0, 0.0, 0.1, 1.0, 40.0)))]
    if random.random() < 0.2:
        actions.append((seconds - 0.001, "replace"))  # and then the end
    if random.random() < 0.5:
        graces.append((random.choice((0.0, 0.01, 0.3, 3.0)), random.choice((0.0, 0.0, 0.5, 5.0))))

    def rate(*high: float) -> float:
        return random.choice(high) if random.random() < 0.35 else 0.0

    faults = Faults(
        kill=rate(0.02, 0.1, 0.3),
        produce=rate(0.3, 0.8),
        deny=rate(0.2),
        late=rate(0.3),
        commit=rate(0.3, 0.9),
        commit_slow=rate(0.5),
        boot=rate(0.2, 0.5),
        hooks=rate(0.5),
        undead=rate(0.0, 0.0, 0.3),
        garbage=rate(0.3),
        unknown=rate(0.3),
    )
    return Plan(seconds, actions, end, graces, faults)
