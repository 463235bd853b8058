"""What is decided before the start, and what the built-in broker is spared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kqworker import App, Retry, preflight
from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka.devbroker import PROPERTIES, DevBroker, create_topics, start_dev_broker
from kqworker.settings.settings import Settings

app = App("shop")


@app.handler(topic="in", output="out", dead_letter="dead", time_limit=5, retry=Retry(attempts=1))
def one(x: str) -> str:
    return x


@app.handler(topic="^logs", dead_letter="dead")
def two(x: str) -> None: ...


ELSEWHERE = Settings(brokers=("a:1", "b:2"))


@pytest.fixture
def broker(here: Path) -> Iterator[DevBroker]:
    with start_dev_broker() as broker:
        yield broker


def settings_for(broker: DevBroker) -> Settings:
    return Settings(brokers=(broker.address,), startup_timeout=5.0)


def test_a_plan_has_the_topics_and_what_is_produced(here: Path) -> None:
    plan = preflight.plan(app, replace(ELSEWHERE, members=2))

    assert plan.connection == preflight.Connection("a:1,b:2", {}, built_in=False)
    assert plan.group == "shop"
    assert plan.topics == ("in", "^logs")
    assert plan.produced == ("dead", "out")
    assert len(plan.consumers) == 2


def test_handlers_that_send_each_other_what_they_produce_are_refused(here: Path) -> None:
    round_ = App("round")
    round_.handler(topic="a", dead_letter="b", name="first")(lambda x: None)
    round_.handler(topic="^b", output="a", name="second")(lambda x: None)

    with pytest.raises(ConfigError) as refused:
        # Whichever are run here: another run may have the others.
        preflight.plan(round_, replace(ELSEWHERE, topics=("a",)))

    what, *steps = str(refused.value).splitlines()
    assert what.startswith("what handlers produce would come round for ever: ")
    assert [step.partition(" (")[0] for step in steps] == ["first", "second"]
    assert steps[0].endswith(": dead_letter='b' is read by second as '^b'")
    assert steps[1].endswith(": output='a' is read by first")


def test_a_handler_that_reads_its_own_results_is_refused(here: Path) -> None:
    own = App("own")
    own.handler(topic="^a", output="a.done", name="h")(lambda x: None)

    with pytest.raises(ConfigError, match=r"output='a.done' is read by itself as '\^a'$"):
        preflight.plan(own, ELSEWHERE)


def test_only_what_is_chosen_is_asked_for(here: Path) -> None:
    plan = preflight.plan(app, replace(ELSEWHERE, exclude_topics=("in",)))

    assert (plan.topics, plan.produced) == (("^logs",), ("dead",))
    assert len(plan.policies) == 2


def test_the_default_time_limit_is_for_handlers_without_one(here: Path) -> None:
    plan = preflight.plan(app, replace(ELSEWHERE, time_limit=9.0))

    assert [policy.time_limit for policy in plan.policies] == [5, 9.0]


@pytest.mark.parametrize(
    ("topics", "excluded", "error"),
    [
        (("logs",), (), "no handler has the topic 'logs' (did you mean '^logs'?): --topics and"),
        ((), ("zzz",), "no handler has the topic 'zzz': --topics and"),
        (("in",), ("in",), "--topics and --exclude-topics leave no handler to run"),
    ],
)
def test_a_choice_that_cannot_be_is_an_error(
    topics: tuple[str, ...], excluded: tuple[str, ...], error: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        preflight.plan(app, replace(ELSEWHERE, topics=topics, exclude_topics=excluded))

    assert str(caught.value).startswith(error)


@pytest.mark.parametrize("choice", [{"topics": ("^logs",)}, {"exclude_topics": ("logs.a",)}])
def test_a_topic_that_is_left_out_does_not_come_in_by_a_pattern(
    choice: dict[str, tuple[str, ...]],
) -> None:
    overlapping = App("overlapping")
    overlapping.handler(topic="logs.a")(one.function)
    overlapping.handler(topic="^logs")(two.function)

    with pytest.raises(ConfigError, match=r"^topic 'logs.a' is left out, but '\^logs' takes it"):
        preflight.plan(overlapping, replace(ELSEWHERE, **choice))
    assert preflight.plan(overlapping, ELSEWHERE).topics == ("logs.a", "^logs")
    alone = preflight.plan(overlapping, replace(ELSEWHERE, exclude_topics=("^logs",)))
    assert alone.topics == ("logs.a",)


def test_a_pattern_takes_a_topic_in_wherever_it_is_found_in_its_name() -> None:
    overlapping = App("overlapping")
    overlapping.handler(topic="logs.a")(one.function)
    overlapping.handler(topic=r"^audit|\.a$")(two.function)

    with pytest.raises(ConfigError, match=r"^topic 'logs.a' is left out, but '\^audit"):
        preflight.plan(overlapping, replace(ELSEWHERE, exclude_topics=("logs.a",)))


def test_without_brokers_there_is_no_connection() -> None:
    with pytest.raises(ConfigError, match=r"^no brokers: give --brokers, KQWORKER_BROKERS"):
        preflight.connection(Settings())


def test_what_secures_another_cluster_is_not_for_the_built_in_one(broker: DevBroker) -> None:
    broker.announce()
    kafka = {
        "security.protocol": "sasl_ssl",
        "sasl.password": "x",
        "ssl.ca.location": "y",
        "client.id": "z",
        "group.protocol": "classic",
    }

    found = preflight.connection(replace(settings_for(broker), kafka=kafka))

    assert found.built_in
    assert found.kafka == {
        **PROPERTIES,
        **preflight.CREATING,
        "client.id": "z",
        "group.protocol": "classic",
    }


def test_the_built_in_broker_is_given_the_topics(broker: DevBroker) -> None:
    broker.announce()
    settings = replace(settings_for(broker), until_caught_up=True)

    found = preflight.ask(preflight.plan(app, settings), settings)

    assert found == preflight.Found(1, {"in": 4}, {}, present={"in": 4, "dead": 4, "out": 4})


def test_a_topic_that_is_missing_is_an_error_be_it_one_that_is_produced_to(
    broker: DevBroker,
) -> None:
    # Not announced: any cluster that has some of the topics.
    create_topics(broker.address, ["in", "out"])
    settings = settings_for(broker)

    with pytest.raises(BrokerError, match=r"^topic 'dead' does not exist\n"):
        preflight.ask(preflight.plan(app, settings), settings)
