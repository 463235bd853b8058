"""What can be set, how it is checked, and which of several answers counts.

Decides the names, types, bounds and defaults, all in one place: the fields of `Settings`.
Options, environment variables, file keys, `kqworker config` and docs/reference/settings.md
are made from them. The fields do not say how a size is shown (`show_setting` knows it by name) and
which options may be repeated (`cli.options`). A queue of `kqworker.kq` takes each setting below
`Kqworker:` unless `kq.queue.extension_settings` excludes it.
Pure: never reads a file or the environment; `origins` does.
Tested by tests/settings/test_settings.py.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from kqworker.errors import ConfigError
from kqworker.settings import values
from kqworker.settings.values import MASK, Parse, did_you_mean, is_secret, show, show_size

T = TypeVar("T")

KAFKA = "kafka."


# The settings


def _setting(
    default: T, parse: Parse[T], metavar: str, help: str, *, short: str | None = None
) -> T:
    # Typed as dataclasses.field is: the field stands in the place of the value.
    metadata = {"parse": parse, "metavar": metavar, "help": help, "short": short}
    made: Any = field(default=default, metadata=metadata)
    result: T = made
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set for a run; each field says what it means below.

    Durations are seconds, sizes bytes. `docs/reference/settings.md` is made from here.
    """

    brokers: tuple[str, ...] | None = _setting(
        None, values.addresses, "HOST:PORT,…", "Kafka's bootstrap addresses.", short="-b"
    )
    group: str | None = _setting(
        None,
        values.maybe(values.text),
        "NAME",
        "The consumer group. Default: the app's name.",
        short="-g",
    )
    offset: str = _setting(
        "earliest",
        values.one_of("earliest", "latest", "error"),
        "earliest|latest|error",
        "Where a group without committed offsets starts.",
    )
    members: int = _setting(
        1, values.whole(1), "N", "Members of the group, which are Kafka clients of this supervisor."
    )
    workers: int | Literal["auto"] = _setting(
        "auto",
        values.workers,
        "N|auto",
        "Worker processes; auto is one for each CPU that the process may use.",
        short="-w",
    )
    topics: tuple[str, ...] = _setting(
        (),
        values.names,
        "TOPIC,…",
        "Run only the handlers of these topics; may be repeated.",
        short="-t",
    )
    exclude_topics: tuple[str, ...] = _setting(
        (), values.names, "TOPIC,…", "Do not run the handlers of these topics.", short="-x"
    )
    commit_interval: float = _setting(
        1.0, values.seconds(0.01), "SECONDS", "How often finished offsets are committed."
    )
    prefetch: int = _setting(
        10_000,
        values.whole(1),
        "N",
        "Messages that wait for a worker or are being handled, at most; shared out between "
        "handlers and partitions.",
    )
    prefetch_bytes: int = _setting(
        64 * 2**20, values.size, "SIZE", "Bytes of their keys and values, at most."
    )
    time_limit: float | None = _setting(
        None,
        values.limit,
        "SECONDS|none",
        "How long one message may run before its worker is killed, "
        "for handlers that set no limit of their own.",
    )
    startup_timeout: float = _setting(
        30.0,
        values.seconds(0.1),
        "SECONDS",
        "How long to wait for Kafka and the workers at the start.",
    )
    shutdown_timeout: float = _setting(
        30.0, values.seconds(0), "SECONDS", "How long a stop waits for the messages being handled."
    )
    isolate_suspects: bool = _setting(
        True,
        values.flag,
        "",
        "After a supervisor that did not end in order, handle what it may have been on one message "
        "at a time, and charge an attempt to the one that ends a supervisor again.",
    )
    until_caught_up: bool = _setting(
        False, values.flag, "", "Handle what there is at the start, print a summary, and end."
    )
    preload: bool | Literal["auto"] = _setting(
        "auto",
        values.flag_or_auto,
        "",
        "Import the app once, in the process that workers are forked from; auto does so unless "
        "the import leaves threads, connections or the like, with which a fork does not go.",
    )
    reload: bool = _setting(
        False,
        values.flag,
        "",
        "Replace the workers when a Python file of the app changes; what its handlers declare "
        "(topic, ordering, retry …) stays as it was until a new start.",
    )
    log_level: str = _setting(
        "info",
        values.one_of("debug", "info", "warning", "error"),
        "debug|info|warning|error",
        "The least severe log lines that are shown.",
        short="-l",
    )
    log_format: str = _setting(
        "text", values.one_of("text", "json"), "text|json", "The form of log lines."
    )
    app_dir: str = _setting(".", values.text, "DIR", "Where the app is imported from.")
    factory: bool = _setting(
        False,
        values.flag,
        "",
        "APP names a function that returns the App, called without arguments.",
    )
    env_file: str | None = _setting(
        None,
        values.maybe(values.text),
        "FILE",
        "KEY=VALUE lines, added to the environment where it does not have them.",
    )
    kafka: Mapping[str, str] = field(
        default_factory=dict,
        # Passwords are among them: a traceback must not show them.
        repr=False,
        metadata={
            "parse": None,
            "metavar": "KEY=VALUE",
            "help": "Properties for librdkafka, such as security.protocol=ssl; may be repeated.",
            "short": "-X",
        },
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: a field of `Settings` and how it is given.

    Attributes:
        name: The field, and the key in a file.
        default: The value if none is given.
        parse: None for `kafka`, whose properties are parsed one by one.
        metavar: The placeholder of the value in --help; empty for a switch.
        help: What it means, one sentence or two.
        short: The short option, or None.
    """

    name: str
    default: object
    parse: Parse[object] | None
    metavar: str
    help: str
    short: str | None

    @property
    def option(self) -> str:
        """The option on the command line."""
        return "-X" if self.parse is None else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        suffix = "_<PROPERTY>" if self.parse is None else ""
        return f"KQWORKER_{self.name.upper()}{suffix}"


SETTINGS: Mapping[str, Setting] = {
    f.name: Setting(
        f.name, {} if f.default is dataclasses.MISSING else f.default, **dict(f.metadata)
    )
    for f in dataclasses.fields(Settings)
}


# Which answer counts


class Given(NamedTuple):
    """A value as somebody gave it.

    Attributes:
        value: Not yet parsed.
        origin: Where it was given: `--workers`, `KQWORKER_WORKERS`, `kqworker.yaml:3`, `App(...)`.
    """

    value: object
    origin: str


# By setting; a Kafka property has the key `kafka.<property>`, so that each has its origin.
Layer = Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings, and where each of them was given.

    Attributes:
        settings: Checked.
        origins: By setting and `kafka.<property>`; "default" if it was not given.
    """

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """Return name, value and origin of each setting, secrets masked."""
        rows = []
        for name in SETTINGS:
            if name != "kafka":
                value = show_setting(name, getattr(self.settings, name))
                rows.append((name, value, self.origins[name]))
        for key, value in sorted(self.settings.kafka.items()):
            rows.append((KAFKA + key, show_setting(key, value), self.origins[KAFKA + key]))
        return rows


def layer(given: Mapping[str, object], origin: str) -> Layer:
    """Make a layer of values that share one origin; `kafka` may be a nested mapping."""
    return {key: Given(value, origin) for key, value in flatten(given)}


def flatten(given: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yield keys and values, the mapping under `kafka` as `kafka.<property>`, at any depth.

    >>> dict(flatten({"workers": 2, "kafka": {"security.protocol": "ssl", "sasl": {"user": 1}}}))
    {'workers': 2, 'kafka.security.protocol': 'ssl', 'kafka.sasl.user': 1}
    """
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (prefix or name == "kafka"):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def resolve(layers: Sequence[Layer]) -> Resolved:
    """Check every value of every layer, and use the first layer that has one.

    Args:
        layers: The strongest first.

    Raises:
        ConfigError: A key is unknown, or a value is wrong; the text has a
            line for each mistake, with its origin and what would be right.
    """
    found: dict[str, object] = {}
    kafka: dict[str, str] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []
    for given in layers:
        for name, (value, origin) in given.items():
            try:
                parsed = _parse(name, value)
            except ValueError as error:
                wrong.append(f"{origin}: {error}")
                continue
            if name in origins:
                continue
            origins[name] = origin
            if name.startswith(KAFKA):
                kafka[name.removeprefix(KAFKA)] = str(parsed)
            else:
                found[name] = parsed
    if wrong:
        raise ConfigError("\n".join(dict.fromkeys(wrong)))
    for name in SETTINGS:
        origins.setdefault(name, "default")
    # The parsers gave each field its type; mypy compared the two above.
    arguments: dict[str, Any] = found
    return Resolved(Settings(kafka=kafka, **arguments), origins)


def _parse(name: str, value: object) -> object:
    if name.startswith(KAFKA):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return str(value)
        shown = MASK if is_secret(name) else _repr(value)
        raise ValueError(f"{name} must be text, a number, true or false, not {shown}")
    setting = SETTINGS.get(name)
    if setting is None:
        raise ValueError(f"there is no setting {name!r}{did_you_mean(name, SETTINGS)}")
    if setting.parse is None:
        raise ValueError("kafka must be a mapping of librdkafka's properties, one key a property")
    try:
        return setting.parse(value)
    except ValueError as error:
        raise ValueError(f"{name} must be {error}, not {_repr(value)}") from None


def _repr(value: object) -> str:
    if not isinstance(value, list | dict):
        return repr(value)
    # With YAML's anchors, a few lines can be a list whose text fills the memory.
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    return shortened.repr(value)


def show_setting(name: str, value: object) -> str:
    """Return the value of a setting or Kafka property as a user would write it, or the mask.

    >>> show_setting("prefetch_bytes", 2**26), show_setting("kafka.ssl.key.password", "x")
    ('64MiB', '********')
    """
    if is_secret(name):
        return MASK
    if name == "prefetch_bytes" and isinstance(value, int):
        return show_size(value)
    if value == ():
        return "all" if name == "topics" else "none"
    return show(value)
