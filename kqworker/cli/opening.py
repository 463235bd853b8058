"""From what the command line says to an app and its settings.

Decides the order: the settings that say where the app is come first, then the app, then
all settings again with what the app says. Tested by tests/cli/test_opening.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kqworker import config
from kqworker.cli.options import flags
from kqworker.cli.terminal import say
from kqworker.errors import ConfigError
from kqworker.settings import Layer, Resolved, Settings

if TYPE_CHECKING:
    from kqworker.app import App


# The properties that secure a connection; the built-in broker knows none of it.
SECURITY = ("security.", "sasl.", "ssl.", "ssl_")


@dataclass(frozen=True, slots=True)
class Opened:
    """An app that was imported, with everything that was said of it.

    Attributes:
        reference: As given, `module:attribute`.
        app: The App.
        resolved: The settings and their origins.
    """

    reference: str
    app: App
    resolved: Resolved


def settings_of(options: Mapping[str, object], file: str | None) -> Resolved:
    """Return the settings where there is no app.

    Raises:
        ConfigError: Something is wrong with them.
    """
    return config.load(flags(options), file).resolve()


def open_app(
    reference: str,
    options: Mapping[str, object],
    file: str | None,
    *,
    stronger: Layer | None = None,
    weaker: Layer | None = None,
) -> Opened:
    """Read the settings, set up the log and import the app.

    Args:
        reference: `module:attribute`.
        options: Of the command line, by setting.
        file: The configuration file, or None for the one that is found.
        stronger: Beats the options.
        weaker: Stands between the App and the defaults.

    Raises:
        ConfigError: Something is wrong with the settings or the app.
    """
    from kqworker import logs
    from kqworker.loading import load_app

    sources = config.load({**flags(options), **(stronger or {})}, file)
    early = sources.resolve().settings
    logs.configure(early.log_level, early.log_format)
    app = load_app(reference, early.app_dir, early.factory)
    return Opened(reference, app, sources.resolve(config.of_app(app), weaker or {}))


def with_brokers(settings: Settings, topics: Iterable[str], reference: str = "app:app") -> Settings:
    """Return the settings with brokers: those of a running built-in broker, if none are set.

    Args:
        settings: As resolved.
        topics: Those that the built-in broker is to have.
        reference: The app's, for what to try.

    Raises:
        ConfigError: There are none.
        BrokerError: The built-in broker does not answer.
    """
    from kqworker.kafka import devbroker

    address = devbroker.running()
    if settings.brokers is None and address is None:
        raise ConfigError(
            "no brokers: give --brokers, KQWORKER_BROKERS, `brokers:` in kqworker.yaml, "
            f"or App(brokers=…)\ntry: kqworker dev {reference} (built-in broker)"
        )
    if address is None or settings.brokers not in (None, (address,)):
        return settings
    if settings.brokers is None:
        say(f"no brokers given: using the built-in broker at {address}")
    return on_built_in(settings, topics, address)


def on_built_in(settings: Settings, topics: Iterable[str], address: str) -> Settings:
    """Return the settings for the built-in broker, and let it have the topics.

    What secures the connection to another cluster is left out.

    Raises:
        BrokerError: It does not answer.
    """
    from kqworker.kafka import devbroker

    devbroker.create_topics(address, topics)
    kafka = {key: text for key, text in settings.kafka.items() if not key.startswith(SECURITY)}
    return replace(settings, brokers=(address,), kafka={**devbroker.PROPERTIES, **kafka})


def topics_of(app: App) -> list[str]:
    """Return the topics that an app names; a pattern names none."""
    named = {
        topic
        for handler in app.handlers
        for topic in (handler.topic, handler.dead_letter, handler.output)
    }
    return sorted(topic for topic in named if topic is not None and not topic.startswith("^"))
