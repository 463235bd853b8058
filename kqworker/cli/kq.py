"""`kqworker kq -f FILE HANDLER`: a queue as go-queue configures it, from the command line.

Decides only the order: the file, the log, the handler, the run. `kqworker.kq` decides what the
file means. Tested by tests/cli/test_kq.py.
"""

from __future__ import annotations

from dataclasses import replace

import click

from kqworker.cli.running import watch_for
from kqworker.exits import Exit
from kqworker.settings.settings import SETTINGS


@click.command()
@click.argument("handler", metavar="HANDLER")
@click.option(
    "-f",
    "--config",
    "file",
    required=True,
    metavar="FILE",
    help="go-queue's configuration: .yaml, .yml, .json, .toml, or .json5 with the extra.",
)
@click.option(
    "--use-env", is_flag=True, help="Replace $VAR and ${VAR} in the file by the environment's."
)
@click.option(
    "--section",
    metavar="KEY",
    help="Key path of the kq section in the file of a service, for example Queues.Orders.",
)
@click.option("--app-dir", metavar="DIR", help=f"{SETTINGS['app_dir'].help}  [.]")
def kq(handler: str, file: str, use_env: bool, section: str | None, app_dir: str | None) -> Exit:
    """Handle a topic as a configuration file of go-queue says.

    HANDLER is module:attribute: a function (key, value) or (context, key, value), or an
    object with a method consume(key, value).
    """
    # Imported before the handler's directory can get in the way.
    import kqworker.run  # noqa: F401
    from kqworker.kq.conf.conf import load
    from kqworker.kq.queue.consuming import QueueApp, function_of
    from kqworker.kq.queue.queue import run_app, understood
    from kqworker.loading.import_string import load_attribute, refuse_green_threads
    from kqworker.watch import logs

    conf = load(file, use_env=use_env, section=section)
    if app_dir is not None:
        conf = replace(conf, kqworker={**conf.kqworker, "app_dir": app_dir})
    translation = understood(conf)
    settings = translation.settings
    logs.configure(settings.log_level, settings.log_format)
    function = function_of(load_attribute(handler, settings.app_dir))
    refuse_green_threads(f"when {handler.partition(':')[0]!r} was imported")
    app = QueueApp(translation, function, reference=handler)
    return run_app(app, translation, watch_for(settings))
