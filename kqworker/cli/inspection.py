"""`kqworker check`, `handlers` and `config`: look, and change nothing.

Decides what is shown, and the order of the checks. Consumes nothing, creates nothing.
Tested by tests/cli/test_inspection.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kqworker.cli.app_options import Opened, open_app, or_try_dev, with_brokers
from kqworker.cli.options import LOADING, app_argument, setting_options
from kqworker.cli.terminal import coloured, paint
from kqworker.errors import ConfigError, KQWorkerError
from kqworker.exits import Exit
from kqworker.watch.plain import table


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


@click.command()
@app_argument
@setting_options()
def check(app: str, config: str | None, **options: object) -> Exit:
    """Check app, settings, broker and topics; consume nothing."""
    write = _Lines()
    with write.step("app"):
        opened = open_app(app, options, config)
        refuse_client_of_import(opened)
        count = len(opened.app.handlers)
        write.found(f"{app}, {count} handler{'s' if count != 1 else ''}")

    from kqworker import preflight
    from kqworker.kafka.admin import Admin

    with write.step("settings"):
        settings = with_brokers(opened.resolved.settings, app)
        plan = preflight.plan(opened.app, settings)
        write.found(
            f"group {plan.group}, {settings.members} member{'s' if settings.members != 1 else ''}"
        )
    with Admin(plan.admin) as kafka:
        with write.step("broker"), or_try_dev(app):
            cluster = kafka.cluster(settings.startup_timeout)
            write.found(f"{plan.connection.brokers}, {cluster.brokers} up")
        with write.step("topics"):
            partitions = preflight.require_topics(kafka, plan, settings.startup_timeout)
            write.found(", ".join(f"{topic} ({n})" for topic, n in partitions.items()))
            write.doubted(preflight.doubts(kafka, plan, cluster))
    return Exit.CLEAN


def refuse_client_of_import(opened: Opened) -> None:
    """Refuse an app that a run would refuse as soon as it starts workers.

    Raises:
        ConfigError: The import has opened a Kafka client, and workers would be forked from it.
    """
    import multiprocessing

    from kqworker.runtime import preload

    settings = opened.resolved.settings
    forked = "forkserver" in multiprocessing.get_all_start_methods()
    if forked and settings.preload is not False and not settings.reload:
        refusal = preload.refusal_after(opened.reference.partition(":")[0])
        if refusal is not None:
            raise ConfigError(refusal)


class _Lines:
    """The lines of `check`: ok or failed, the step, and what was found."""

    def __init__(self) -> None:
        self._colours = coloured(sys.stdout)
        self._found = ""
        self._doubts: list[str] = []

    def doubted(self, texts: list[str]) -> None:
        """Show what the step has found that is no mistake, but may become one."""
        self._doubts = texts

    def found(self, text: str) -> None:
        """Show what the step has found, once it has ended well."""
        self._found = text

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Write the line of a step, however it ends."""
        try:
            yield
        except KQWorkerError:
            self._line("failed", "red", name, "")
            raise
        self._line("ok", "green", name, self._found)
        for text in self._doubts:
            self._line("note", "yellow", name, text)
        self._doubts = []

    def _line(self, word: str, colour: str, name: str, text: str) -> None:
        line = f"{paint(word.ljust(6), colour, self._colours)}  {name.ljust(8)}  {text}"
        click.echo(line.rstrip())
