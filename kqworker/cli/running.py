"""`kqworker run APP` and `kqworker dev APP`: the main job.

Decides which watch shows the run. `kqworker.run` does everything else.
Tested by tests/cli/test_running.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kqworker.cli.app_options import Opened, open_app, or_try_dev, with_brokers
from kqworker.cli.options import app_argument, setting_options
from kqworker.cli.terminal import coloured, live, say
from kqworker.exits import Exit
from kqworker.settings.settings import Settings, layer

if TYPE_CHECKING:
    from kqworker.watch.interface import Watch


@click.command()
@app_argument
@setting_options()
def run(app: str, config: str | None, **options: object) -> Exit:
    """Handle the messages of an app's topics, on every core."""
    opened = open_app(app, options, config)
    with or_try_dev(app):
        return start(opened, with_brokers(opened.resolved.settings, app))


@click.command()
@app_argument
@setting_options(without=("brokers",))
def dev(app: str, config: str | None, **options: object) -> Exit:
    """Run an app on the built-in broker; reload when its files change."""
    from kqworker.kafka import devbroker

    opened = open_app(app, options, config, weaker=layer({"reload": True}, "kqworker dev"))
    settings = opened.resolved.settings
    if settings.brokers is not None:
        origin = opened.resolved.origins["brokers"]
        say(f"kqworker dev uses the built-in broker, not {','.join(settings.brokers)} ({origin})")
    say(devbroker.LIMITS)
    other = devbroker.running()
    if other is not None:
        whose = "started by another kqworker command; it stops when that one does"
        say(f"using the one at {other}, {whose}")
    with devbroker.running_or_new() as address:
        return start(opened, replace(settings, brokers=(address,)))


def start(opened: Opened, settings: Settings) -> Exit:
    """Run an app until it ends, with a watch that suits our output."""
    from kqworker.run import AppReference
    from kqworker.run import run as run_app

    reference = AppReference(opened.reference, settings.app_dir, settings.factory)
    return run_app(opened.app, settings, reference=reference, watch=watch_for(settings))


def watch_for(settings: Settings) -> Watch:
    """Return the live status line for a person at a terminal, else log lines."""
    from kqworker.cli.terminal_watch import TerminalWatch
    from kqworker.watch.plain import PlainWatch

    if live(sys.stderr) and settings.log_format == "text":
        return TerminalWatch(sys.stderr, coloured(sys.stderr), settings.until_caught_up)
    return PlainWatch(fields=settings.log_format == "json")
