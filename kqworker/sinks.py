"""Where records go that are pushed outside of workers: a sink by settings, or by an app's.

Decides which settings count for a push, and that the built-in broker serves where nothing
names a cluster. Tested by tests/kafka_unit/test_push_sink.py and tests/kafka/test_kq_pusher.py.
"""

from __future__ import annotations

from dataclasses import replace

from kqworker import preflight
from kqworker.app.app import App, layer, run_settings
from kqworker.errors import ConfigError
from kqworker.kafka import devbroker
from kqworker.kafka.bounded import bounded
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import producer_properties
from kqworker.kafka.push_sink import KafkaPushSink
from kqworker.settings import origins
from kqworker.settings.settings import Settings


def open_sink(settings: Settings) -> KafkaPushSink:
    """Return a sink to where settings lead.

    Raises:
        ConfigError: There are no brokers, or librdkafka refuses a property.
    """
    to = preflight.connection(settings)
    outgoing = bounded if to.built_in else Outgoing
    return KafkaPushSink(outgoing(producer_properties(to.brokers, to.kafka)))


def open_app_sink(app: App) -> KafkaPushSink:
    """Return a sink for `app.push`, by its run, or by the environment, files and the app.

    Raises:
        ConfigError: There are no brokers, or something is wrong with the settings.
    """
    settings = run_settings(app)
    if settings is not None:
        return open_sink(settings)
    settings = origins.load({}).resolve(layer(app)).settings
    if settings.brokers is None:
        found = devbroker.running()
        if found is None:
            raise ConfigError(
                "no brokers to push to: give App(brokers=…), KQWORKER_BROKERS, or `brokers:` in "
                "kqworker.yaml; or start the built-in broker: kqworker broker"
            )
        settings = replace(settings, brokers=(found,))
    return open_sink(settings)
