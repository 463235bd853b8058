"""`kqworker check`, `handlers` and `config`: look, and change nothing.

Decides what is shown, and in which order it is checked. Consumes nothing, creates nothing.
Tested by tests/cli/test_looking.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from kqworker.cli.opening import Opened, open_app, with_brokers
from kqworker.cli.options import CONNECTION, LOADING, app_argument, setting_options
from kqworker.cli.terminal import coloured, paint, table
from kqworker.errors import BrokerError, ConfigError, KQWorkerError
from kqworker.exits import Exit


@click.command()
@app_argument
@setting_options()
def config(app: str, config: str | None, **options: object) -> Exit:
    """Show every setting, and where its value comes from.

    Secrets are masked.
    """
    opened = open_app(app, options, config)
    for line in table(opened.resolved.rows()):
        click.echo(line)
    return Exit.CLEAN


@click.command()
@app_argument
@setting_options(*LOADING)
def handlers(app: str, config: str | None, **options: object) -> Exit:
    """Show an app's handlers and their policies."""
    opened = open_app(app, options, config)
    limit = opened.resolved.settings.time_limit
    rows = [("TOPIC", "HANDLER", "PAYLOAD", "ORDER", "ATTEMPTS", "DEAD LETTERS", "LIMIT", "OUTPUT")]
    for handler in opened.app.handlers:
        seconds = handler.time_limit if handler.time_limit is not None else limit
        rows.append(
            (
                handler.topic,
                handler.name,
                handler.payload,
                handler.ordering.value,
                str(handler.retry.attempts),
                handler.dead_letter or "-",
                "-" if seconds is None else f"{seconds:g}s",
                handler.output or "-",
            )
        )
    for line in table(rows):
        click.echo(line)
    return Exit.CLEAN


class Checks:
    """The lines of `check`, one a step; a step that fails ends the rest."""

    def __init__(self) -> None:
        self._colours = coloured(sys.stdout)

    def step(self, name: str, look: Callable[[], str]) -> None:
        """Do one step, and say how it went.

        Args:
            name: Of the step.
            look: Returns what was found.

        Raises:
            KQWorkerError: What `look` raised; its text is already written.
        """
        try:
            found = look()
        except KQWorkerError as error:
            self._line("failed", "red", name, str(error))
            raise
        self._line("ok", "green", name, found)

    def _line(self, word: str, colour: str, name: str, text: str) -> None:
        first, *rest = text.splitlines() or [""]
        click.echo(f"{paint(word.ljust(6), colour, self._colours)}  {name.ljust(13)}  {first}")
        for line in rest:
            click.echo(" " * 23 + line.strip())


@click.command()
@app_argument
@setting_options(
    *LOADING, "topics", "exclude_topics", *(name for name in CONNECTION if name not in LOADING)
)
def check(app: str, config: str | None, **options: object) -> Exit:
    """Check app, settings, broker and topics; consume nothing."""
    checks = Checks()
    found: list[Opened] = []

    def load() -> str:
        found.append(open_app(app, options, config))
        count = len(found[0].app.handlers)
        return f"{app}, {count} handler{'s' if count != 1 else ''}"

    try:
        checks.step("app", load)
        opened = found[0]
    except ConfigError:
        return Exit.USAGE
    except BrokerError:
        return Exit.BROKER
    return Exit.CLEAN
