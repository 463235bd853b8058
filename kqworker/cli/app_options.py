"""From what the command line says to an app and its settings.

Decides the order: the settings that say where the app is come first, then the app, then
all settings again with what the app says. Tested by tests/cli/test_app_options.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kqworker.cli.options import flags
from kqworker.cli.terminal import say
from kqworker.errors import BrokerError, ConfigError
from kqworker.settings import origins
from kqworker.settings.settings import Layer, Resolved, Settings

if TYPE_CHECKING:
    from kqworker.app.app import App


@dataclass(frozen=True, slots=True)
class Opened:
    """An app that was imported, and its settings.

    Attributes:
        reference: As given, `module:attribute`.
        app: The App.
        resolved: The settings and their origins.
    """

    reference: str
    app: App
    resolved: Resolved


def settings_of(options: Mapping[str, object], file: str | None) -> Resolved:
    """Return the settings of a command without an app.

    Raises:
        ConfigError: Something is wrong with them.
    """
    return origins.load(flags(options), file).resolve()


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
        options: Those of the command line, by setting.
        file: The configuration file, or None for the one that is found.
        stronger: Beats the options.
        weaker: Counts less than the App, and more than the defaults.

    Raises:
        ConfigError: Something is wrong with the settings or the app.
    """
    # Imported before the app's directory can get in the way.
    import kqworker.run  # noqa: F401
    from kqworker.app.app import layer
    from kqworker.loading.import_string import load_app, refuse_green_threads
    from kqworker.watch import logs

    sources = origins.load({**flags(options), **(stronger or {})}, file)
    early = sources.resolve().settings
    logs.configure(early.log_level, early.log_format)
    app = load_app(reference, early.app_dir, early.factory)
    refuse_green_threads(f"when {reference.partition(':')[0]!r} was imported")
    return Opened(reference, app, sources.resolve(layer(app), weaker or {}))


def with_brokers(settings: Settings, reference: str = "app:app") -> Settings:
    """Return the settings with brokers: those of a running built-in broker, if none are set.

    Args:
        settings: As resolved.
        reference: The app's, for the hint.

    Raises:
        ConfigError: There are none.
    """
    if settings.brokers is not None:
        return settings
    from kqworker.kafka import devbroker
    from kqworker.preflight import NO_BROKERS

    address = devbroker.running()
    if address is None:
        raise ConfigError(f"{NO_BROKERS}\n{try_dev(reference)}")
    say(f"no brokers given: using the built-in broker at {address}")
    return replace(settings, brokers=(address,))


def try_dev(reference: str) -> str:
    """Return a hint for a machine without Kafka."""
    return f"try: kqworker dev {reference} (built-in broker)"


@contextmanager
def or_try_dev(reference: str) -> Iterator[None]:
    """Add the built-in broker, as a hint, to the error that Kafka cannot be reached."""
    try:
        yield
    except BrokerError as error:
        if not error.retriable:
            raise
        raise BrokerError(f"{error}\n{try_dev(reference)}", retriable=True) from None
