"""The commands on Apache Kafka, which is stricter than the built-in broker."""

from __future__ import annotations

import json
import re
import sys

import pytest
from confluent_kafka.admin import AdminClient

from kqworker.demo.job import FILES, RESULTS
from tests.kafka.cluster import Cluster
from tests.kafka.command import Command, run
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import consume

APP = """\
from kqworker import App, Reject

app = App("shop")

@app.handler(topic={orders!r}, output={bills!r}, dead_letter={refused!r})
def bill(order: dict) -> dict:
    if order["price"] < 0:
        raise Reject("nobody pays you")
    return {{"due": order["price"] * 2}}
"""
# The whole standard library twice would take too long.
DEMO = """\
import itertools
import kqworker.demo
from kqworker.cli import main

every = kqworker.demo.source_files
kqworker.demo.source_files = lambda: itertools.islice(every(), 120)
main()
"""


@pytest.fixture
def shop(kafka: Cluster, topic: NewTopic, kqworker: Command) -> tuple[str, str, str]:
    """An app in app.py, and its topics: orders, bills, refused."""
    names = topic(3), topic(), topic()
    orders, bills, refused = names
    text = APP.format(orders=orders, bills=bills, refused=refused)
    (kqworker.folder / "app.py").write_text(text)
    (kqworker.folder / "kqworker.yaml").write_text(f"brokers: {kafka.bootstrap}\n")
    return names


def names_of_topics(cluster: Cluster) -> set[str]:
    return set(AdminClient(cluster.client).list_topics(timeout=20).topics)


def test_what_is_pushed_is_checked_and_run(
    kafka: Cluster, kqworker: Command, shop: tuple[str, str, str]
) -> None:
    orders, bills, refused = shop
    prices = [*range(40), -1]
    lines = "".join(json.dumps({"price": price}) + "\n" for price in prices)
    (kqworker.folder / "orders.jsonl").write_text(lines)

    pushed = kqworker("push", orders, "--file", "orders.jsonl")
    checked = kqworker("check", "app:app")
    ran = kqworker("run", "app:app", "-w", "2", "--until-caught-up")
    again = kqworker("run", "app:app", "-w", "2", "--until-caught-up")

    assert (pushed.code, pushed.out) == (0, f"pushed 41 messages to {orders}\n"), pushed
    assert checked.code == 0, checked
    assert f"{orders} (3)" in checked.out
    assert f"{kafka.bootstrap}, {kafka.brokers} up" in checked.out
    # One message failed, and once it is in the dead letters it does so no more.
    assert ran.code == 6, ran
    assert "40 handled · 1 failed" in ran.err
    assert again.code == 0, again
    assert "0 handled · 0 failed" in again.err
    due = sorted(json.loads(message.value())["due"] for message in consume(kafka, bills))
    assert due == [2 * price for price in range(40)]
    (letter,) = consume(kafka, refused)
    assert json.loads(letter.value()) == {"price": -1}
    assert dict(letter.headers())["kqworker-error-text"] == b"nobody pays you"
    ends = kafka.end_offsets(orders)
    committed = kafka.committed("shop", orders)
    assert {p: c.offset for p, c in committed.items()} == {p: e for p, e in ends.items() if e}


def test_one_payload_is_pushed_with_its_key_and_headers(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    name = topic()
    options = ("--brokers", kafka.bootstrap, "--key", "k", "-H", "a=1", "-H", "b=two")

    ended = kqworker("push", name, "päyload", *options)

    assert (ended.code, ended.out) == (0, f"pushed 1 message to {name}[0] at offset 0\n"), ended
    (message,) = consume(kafka, name)
    assert (message.key(), message.value()) == (b"k", "päyload".encode())
    assert message.headers() == [("a", b"1"), ("b", b"two")]


def test_lines_of_standard_input_are_pushed_in_order(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    name, lines = topic(), [b"%d" % n for n in range(20_000)]

    ended = kqworker("push", name, "-b", kafka.bootstrap, stdin=b"\n".join(lines).decode())

    assert (ended.code, ended.out) == (0, f"pushed 20,000 messages to {name}\n"), ended
    assert [message.value() for message in consume(kafka, name)] == lines


def test_blank_lines_and_line_ends_of_standard_input_are_pushed_as_they_are(
    kafka: Cluster, kqworker: Command, topic: NewTopic
) -> None:
    name = topic()

    ended = kqworker("push", name, "-b", kafka.bootstrap, stdin="a \r\n\n\tb\n\nc")
    nothing = kqworker("push", name, "-b", kafka.bootstrap, stdin="")

    assert (ended.code, ended.out) == (0, f"pushed 5 messages to {name}\n"), ended
    assert [m.value() for m in consume(kafka, name)] == [b"a \r", b"", b"\tb", b"", b"c"]
    assert (nothing.code, nothing.err) == (
        2,
        "error: nothing to push: standard input holds nothing\n",
    )


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("missing", range(3), ids=["read", "output", "dead-letter"])
def test_a_missing_topic_is_told_with_the_nearest_and_not_created(
    kafka: Cluster, kqworker: Command, shop: tuple[str, str, str], command: str, missing: int
) -> None:
    wrong = shop[missing] + "x"
    app = kqworker.folder / "app.py"
    app.write_text(app.read_text().replace(shop[missing], wrong))

    ended = kqworker(command, "app:app")

    assert ended.code == 3, ended
    assert f"topic {wrong!r} does not exist (did you mean {shop[missing]!r}?)" in ended.error
    assert wrong not in names_of_topics(kafka)


def test_nothing_is_pushed_to_a_topic_that_is_missing(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    name = topic()

    ended = kqworker("push", f"{name}x", "payload", "-b", kafka.bootstrap)

    assert ended.code == 3, ended
    assert f"topic '{name}x' does not exist (did you mean {name!r}?)" in ended.error
    assert f"{name}x" not in names_of_topics(kafka)


def test_check_consumes_and_commits_nothing(
    kafka: Cluster, kqworker: Command, shop: tuple[str, str, str]
) -> None:
    assert kqworker("push", shop[0], '{"price": 1}').code == 0

    assert kqworker("check", "app:app", "--group", "checked").code == 0
    assert kafka.committed("checked", shop[0]) == {}
    assert consume(kafka, shop[1]) == []


def test_the_demo_runs_on_a_cluster(kafka: Cluster, kqworker: Command) -> None:
    # Somebody may have run it there before.
    there = names_of_topics(kafka) & {FILES, RESULTS}
    before = sum(sum(kafka.end_offsets(name).values()) for name in there)
    program = (sys.executable, "-c", DEMO)

    ended = run(
        program, "demo", "--brokers", kafka.bootstrap, "--workers", "2", folder=kqworker.folder
    )

    assert ended.code == 0, ended
    assert ended.out.startswith("120 source files of Python ")
    assert re.search(r"^120 files in [\d.]+ s with 2 workers: \d+ files/s$", ended.out, re.M)
    assert re.search(r"^[\d.]+ times as fast as one worker", ended.out, re.M)
    assert "Traceback" not in ended.text
    # Once with one worker, once with two: each time a path and a result for every file.
    after = sum(sum(kafka.end_offsets(name).values()) for name in (FILES, RESULTS))
    assert after - before == 4 * 120
