"""A configuration is loaded from a file, and its mistakes are told with field and line."""

from __future__ import annotations

import builtins
import dataclasses
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import pytest

from kqworker.errors import ConfigError
from kqworker.kq.conf.conf import KQ, KqConf, load, must_load
from kqworker.kq.conf.fields import Kind, Section
from kqworker.kq.conf.sections import (
    DevServerConf,
    FieldKeysConf,
    LogConf,
    ProfileTypeConf,
    ProfilingConf,
    PrometheusConf,
    ShutdownConf,
    TelemetryConf,
)

PLAIN = """\
Name: orders
Brokers:
  - a:9092
  - b:9092
Group: g
Topic: t
"""
BY_HAND = KqConf(name="orders", brokers=("a:9092", "b:9092"), group="g", topic="t")


def write(directory: Path, content: str, name: str = "config.yaml") -> Path:
    path = directory / name
    path.write_text(content, encoding="utf-8")
    return path


def test_a_file_and_a_conf_by_hand_have_the_same_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, PLAIN)) == BY_HAND


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.YML", PLAIN.lower()),
        (
            "c.json",
            '{"NAME": "orders", "brokers": ["a:9092", "b:9092"], "group": "g", "tOpic": "t"}',
        ),
        ("c.toml", 'name = "orders"\nbrokers = ["a:9092", "b:9092"]\ngroup = "g"\ntopic = "t"\n'),
        ("c.json5", "{Name: 'orders', brokers: ['a:9092', 'b:9092',], group: 'g', topic: 't'}"),
        (".yaml", PLAIN),
    ],
)
def test_every_format_says_the_same(tmp_path: Path, name: str, content: str) -> None:
    assert load(write(tmp_path, content, name)) == BY_HAND


def test_every_mistake_is_told_with_file_line_and_field(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN + "Offset: newest\nLog:\n  Level: warn\n  Stat: 1\n")

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).splitlines() == [
        f"{path}:7: Offset must be first or last, not 'newest'",
        f"{path}:9: Log.Level must be debug, info, error or severe, not 'warn'",
        f"{path}:10: Log.Stat must be true or false, not 1",
    ]


def test_a_key_that_is_unknown_is_told_with_the_one_that_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN.replace("Topic: t", "Topc: t"))

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).splitlines() == [
        f"{path}:1: Topic is missing: it must be text",
        f"{path}:6: Topc is unknown and ignored (did you mean 'Topic'?)",
    ]


def test_an_element_of_a_list_has_its_own_line(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN.replace("b:9092", "yes"))

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value) == f"{path}:4: Brokers[1] must be text, not true"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("c.yaml", "- a\n", "c.yaml:1: must be a mapping of fields, such as `Name: orders`"),
        ("c.yaml", "", "c.yaml: must be a mapping of fields, such as `Name: orders`"),
        ("c.yaml", "a: [\n", "c.yaml:2:1: not valid YAML: "),
        ("c.json", "{\n'a'}", "c.json:2:1: not valid JSON: "),
        ("c.toml", "a", "c.toml: not valid TOML: "),
        ("c.ini", "", "c.ini: its extension must be one of .json, .json5, .toml, .yaml, .yml"),
        ("yaml", "", "yaml: its extension must be one of "),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, content: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, content, name))

    assert str(caught.value).startswith(str(tmp_path / text))


@pytest.mark.parametrize("depth", [300, 450, 490, 2_000, 20_000])
@pytest.mark.parametrize("name", ["c.yaml", "c.json", "c.toml", "c.json5"])
def test_a_file_that_is_nested_without_end_is_refused(
    tmp_path: Path, name: str, depth: int
) -> None:
    lists = "[" * depth + "]" * depth
    own = {"c.toml": f"[Kqworker]\na = {lists}", "c.yaml": f"Kqworker: {{a: {lists}}}"}
    path = write(tmp_path, own.get(name, f'{{"Kqworker": {{"a": {lists}}}}}'), name)

    with pytest.raises(ConfigError, match=r"nested too deeply|Name is missing"):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"cannot read 'a\\x00b.yaml': embedded null"):
        load("a\0b.yaml")


def test_json5_names_the_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: object) -> ModuleType:
        if name == "json5":
            raise ImportError(name)
        return imported(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ConfigError, match=re.escape("pip install 'kqworker[json5]'")):
        load(write(tmp_path, "{}", "c.json5"))


def test_the_environment_is_used_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KQ_TOPIC", "from-outside")
    path = write(tmp_path, PLAIN.replace("Topic: t", "Topic: ${KQ_TOPIC}"))

    assert load(path).topic == "${KQ_TOPIC}"
    assert load(path, use_env=True).topic == "from-outside"


SERVICE = "Name: shop\nKq:\n" + indent(PLAIN, "  ")


@pytest.mark.parametrize(
    ("name", "content", "section"),
    [
        ("c.yaml", SERVICE, "Kq"),
        ("c.yaml", SERVICE, "kq"),
        ("c.yaml", "Queues:\n  Orders:\n" + indent(PLAIN, "    "), "queues.orders"),
        (
            "c.toml",
            '[Kq]\nName = "orders"\nBrokers = ["a:9092", "b:9092"]\nGroup = "g"\nTopic = "t"\n',
            "Kq",
        ),
    ],
)
def test_a_section_of_a_services_file_is_a_configuration(
    tmp_path: Path, name: str, content: str, section: str
) -> None:
    path = write(tmp_path, content, name)

    assert load(path, section=section) == must_load(path, section=section) == BY_HAND


def test_a_section_has_its_lines_its_warnings_and_nulls_below_our_own_key(tmp_path: Path) -> None:
    path = write(tmp_path, SERVICE + "  Kqworker: {time_limit: ~}\n  Toppic: t\n")

    conf = load(path, section="Kq")

    assert conf.origin("Topic") == f"{path}:8"
    assert conf.kqworker == {"time_limit": None}
    assert conf.warnings == (f"{path}:10: Toppic is unknown and ignored (did you mean 'Topic'?)",)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("Kqq", "1: there is no section 'Kqq' (did you mean 'Kq'?)"),
        ("Kq.Inner", "2: there is no section 'Kq.Inner'"),
        ("Name", "1: must be a mapping of fields, such as `Name: orders`"),
        ("Name.Kq", "1: there is no section 'Name.Kq'"),
    ],
)
def test_a_section_that_is_none_is_refused(tmp_path: Path, section: str, told: str) -> None:
    path = write(tmp_path, SERVICE)

    with pytest.raises(ConfigError) as caught:
        load(path, section=section)

    assert str(caught.value) == f"{path}:{told}"


def test_a_mistake_in_a_section_has_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, SERVICE.replace("  Name: orders\n", "") + "  Conns: many\n")

    with pytest.raises(ConfigError) as caught:
        load(path, section="Kq")

    assert str(caught.value).splitlines() == [
        f"{path}:2: Name is missing: it must be text",
        f"{path}:8: Conns must be a whole number (without quotes), not 'many'",
    ]


def test_a_file_of_a_service_is_told_how_to_load_its_section(tmp_path: Path) -> None:
    path = write(tmp_path, "Cache: [a]\n" + SERVICE)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).splitlines() == [
        f"{path}:1: Brokers is missing: it must be a list of texts",
        f"{path}:1: Group is missing: it must be text",
        f"{path}:1: Topic is missing: it must be text",
        f"{path}:3: Kq has Brokers and Topic: to load it, say section='Kq', or --section Kq",
    ]


def test_must_load_ends_the_program_with_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, PLAIN + "Conns: many\n")

    with pytest.raises(SystemExit) as caught:
        must_load(path)

    assert caught.value.code == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == (
        f"error: {path}:7: Conns must be a whole number (without quotes), not 'many'\n"
    )


def test_must_load_returns_what_load_does(tmp_path: Path) -> None:
    assert must_load(write(tmp_path, PLAIN)) == BY_HAND


def test_our_own_section_is_kept_as_it_stands_with_its_lines(tmp_path: Path) -> None:
    own = "kqWorker:\n  ordering: key\n  retry:\n    attempts: 3\n  time_limit: null\n"
    path = write(tmp_path, PLAIN + own)

    conf = load(path)

    assert conf.kqworker == {"ordering": "key", "retry": {"attempts": 3}, "time_limit": None}
    assert conf.origin("Kqworker.retry.attempts") == f"{path}:10"
    assert conf.warnings == ()


def test_an_origin_is_known_of_every_field_that_was_given(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN)

    assert load(path).origin("Topic") == f"{path}:6"
    assert load(path).origin("MinBytes") == str(path)
    assert BY_HAND.origin("Topic") == "KqConf(...)"


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        PLAIN + "Password: hunter2\nProfiling:\n  ServerAddr: a\n  AuthPassword: hunter2\n",
    )
    conf = load(path)

    assert conf.password == "hunter2"
    assert "hunter2" not in repr(conf)


def test_brokers_may_be_a_list_and_not_one_text() -> None:
    given: tuple[str, ...] = ["a:1"]  # type: ignore[assignment]  # what people write
    assert KqConf(name="n", brokers=given, group="g", topic="t").brokers == ("a:1",)

    with pytest.raises(ConfigError, match="brokers must be several texts"):
        KqConf(name="n", brokers="a:1", group="g", topic="t")  # type: ignore[arg-type]


def test_a_conf_by_hand_has_its_words_checked() -> None:
    with pytest.raises(
        ConfigError, match=r"Log\.Level must be debug, info, error or severe, not 'w'"
    ):
        dataclasses.replace(BY_HAND, log=LogConf(level="w"))


@pytest.mark.parametrize(
    ("attribute", "value", "error"),
    [
        ("processors", "4", "Processors must be a whole number, not '4'"),
        ("conns", True, "Conns must be a whole number, not True"),
        ("name", None, "Name must be text, not None"),
        ("brokers", None, "brokers must be several texts"),
        ("brokers", [9092], "Brokers must be a list of texts, not (9092,)"),
        ("force_commit", "false", "ForceCommit must be True or False, not 'false'"),
        ("password", 5, "Password must be text, not ********"),
        ("log", None, "Log must be a LogConf, not None"),
        ("shutdown", {"wait_time": 5}, "Shutdown must be a ShutdownConf, not {'wait_time': 5}"),
        ("shutdown", ShutdownConf(wait_time="5s"), "Shutdown.WaitTime must be a number of sec"),  # type: ignore[arg-type]
        ("kqworker", "ordering: key", "kqworker must be a mapping of settings, not str"),
    ],
)
def test_a_conf_by_hand_has_its_kinds_checked(attribute: str, value: Any, error: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"KqConf(...): {error}")):
        dataclasses.replace(BY_HAND, **{attribute: value})


def test_a_conf_survives_pickling(tmp_path: Path) -> None:
    conf = load(write(tmp_path, PLAIN))

    assert pickle.loads(pickle.dumps(conf)) == conf


def test_a_shutdown_that_is_absent_has_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, PLAIN)).shutdown == ShutdownConf(wrap_up_time=1.0, wait_time=5.5)
    given = load(write(tmp_path, PLAIN + "Shutdown: {WaitTime: 100ms}\n")).shutdown
    assert given == ShutdownConf(wrap_up_time=1.0, wait_time=0.1)


EMPTY = {
    "Log: {}": ("log", LogConf()),
    "Log: {FieldKeys: {}}": ("log", LogConf(field_keys=FieldKeysConf())),
    "Prometheus: {}": ("prometheus", PrometheusConf()),
    "Telemetry: {}": ("telemetry", TelemetryConf()),
    "DevServer: {}": ("dev_server", DevServerConf()),
    "Shutdown: {}": ("shutdown", ShutdownConf()),
    "Profiling: {ServerAddr: a}": ("profiling", ProfilingConf(server_addr="a", name="orders")),
    "Profiling: {ServerAddr: a, ProfileType: {}}": (
        "profiling",
        ProfilingConf(server_addr="a", name="orders", profile_type=ProfileTypeConf()),
    ),
}


@pytest.mark.parametrize("content", EMPTY)
def test_a_section_that_is_empty_has_the_defaults_of_its_class(
    tmp_path: Path, content: str
) -> None:
    attribute, expected = EMPTY[content]

    assert getattr(load(write(tmp_path, PLAIN + content)), attribute) == expected


TYPES = {Kind.TEXT: str, Kind.WHOLE: int, Kind.UNSIGNED: int, Kind.NUMBER: float}
TYPES |= {Kind.FLAG: bool, Kind.DURATION: float, Kind.LIST: tuple, Kind.MAP: dict}


def sections(section: Section = KQ) -> Iterator[Section]:
    yield section
    for each in section.fields:
        if each.section is not None:
            yield from sections(each.section)


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.made.__name__)
def test_a_default_is_of_the_type_of_its_field(section: Section) -> None:
    plain = [each for each in section.fields if each.section is None and not each.required]

    assert [each.name for each in plain if type(each.absent()) is not TYPES[each.kind]] == []
    # It is one of the words that the field takes.
    assert [each.name for each in plain if each.options and each.default not in each.options] == []


def test_only_what_kqworker_adds_is_no_key_of_a_file() -> None:
    ours = {each.name for each in dataclasses.fields(KqConf)}

    assert ours - {each.attribute for each in KQ.fields} == {"kqworker", "warnings", "origins"}
