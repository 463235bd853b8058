"""`kqworker demo`: what kqworker does, shown on real input; see `kqworker.demo`.

Decides only the options. Tested by tests/e2e/test_demo.py.
"""

from __future__ import annotations

from pathlib import Path

import click

from kqworker.cli.options import flags, setting_options
from kqworker.cli.running import watch_for
from kqworker.exits import Exit
from kqworker.settings.origins import read
from kqworker.settings.settings import resolve


@click.command()
@setting_options("brokers", "workers", "kafka", "log_level", "log_format")
def demo(config: str | None, **options: object) -> Exit:
    """Find Python's most complex functions; with one worker, with all."""
    from kqworker.demo import show
    from kqworker.watch import logs

    # Only what was given here: a demo must not run on somebody's cluster because an
    # environment variable names it.
    layers = [flags(options)] + ([read(Path(config))] if config is not None else [])
    settings = resolve(layers).settings
    logs.configure(settings.log_level, settings.log_format)
    brokers = ",".join(settings.brokers) if settings.brokers is not None else None
    workers = settings.workers if isinstance(settings.workers, int) else None
    return show(brokers, workers, settings.kafka, watch_for, click.echo)
