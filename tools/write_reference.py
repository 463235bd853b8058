"""Writes docs/reference/settings.md, commands.md and kq-config.md from the tables they describe.

Run it after a change of a setting or an option: `.venv/bin/python tools/write_reference.py`.
tests/docs/test_reference.py fails while the pages say something else.
"""

# ruff: noqa: E501 - the lines are those of the pages

from __future__ import annotations

from pathlib import Path

import click

from kqworker.cli import program
from kqworker.exits import Exit
from kqworker.kafka.properties import consumer_properties, producer_properties
from kqworker.kq.conf.conf import KQ
from kqworker.kq.conf.fields import Field, Kind, Section
from kqworker.settings.settings import SETTINGS, Setting, show_setting

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"

SETTINGS_INTRO = """\
# Settings

Every setting has one name. It is a key in a file, an option with dashes (`--commit-interval`) and a variable
(`KQWORKER_COMMIT_INTERVAL`). Who is nearer decides:

1. the command line,
2. the environment, in which `--env-file FILE` sets what is not set,
3. one file: `--config FILE`, else `kqworker.yaml`, else `[tool.kqworker]` in `pyproject.toml`, in the current directory,
4. the App: `App(name, brokers=…, group=…, offset=…, members=…)`,
5. the default.

`kqworker config app:app` shows each value and where it comes from. A key that does not exist and a value that cannot be
are errors, with the file and line; so is a variable that is nearly a setting's (`KQWORKER_WORKER`). An empty variable
counts as not set. Durations are seconds; sizes are bytes, or have a unit: `KB`, `MB`, `GB` (1000), `KiB`, `MiB`, `GiB` (1024).
Switches are `--reload` and `--no-reload`, `true` and `false`. Paths are relative to the current directory.

| setting | option | default | meaning |
|---|---|---|---|
"""

KAFKA = """
## Kafka's own properties

Any property of librdkafka that is not kqworker's own business can be given: `-X security.protocol=sasl_ssl`, or in a file

```yaml
kafka:
  security.protocol: sasl_ssl
  sasl.mechanism: SCRAM-SHA-512
  sasl.username: orders
```

or as a variable, with `_` for `.` (and `__` for `_`): `KQWORKER_KAFKA_SASL_PASSWORD`. Each property counts on its own: a
password from the environment joins the rest from a file. Secrets are masked wherever kqworker shows them. The properties:
[librdkafka's CONFIGURATION.md](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).

Where you set nothing, kqworker sets these; what is not named here is librdkafka's default. With `group.protocol=consumer`
the broker decides `session.timeout.ms` and the assignment.

| property | consumers | producer |
|---|---|---|
"""

COMMANDS_INTRO = """\
# Commands

`APP` is `module:attribute`, such as `app:app`. What an option means that is a setting too, and what else can set it:
[settings](settings.md).
"""

KQ_INTRO = """\
# The configuration of kqworker.kq

`load(path)` and `must_load(path)` read a file as go-zero's `conf.Load` and `conf.MustLoad` do, and give a `KqConf`, whose
attributes are the fields in Python's case: `MinBytes` is `conf.min_bytes`, `Log.Level` is `conf.log.level`.

- **Formats** by the extension, in any letter case: `.yaml`, `.yml`, `.json`, `.toml`; `.json5` with the extra (`pip install
  'kqworker[json5]'`).
- **Keys** in any letter case. One that nothing reads is a warning with the nearest name. One that stands twice is a warning, too, and
  the last one counts; of two letter cases go-zero takes now one, now the other.
- **Values** are converted no further than go-zero does it: `"8"` is no number and 8 no text. A duration has its unit: `1s`, `5.5s`,
  `100ms`. YAML is 1.1 as go-zero's parser takes it: `yes`, `on` and `y` are true, `010` is 8, `08` is 8, and a null is the empty text.
- **The environment**: `use_env=True` replaces `$VAR` and `${VAR}` in the raw file first; a variable that is not set is empty, and a
  `$` in a password has to come from a variable.
- **An optional section** that is absent is off (`None`), and one that is there takes its defaults. `Log` and `Shutdown` always have theirs.
- **The file of a service**, in which a KqConf stands below a key: `load(path, section="Kq")`, or `kqworker kq --section Kq`; with points
  for one further below (`Queues.Orders`). There it has all of its fields, its own `Name` too, as in Go.
- **`Kqworker:`** holds what go-queue has no field for; go-zero does not mind it.

A mistake is a `ConfigError` that names the file, the line, the field and what would be right, all mistakes at once and by line,
and with them the keys that nothing reads; `must_load` prints it and ends the program with code 2. What has nothing in the last column is checked as in Go and does nothing here.

Warnings are logged once, at the start of the queue, and whatever `Log.Level` is: of `error` too, which hides all other warnings.
"""

KQ_HEAD = "| field | kind | default | what it does here |\n|---|---|---|---|\n"

MEANINGS = {
    Exit.CLEAN: "All went well.",
    Exit.CRASH: "kqworker itself crashed: please report it.",
    Exit.USAGE: "Usage, import or configuration: something must be mended before a start.",
    Exit.BROKER: "The broker could not be reached, refused us, or a topic is missing, at the start.",
    Exit.ABANDONED: "The drain timed out, a second Ctrl-C ended it, or a run was told to stop before "
    "`--until-caught-up` had; what was left is named.",
    Exit.CRASH_LOOP: "Workers could not be kept alive.",
    Exit.MESSAGES_FAILED: "Finished (`--until-caught-up`), but messages failed.",
}


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    rows = "".join(_row(setting) for setting in SETTINGS.values())
    return SETTINGS_INTRO + rows + KAFKA + _kafka_rows()


def _kafka_rows() -> str:
    # Each setting of ours that stands for a property has its own row above.
    ours = {"bootstrap.servers", "group.id", "auto.offset.reset"}
    consumer, producer = consumer_properties("b:1", "g"), producer_properties("b:1")
    names = sorted((consumer.keys() | producer.keys()) - ours)
    return "".join(f"| `{n}` | {consumer.get(n, '')} | {producer.get(n, '')} |\n" for n in names)


def _row(setting: Setting) -> str:
    option = f"`{setting.option}`" + (
        f", `{setting.short}`" if setting.short and setting.short != setting.option else ""
    )
    default = "" if setting.name == "kafka" else show_setting(setting.name, setting.default)
    meaning = setting.help.replace("|", "\\|")
    if "|" in setting.metavar and setting.metavar.islower():
        meaning += " One of " + ", ".join(f"`{word}`" for word in setting.metavar.split("|")) + "."
    return f"| `{setting.name}` | {option} | {default} | {meaning} |\n"


def commands_page() -> str:
    """Return docs/reference/commands.md."""
    parts = [COMMANDS_INTRO]
    for name, command in program.commands.items():
        arguments = [_argument(p) for p in command.params if isinstance(p, click.Argument)]
        parts.append(f"\n## {' '.join(['kqworker', name, *arguments])}\n\n")
        parts.append(" ".join((command.help or "").split()) + "\n")
        options = [p for p in command.params if isinstance(p, click.Option)]
        own = [option for option in options if option.name not in SETTINGS]
        if own:
            parts.append("\n| option | meaning |\n|---|---|\n")
            parts += [f"| {_names(option)} | {option.help} |\n" for option in own]
        shared = [option for option in options if option.name in SETTINGS]
        if len(shared) == len(SETTINGS):
            parts.append("\nEvery setting is an option.\n")
        elif shared:
            names = ", ".join(f"`{SETTINGS[str(option.name)].option}`" for option in shared)
            parts.append(f"\nSettings: {names}.\n")
    parts.append("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
    parts += [f"| {int(exit)} | {MEANINGS[exit]} |\n" for exit in Exit]
    return "".join(parts)


def kq_page() -> str:
    """Return docs/reference/kq-config.md."""
    return KQ_INTRO + _kq_section("Top level", "", KQ)


def _kq_section(title: str, prefix: str, section: Section) -> str:
    plain = [field for field in section.fields if field.section is None]
    parts = [f"\n## {title}\n\n", KQ_HEAD, *(_kq_row(prefix, field) for field in plain)]
    for field in section.fields:
        if field.section is not None:
            parts.append(
                _kq_section(f"`{prefix}{field.name}`", f"{prefix}{field.name}.", field.section)
            )
    return "".join(parts)


def _kq_row(prefix: str, field: Field) -> str:
    kind = ", ".join(f"`{word}`" for word in field.options) or field.kind.value
    if field.bounds:
        kind += f", at least {field.bounds[0]:g} and below {field.bounds[1]:g}"
    if field.inherits:
        default = "that of the section around it"
    elif field.required:
        default = "**required**"
    else:
        default = "" if field.optional else f"`{_written(field)}`"
    return f"| `{prefix}{field.name}` | {kind} | {default} | {field.here} |\n"


def _written(field: Field) -> str:
    match field.default:
        case bool(flag):
            return str(flag).lower()
        case float(seconds) if field.kind is Kind.DURATION:
            return f"{seconds / 60:g}m" if seconds % 60 == 0 else f"{seconds:g}s"
        case other:
            return str(other)


def _argument(argument: click.Argument) -> str:
    word = (argument.metavar or str(argument.name)).upper()
    return word if argument.required else f"[{word}]"


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return f"{names} {option.metavar}" if option.metavar else names


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    (REFERENCE / "settings.md").write_text(settings_page(), encoding="utf-8")
    (REFERENCE / "commands.md").write_text(commands_page(), encoding="utf-8")
    (REFERENCE / "kq-config.md").write_text(kq_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
