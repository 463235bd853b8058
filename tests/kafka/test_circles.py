"""What apps produce does not come round for ever, on Apache Kafka."""

from __future__ import annotations

from confluent_kafka import Producer

from kqworker.core.deadletter import ROUNDS
from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import PATIENCE, consume

APP = """\
from kqworker import App, Reject

app = App({group!r})

@app.handler(topic={topic!r}, dead_letter={dead!r})
def refuse(value: bytes) -> None:
    raise Reject("no")
"""


def test_two_apps_that_send_each_other_their_dead_letters_end_the_circle(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    one, other = topic(), topic()
    for name, there in ((one, other), (other, one)):
        text = APP.format(group=name, topic=name, dead=there)
        (kqworker.folder / f"app_{name.replace('-', '_')}.py").write_text(text)
    # It has been round often, so that the test need not wait for it.
    headers = [("kqworker-topic", other.encode()), ("kqworker-handler", b"there")]
    with Producer(kafka.client) as producer:
        producer.produce(one, b"x", headers=[*headers, ("kqworker-round", b"%d" % (ROUNDS - 2))])
        assert producer.flush(PATIENCE) == 0

    ran = []
    for name in (one, other):
        module = f"app_{name.replace('-', '_')}:app"
        ran.append(kqworker("run", module, "-w", "1", "--until-caught-up", "-b", kafka.bootstrap))

    assert [ended.code for ended in ran] == [6, 6], ran
    assert [len(consume(kafka, name)) for name in (one, other)] == [1, 1]
    assert "DROPPED" not in ran[0].err
    (line,) = [
        line for line in ran[1].err.splitlines() if "message DROPPED: its dead letters" in line
    ]
    assert f"{other}[0]@0" in line and f"refuse ({one})" in line and f"to {one}" in line


def test_an_app_whose_dead_letters_meet_does_not_start(
    kafka: Cluster, topic: NewTopic, kqworker: Command
) -> None:
    one, other = topic(), topic()
    both = APP.format(group=one, topic=one, dead=other)
    both += f"""
@app.handler(topic={other!r}, dead_letter={one!r})
def again(value: bytes) -> None:
    pass
"""
    (kqworker.folder / "app.py").write_text(both)

    for command in ("run", "check"):
        ended = kqworker(command, "app:app", "-b", kafka.bootstrap)

        assert ended.code == 2, ended
        assert f"refuse (app.py:5): dead_letter={other!r} is read by app.again" in ended.text
        assert f"app.again (app.py:9): dead_letter={one!r} is read by app.refuse" in ended.text
