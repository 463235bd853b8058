"""`kqworker demo`: what kqworker does, shown on real input; see `kqworker.demo`.

Decides only the options. Tested by tests/e2e/test_demo.py.
"""

from __future__ import annotations

import click

from kqworker.cli.opening import settings_of
from kqworker.cli.options import setting_options
from kqworker.cli.running import watch_for
from kqworker.exits import Exit


@click.command()
@setting_options("brokers", "workers", "kafka", "log_level", "log_format")
def demo(config: str | None, **options: object) -> Exit:
    """Find Python's most complex functions; with one worker, with all."""
    from kqworker import logs
    from kqworker.demo import show

    settings = settings_of(options, config).settings
    logs.configure(settings.log_level, settings.log_format)
    brokers = ",".join(settings.brokers) if settings.brokers is not None else None
    workers = settings.workers if isinstance(settings.workers, int) else None
    return show(brokers, workers, settings.kafka, watch_for, click.echo)
