"""The loop over a task's messages: what it says, and where its slot stands meanwhile."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from kqworker import App, Context, Reject, RetryLater, wire
from kqworker.app.context import collecting
from kqworker.runtime import invoke
from kqworker.runtime.channel import SupervisorGone
from kqworker.runtime.invoke import Invoker
from kqworker.runtime.printing import Lost
from kqworker.runtime.slot import POSITION, RECALL, Position, Slot, WorkerSlot
from kqworker.types import Ordering, Segment, Task, Verdict
from tests.runtime.bench import segment

Said = tuple[wire.Answer, Position | None]


class AtOnce:
    """A loop for coroutines that wait for nothing."""

    running = False

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        try:
            coroutine.send(None)
        except StopIteration as result:
            return result.value
        raise AssertionError("it waits for something")

    def breathe(self) -> None:
        raise AssertionError("it has no turns")


class Desk:
    """An invoker whose answers stay here, each with where the slot stood when it was sent."""

    def __init__(self, app: App) -> None:
        self.shared = Slot()
        self.slot = WorkerSlot(os.dup(self.shared.fd))
        self.said: list[Said] = []
        self.silenced: list[str] = []
        self.gone = False
        self.invoker = Invoker(app.handlers, self.slot, self, AtOnce())

    def send(self, frame: bytes | bytearray) -> None:
        if self.gone:
            raise SupervisorGone
        (answer,) = wire.supervisor_parser().feed(frame)
        if isinstance(answer, wire.Silenced):
            self.silenced.append(answer.reason)
            return
        assert isinstance(answer, wire.Answer)
        self.said.append((answer, self.shared.read()))

    def run(self, *segments: Segment, handler: int = 0, ordering: Ordering = Ordering.UNORDERED):  # type: ignore[no-untyped-def]
        self.invoker.run(Task(3, handler, ordering, segments))
        return self.said


seen: list[tuple[str, Position | None]] = []
on_message: list[Callable[[str], object]] = []
app = App("desk")


@app.handler(topic="t", output="out", time_limit=5.0)
def handle(value: str, context: Context) -> object:
    return on_message[0](value)


@app.handler(topic="u", output="out")
async def handle_async(value: str) -> object:
    return on_message[0](value)


@app.handler(topic="v")
def handle_once(value: str) -> object:
    return on_message[0](value)


handle_once.final = True


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk(app)
    seen.clear()
    on_message[:] = [lambda value: seen.append((value, desk.shared.read()))]
    collecting(True)
    yield desk
    collecting(False)
    desk.slot.close()
    desk.shared.close()


def places(positions: list[Position | None]) -> list[tuple[int, bool] | None]:
    return [None if p is None else (p.index, p.between) for p in positions]


def test_the_slot_names_each_message_while_it_runs_and_nothing_afterwards(desk: Desk) -> None:
    said = desk.run(segment(["a", "b"]), segment(["c"], partition=1))

    assert [value for value, _ in seen] == ["a", "b", "c"]
    assert places([position for _, position in seen]) == [(0, False), (1, False), (2, False)]
    started = [position.started for _, position in seen if position is not None]
    assert started == sorted(started) and started[0] > 0
    ((answer, position),) = said
    assert answer == wire.Answer(3, (), True, (), answer.seconds)
    assert places([position]) == [(3, True)]
    assert desk.shared.read() is None


@pytest.mark.parametrize("handler", [0, 1], ids=["sync", "async"])
def test_what_is_more_than_an_accept_is_sent_while_the_slot_still_names_it(
    desk: Desk, handler: int
) -> None:
    def act(value: str) -> object:
        if value == "fail":
            app.push("lost", b"dropped with the failed attempt")
            raise ValueError(value)
        if value == "push":
            app.push("p", b"pushed")
        return value.encode() if value in ("push", "return") else None

    on_message[0] = act
    said = desk.run(segment(["ok", "fail", "push", "ok", "return"]), handler=handler)

    assert places([position for _, position in said]) == [
        (1, False),
        (2, False),
        (4, False),
        (5, True),
    ]
    outcomes = [outcome for answer, _ in said for outcome in answer.outcomes]
    assert [(o.index, o.verdict) for o in outcomes] == [
        (1, Verdict.RELEASE),
        (2, Verdict.ACCEPT),
        (4, Verdict.ACCEPT),
    ]
    assert [[(o.topic, o.value) for o in outcome.outputs] for outcome in outcomes] == [
        [],
        [("p", b"pushed"), ("out", b"push")],
        [("out", b"return")],
    ]
    assert [answer.complete for answer, _ in said] == [False, False, False, True]


@pytest.mark.parametrize("handler", [0, 1], ids=["sync", "async"])
def test_no_message_sees_what_another_has_set(desk: Desk, handler: int) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    found: list[object] = []

    def act(value: str) -> object:
        found.append(variable.get())
        variable.set(value)
        if value == "fail":
            raise ValueError
        return None

    on_message[0] = act
    desk.run(segment(["a", "fail", "b"]), segment(["c"], partition=1), handler=handler)
    desk.run(segment(["d"]), handler=handler)

    assert found == ["unset"] * 5
    assert variable.get() == "unset"


@pytest.mark.parametrize("handler", [0, 1], ids=["sync", "async"])
def test_what_a_message_leaves_running_pushes_into_no_other(desk: Desk, handler: int) -> None:
    left: list[contextvars.Context] = []
    refused: list[str] = []

    def act(value: str) -> None:
        app.push("p", value.encode())
        if value == "try":
            for late in left:
                with pytest.raises(RuntimeError) as raised:
                    late.run(app.push, "p", b"late")
                refused.append(str(raised.value).partition(",")[0])
        elif value != "quiet":
            left.append(contextvars.copy_context())

    on_message[0] = act
    names = ["quiet", "quiet", "copy", "quiet", "copy"]
    desk.run(segment(names, first=5), segment(["copy"], partition=1), handler=handler)
    said = desk.run(segment(["try", "quiet"], first=80), handler=handler)

    places = "verbs[0]@7", "verbs[0]@9", "verbs[1]@0"
    assert refused == [f"{place} has ended" for place in places]
    pushed = [o.value for answer, _ in said for out in answer.outcomes for o in out.outputs]
    assert pushed == [*(name.encode() for name in names), b"copy", b"try", b"quiet"]


def test_what_a_result_sets_while_it_is_encoded_no_other_message_sees(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    found: list[str] = []

    def encode(result: object, key: bytes | None) -> None:
        found.append(variable.get())
        variable.set("set")

    monkeypatch.setattr(app.handlers[0], "encode_result", encode)
    on_message[0] = lambda value: value
    desk.run(segment(["a", "b"]), segment(["c"]))
    desk.run(segment(["d"]))

    assert found == ["unset"] * 4


def test_what_an_order_forbids_is_handed_back_with_the_failure(desk: Desk) -> None:
    def fail(value: str) -> object:
        seen.append((value, None))
        raise ValueError

    on_message[0] = fail
    said = desk.run(segment(["a", "b"]), segment(["c"]), ordering=Ordering.PARTITION)

    assert [value for value, _ in seen] == ["a"]
    assert [(a.unstarted, places([p])) for a, p in said] == [
        ((1, 2), [(0, False)]),
        ((), [(3, True)]),
    ]


def test_a_recall_ends_the_task_between_two_messages(desk: Desk) -> None:
    def recall(value: str) -> None:
        seen.append((value, None))
        desk.slot.words[RECALL] = 3

    on_message[0] = recall
    said = desk.run(segment(["a", "b"]), segment(["c"]))

    assert [value for value, _ in seen] == ["a"]
    ((answer, position),) = said
    assert (answer.complete, answer.unstarted) == (True, (1, 2))
    assert places([position]) == [(1, True)]


def test_a_task_that_was_recalled_is_not_begun(desk: Desk) -> None:
    desk.slot.words[RECALL] = 3
    said = desk.run(segment(["a", "b"]))

    assert not seen
    assert [(a.complete, a.unstarted) for a, _ in said] == [(True, (0, 1))]
    assert places([said[0][1]]) == [(0, True)]


class Words:
    """A slot's words that note in which order they are used."""

    def __init__(self, words: memoryview) -> None:
        self.words = words
        self.used: list[tuple[str, int]] = []

    def __getitem__(self, word: int) -> int:
        self.used.append(("load", word))
        return int(self.words[word])

    def __setitem__(self, word: int, value: int) -> None:
        self.used.append(("store", word))
        self.words[word] = value


def test_a_recall_is_looked_for_behind_the_store_of_each_message(desk: Desk) -> None:
    shared = desk.slot.words
    words = Words(shared)
    begun: list[tuple[str, int]] = []
    on_message[0] = lambda _: begun.extend(words.used[-2:])
    desk.slot.words = words  # type: ignore[assignment]
    try:
        desk.run(segment(["a", "b", "c"]))
    finally:
        desk.slot.words = shared

    assert begun == [("store", POSITION), ("load", RECALL)] * 3


def test_a_later_task_is_not_recalled(desk: Desk) -> None:
    desk.slot.words[RECALL] = 2
    assert desk.run(segment(["a"]))[0][0].unstarted == ()


def test_what_was_handed_back_is_not_handed_back_again(desk: Desk) -> None:
    def act(value: str) -> None:
        if value == "fail":
            desk.slot.words[RECALL] = 3
            raise ValueError

    on_message[0] = act
    said = desk.run(
        segment(["fail", "a", "b", "c"], keys=[b"k", b"l", b"k", b"k"]), ordering=Ordering.KEY
    )

    assert [(a.complete, a.unstarted) for a, _ in said] == [(False, (2, 3)), (True, (1,))]


def test_nothing_is_run_for_a_supervisor_that_has_gone(desk: Desk) -> None:
    def act(value: str) -> None:
        seen.append((value, None))
        desk.gone = True
        raise ConnectionError("the handler's own")

    on_message[0] = act
    with pytest.raises(SupervisorGone):
        desk.run(segment(["a", "b"]))
    assert [value for value, _ in seen] == ["a"]


def test_an_output_that_cannot_be_sent_fails_its_message(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_BODY", 2000)
    on_message[0] = lambda value: b"x" * 3000 if value == "large" else None

    said = desk.run(segment(["large", "ok"]))

    (outcome,) = said[0][0].outcomes
    assert outcome.verdict is Verdict.RELEASE and outcome.failure is not None
    assert outcome.failure.text.startswith("what the handler returned and pushed: 3,")
    assert said[1][0].complete


def test_a_context_knows_when_the_time_is_up(desk: Desk) -> None:
    deadlines: list[float | None] = []

    def handler(value: str, context: Context) -> None:
        deadlines.append(context.deadline)

    other = App("other")
    other.handler(topic="limited", time_limit=5.0)(handler)
    limited = Desk(other)
    limited.run(segment(["a"]))
    position = limited.shared
    assert deadlines[0] is not None and position.read() is None
    desk.slot.close()
    desk.shared.close()
    limited.shared.close()


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ValueError, Verdict.REJECT),
        (SystemExit, Verdict.REJECT),
        (RetryLater, Verdict.RELEASE),
        (Reject, Verdict.REJECT),
    ],
)
def test_what_a_final_handler_raises_is_final_unless_it_asks_for_another_attempt(
    desk: Desk, error: type[BaseException], verdict: Verdict
) -> None:
    def fail(value: str) -> None:
        raise error(5)

    on_message[0] = fail

    answer, _ = desk.run(segment(["a"]), handler=2)[0]

    (outcome,) = answer.outcomes
    assert outcome.verdict is verdict
    assert outcome.failure is not None
    assert outcome.failure.type.endswith(error.__name__)


@pytest.mark.parametrize("handler", [0, 1, 2], ids=["sync", "async", "final"])
def test_a_worker_whose_output_is_lost_hands_back_what_it_could_not_print_and_begins_no_more(
    desk: Desk, handler: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {BrokenPipeError: Lost(2, "full")}
    monkeypatch.setattr(invoke, "lost_by", lambda error: lost.get(type(error)))
    nowhere: list[int] = []
    monkeypatch.setattr(invoke, "print_nowhere", nowhere.append)
    begun: list[str] = []

    def act(value: str) -> object:
        begun.append(value)
        if value == "fail":
            raise ValueError
        if value == "print":
            app.push("lost", b"dropped with the message")
            raise BrokenPipeError
        return None

    on_message[0] = act
    said = desk.run(
        segment(["ok", "fail", "print", "d"]), segment(["e"], partition=1), handler=handler
    )

    (failed, _), (answer, position) = said
    assert begun == ["ok", "fail", "print"]
    assert [outcome.index for outcome in failed.outcomes] == [1]
    assert answer == wire.Answer(3, (), True, (2, 3, 4), answer.seconds)
    assert places([position]) == [(2, True)]
    assert desk.silenced == ["full"]
    assert nowhere == [2]

    said.clear()
    desk.run(segment(["later"]), handler=handler)
    ((answer, _),) = said
    assert (answer.outcomes, answer.unstarted, begun[3:]) == ((), (0,), [])
    assert desk.silenced == ["full"]
