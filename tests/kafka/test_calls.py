"""Handlers that are called otherwise than they look: decorated, or returning what has not run."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from tests.kafka.cluster import Cluster
from tests.kafka.records import consume, produce
from tests.kafka.shops import CAUGHT_UP, Shop, Start, values
from tests.kafka.supervisors import Supervise

UNRUN = ("generator", "future", "forgotten")
TOPICS = (
    *UNRUN,
    "awaited",
    "injected",
    "asks",
    "leaks",
    "leaks-async",
    "results",
    "models",
    "checked",
)


def prefix_of_topics(kafka: Cluster) -> str:
    prefix = f"c-{uuid.uuid4().hex[:8]}-"
    for name in TOPICS:
        kafka.create_topic(prefix + name)
    return prefix


def app(kafka: Cluster) -> dict[str, str]:
    return {"app": "tests.kafka.calls:app", "output": kafka.new_topic()}


def lines(folder: Path) -> list[object]:
    return sorted(
        json.loads(line)
        for path in folder.rglob("*.given")
        for line in path.read_text().splitlines()
    )


def test_a_call_that_runs_nothing_is_a_failed_attempt(kafka: Cluster, supervise: Supervise) -> None:
    prefix = prefix_of_topics(kafka)
    for name in (*UNRUN, "awaited", "injected", "asks"):
        produce(kafka, prefix + name, [b"a"])
    dead = kafka.new_topic()

    supervisor = supervise(kafka, prefix, "--until-caught-up", dead_letter=dead, **app(kafka))
    assert supervisor.wait() == 6, supervisor

    assert lines(supervise.journal) == [
        ["asks", "a", 0],
        ["awaited", "a"],
        ["injected", "a", "session"],
    ]
    said = {}
    for letter in consume(kafka, dead):
        told = {name: (value or b"").decode() for name, value in letter.headers() or []}
        assert (told["kqworker-error-type"], told["kqworker-attempts"]) == ("TypeError", "2")
        said[told["kqworker-topic"].removeprefix(prefix)] = told["kqworker-error-text"]
    assert set(said) == set(UNRUN)
    assert "returned a generator, whose work nobody has run" in said["generator"]
    assert "Future, whose work nobody has run" in said["future"]
    assert "returned a coroutine: write async def" in said["forgotten"]


def test_messages_leave_each_other_nothing_and_the_loop_runs_beside_them(
    kafka: Cluster, supervise: Supervise
) -> None:
    prefix = prefix_of_topics(kafka)
    for name in ("leaks", "leaks-async"):
        produce(kafka, prefix + name, values(50))

    supervisor = supervise(kafka, prefix, dead_letter=kafka.new_topic(), **app(kafka))
    supervisor.until(lambda: len(lines(supervise.journal)) == 100, "100 handled")
    assert lines(supervise.journal) == [["leaks", "nobody", 28]] * 100

    # Nothing comes any more.
    def ticks() -> int:
        return sum(path.stat().st_size for path in supervise.journal.rglob("*.ticks"))

    before = ticks()
    supervisor.until(lambda: ticks() > before + 50, "50 ticks")
    assert supervisor.stop() == 0, supervisor


def test_a_result_keeps_its_messages_key_and_a_number_that_json_lacks_fails(
    kafka: Cluster, supervise: Supervise
) -> None:
    prefix, dead, told = prefix_of_topics(kafka), kafka.new_topic(), app(kafka)
    sent = [b"plain", b"key", b"keyless", b"nan"]
    produce(kafka, prefix + "results", sent, [b"k"] * len(sent))

    supervisor = supervise(kafka, prefix, "--until-caught-up", dead_letter=dead, **told)
    assert supervisor.wait() == 6, supervisor

    found = sorted(
        (record.value(), record.key() or b"", record.headers() or [])
        for record in consume(kafka, told["output"])
    )
    assert found == [
        (b"v", b"", []),
        (b"v", b"other", [("h", b"1")]),
        (b'{"of":"plain"}', b"k", []),
    ]
    (letter,) = consume(kafka, dead)
    text = dict(letter.headers() or [])["kqworker-error-text"].decode()
    assert text.startswith("cannot encode dict as JSON: $.rate[1] is nan")


def test_what_a_constructor_or_pydantic_refuses_has_no_further_attempt(
    kafka: Cluster, supervise: Supervise
) -> None:
    prefix, dead, told = prefix_of_topics(kafka), kafka.new_topic(), app(kafka)
    produce(kafka, prefix + "models", [b'{"a": {"id": 7}}', b'{"a": {"id": 0}}'])
    produce(kafka, prefix + "checked", [b'[{"id": 7}]', b'[{"id": 0}]'])

    supervisor = supervise(kafka, prefix, "--until-caught-up", dead_letter=dead, **told)
    assert supervisor.wait() == 6, supervisor

    assert lines(supervise.journal) == [["checked", 7]]
    assert [record.value() for record in consume(kafka, told["output"])] == [b'{"id":7}']
    said = {}
    for letter in consume(kafka, dead):
        headers = {name: (value or b"").decode() for name, value in letter.headers() or []}
        assert headers["kqworker-attempts"] == "1"
        assert headers["kqworker-error-type"] == "kqworker.errors.DecodeError"
        said[headers["kqworker-topic"].removeprefix(prefix)] = headers["kqworker-error-text"]
    assert set(said) == {"models", "checked"}
    assert "for dict[str, Model]: a.id: " in said["models"]
    assert said["checked"].endswith("for list[Checked]: KeyError: 'id'")


QUEUE = """\
def handle(key, value):
    return (print("ran", letter) for letter in value)

def heard(context, message, error):
    print("heard", error)
"""


def test_a_queues_handler_that_runs_nothing_has_failed(shop: Shop, start: Start) -> None:
    shop.configure(Kqworker=CAUGHT_UP)
    shop.program(QUEUE, ", kq.with_error_handler(heard)")
    produce(shop.cluster, shop.topic, values(2), partitions=2)

    program = start("main.py")

    assert program.wait() == 6, program
    assert len(program.starting("heard the handler returned a generator, whose work nobody")) == 2
    assert "ran" not in [line.split()[0] for line in program.lines if line]
