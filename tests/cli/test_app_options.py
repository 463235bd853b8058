"""Where brokers come from when none are given, and what is told when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.cli.app_options import or_try_dev, with_brokers
from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka.devbroker import DevBroker, start_dev_broker
from kqworker.settings.settings import Settings


@pytest.fixture
def broker(here: Path) -> Iterator[DevBroker]:
    with start_dev_broker() as broker:
        broker.announce()
        yield broker


def test_no_brokers_and_none_built_in_is_an_error(here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        with_brokers(Settings(), "shop:app")

    assert str(caught.value) == (
        "no brokers: give --brokers, KQWORKER_BROKERS, `brokers:` in kqworker.yaml, "
        "or App(brokers=…)\ntry: kqworker dev shop:app (built-in broker)"
    )


def test_the_built_in_broker_is_found_and_named(
    broker: DevBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_brokers(Settings())

    assert settings.brokers == (broker.address,)
    assert capsys.readouterr().err == (
        f"no brokers given: using the built-in broker at {broker.address}\n"
    )


def test_brokers_that_are_given_are_used(broker: DevBroker) -> None:
    settings = Settings(brokers=("kafka:9092",))

    assert with_brokers(settings) is settings


def test_only_what_may_pass_by_itself_is_told_to_try_the_built_in_broker() -> None:
    with pytest.raises(BrokerError) as caught, or_try_dev("a:b"):
        raise BrokerError("cannot reach Kafka", retriable=True)
    assert str(caught.value) == "cannot reach Kafka\ntry: kqworker dev a:b (built-in broker)"
    assert caught.value.retriable

    with pytest.raises(BrokerError) as caught, or_try_dev("a:b"):
        raise BrokerError("no such topic")
    assert str(caught.value) == "no such topic"
