"""The options that stand for settings, made from their table, and the layer they become.

Decides how a setting looks on the command line. Values stay text here: one parser for
flags, variables and files gives one error for all. Tested by tests/cli/test_options.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from kqworker.errors import ConfigError
from kqworker.settings.settings import KAFKA, SETTINGS, Given, Layer, Setting, show_setting

# Any: click's commands take all kinds of options.
F = TypeVar("F", bound=Callable[..., Any])

REPEATABLE = ("brokers", "topics", "exclude_topics", "kafka")
CONNECTION = ("brokers", "kafka", "startup_timeout", "env_file", "log_level", "log_format")
LOADING = ("app_dir", "factory", "env_file")


def app_argument(function: F) -> F:
    """Add the argument APP."""
    return click.argument("app", metavar="APP")(function)


def setting_options(*names: str, without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Add `--config` and the options of these settings; of all, if none is named."""
    chosen = [SETTINGS[name] for name in names or SETTINGS if name not in without]

    def decorate(function: F) -> F:
        for setting in reversed(chosen):
            function = _option(setting)(function)
        return click.option(
            "-f",
            "--config",
            metavar="FILE",
            help="The configuration file. Default: kqworker.yaml, or [tool.kqworker] in "
            "pyproject.toml, in the current directory.",
        )(function)

    return decorate


def _option(setting: Setting) -> Callable[[F], F]:
    declarations = [setting.name]
    if setting.short:
        declarations.append(setting.short)
    if setting.parse is not None:
        option = setting.option
        # A switch has both forms: a file may have set it.
        off = "" if setting.metavar else f"/--no-{option.removeprefix('--')}"
        declarations.append(option + off)
    if setting.name in REPEATABLE:
        return click.option(
            *declarations, multiple=True, metavar=setting.metavar, help=setting.help
        )
    if not setting.metavar:
        return click.option(*declarations, default=None, is_flag=True, help=_help(setting))
    return click.option(*declarations, metavar=setting.metavar, help=_help(setting))


def _help(setting: Setting) -> str:
    if setting.default is None and setting.name != "time_limit":
        return setting.help
    return f"{setting.help}  [{show_setting(setting.name, setting.default)}]"


def flags(options: Mapping[str, object]) -> Layer:
    """Return the layer of the options that were given.

    Raises:
        ConfigError: `-X` is not KEY=VALUE.
    """
    layer: dict[str, Given] = {}
    mistakes: list[str] = []
    for name, value in options.items():
        if value is None or value == ():
            continue
        if name == "kafka" and isinstance(value, tuple):
            for pair in value:
                key, equals, text = str(pair).partition("=")
                if not equals or not key.strip():
                    mistakes.append(
                        f"-X {key.strip()!r}: expected key=value, such as -X security.protocol=ssl"
                    )
                    continue
                layer[KAFKA + key.strip()] = Given(text, f"-X {key.strip()}")
            continue
        shown = list(value) if isinstance(value, tuple) else value
        layer[name] = Given(shown, SETTINGS[name].option)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return layer
