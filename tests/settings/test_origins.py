"""Files and the environment become layers; every mistake has a file and a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kqworker.errors import ConfigError
from kqworker.settings import origins
from kqworker.settings.settings import Given, layer


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_yaml_keys_carry_their_lines() -> None:
    path = write(
        "kqworker.yaml",
        "# ours\nworkers: 4\ntopics:\n  - a\n  - b\nkafka:\n"
        "  security.protocol: ssl\n  sasl:\n    username: ann\n",
    )

    assert origins.read(path) == {
        "workers": Given(4, "kqworker.yaml:2"),
        "topics": Given(["a", "b"], "kqworker.yaml:3"),
        "kafka.security.protocol": Given("ssl", "kqworker.yaml:7"),
        "kafka.sasl.username": Given("ann", "kqworker.yaml:9"),
    }


def test_toml_keys_carry_their_lines() -> None:
    path = write(
        "pyproject.toml",
        "[project]\nworkers = 1\n[tool.kqworker]\nworkers = 4\n"
        '[tool.kqworker.kafka]\n"client.id" = "x"\nsecurity.protocol = "ssl"\n',
    )

    assert origins.read(path) == {
        "workers": Given(4, "pyproject.toml:4"),
        "kafka.client.id": Given("x", "pyproject.toml:6"),
        "kafka.security.protocol": Given("ssl", "pyproject.toml:7"),
    }


def test_an_empty_yaml_file_says_nothing() -> None:
    assert origins.read(write("kqworker.yaml", "# nothing\n")) == {}


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.yaml", "workers: [", "a.yaml:1: not valid YAML: "),
        ("a.yaml", "x: y\nworkers: a: b", "a.yaml:2: not valid YAML: "),
        ("a.yaml", "workers: !!python/object:os.system 1", "a.yaml:1: not valid YAML: "),
        ("a.yaml", "\x07", "a.yaml: not valid YAML: "),
        (
            "a.yaml",
            "x: y\nworkers: !!int x",
            "a.yaml:2: not valid YAML: workers is not of the type",
        ),
        ("a.yaml", "workers: 2024-13-41", "a.yaml:1: not valid YAML: workers is not of the type"),
        ("a.yaml", f"workers: {'1' * 5000}", "a.yaml:1: not valid YAML: workers is not of the"),
        ("a.yaml", "workers: " + "[" * 9000, "a.yaml: not valid YAML: nested too deeply"),
        ("a.toml", "a = " + "[" * 9000, "a.toml: not valid TOML: nested too deeply"),
        ("a.toml", f"a = {'1' * 5000}", "a.toml: not valid TOML: Exceeds the limit"),
        ("a.yaml", "- workers", "a.yaml: must be a mapping of settings, such as `workers: 4`"),
        ("a.yaml", "members: 1\nmembers: 2", "a.yaml:2: members stands here twice"),
        ("a.toml", "workers = ", "a.toml: not valid TOML: "),
        ("a.toml", "[tool]\nx = 1", "a.toml: has no table [tool.kqworker]"),
        ("missing.yaml", None, "cannot read missing.yaml: No such file or directory"),
        (".", None, "cannot read .: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, text: str | None, error: str) -> None:
    if text is not None:
        write(name, text)

    with pytest.raises(ConfigError) as caught:
        origins.read(Path(name))

    assert str(caught.value).startswith(error)


def test_a_file_that_is_not_utf8_is_named(here: Path) -> None:
    (here / "a.yaml").write_bytes(b"group: \xff\xfe")

    with pytest.raises(ConfigError, match=r"^a.yaml: not UTF-8 text$"):
        origins.read(Path("a.yaml"))


def test_kqworker_yaml_comes_before_pyproject() -> None:
    write("pyproject.toml", "[tool.kqworker]\nmembers = 3\n")
    assert origins.find() == Path("pyproject.toml")

    write("kqworker.yaml", "members: 2\n")
    assert origins.find() == Path("kqworker.yaml")


def test_a_pyproject_without_our_table_is_none_of_ours() -> None:
    write("pyproject.toml", "[project]\nname = 'x'\n")
    assert origins.find() is None

    write("pyproject.toml", "not toml at all")
    assert origins.find() is None


def test_flag_beats_environment_beats_file_beats_app_beats_default() -> None:
    write("kqworker.yaml", "group: file\nmembers: 2\nworkers: 2\noffset: latest\n")
    environ = {"KQWORKER_GROUP": "environment", "KQWORKER_WORKERS": "3"}
    sources = origins.load(layer({"group": "flag"}, "--group"), environ=environ)

    resolved = sources.resolve(layer({"offset": "error", "prefetch": 7}, "App(...)"))

    settings, where = resolved.settings, resolved.origins
    assert (settings.group, where["group"]) == ("flag", "--group")
    assert (settings.workers, where["workers"]) == (3, "KQWORKER_WORKERS")
    assert (settings.members, where["members"]) == (2, "kqworker.yaml:2")
    assert (settings.offset, where["offset"]) == ("latest", "kqworker.yaml:4")
    assert (settings.prefetch, where["prefetch"]) == (7, "App(...)")
    assert (settings.shutdown_timeout, where["shutdown_timeout"]) == (30.0, "default")


def test_kqworker_yml_is_told_that_it_would_not_be_read() -> None:
    write("kqworker.yml", "members: 2\n")

    with pytest.raises(
        ConfigError, match=r"kqworker\.yml is not read: rename it to kqworker\.yaml"
    ):
        origins.load({}, environ={})

    assert origins.load({}, "kqworker.yml", {}).resolve().settings.members == 2
    write("kqworker.yaml", "members: 3\n")
    assert origins.load({}, environ={}).resolve().settings.members == 3


def test_a_given_file_is_read_instead_of_the_found_one() -> None:
    write("kqworker.yaml", "members: 2\n")
    write("other.yaml", "workers: 5\n")

    settings = origins.load({}, "other.yaml", {}).resolve().settings

    assert (settings.members, settings.workers) == (1, 5)


def test_kafka_variables_become_properties() -> None:
    sources = origins.load(
        {}, environ={"KQWORKER_KAFKA_SASL_PASSWORD": "p", "KQWORKER_KAFKA_SSL__KEY": "k"}
    )

    assert sources.resolve().settings.kafka == {"sasl.password": "p", "ssl_key": "k"}


def test_an_empty_variable_says_nothing() -> None:
    assert origins.load({}, environ={"KQWORKER_GROUP": ""}).environment == {}


@pytest.mark.parametrize(
    "variable",
    ["KQWORKER_SERVICE_HOST", "KQWORKER_PORT", "KQWORKER_TEST_BROKERS", "KQWORKER_SIM_SEEDS", "X"],
)
def test_variables_of_others_are_left_alone(variable: str) -> None:
    assert origins.load({}, environ={variable: "x"}).environment == {}


def test_a_variable_that_is_nearly_a_setting_is_a_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        origins.load({}, environ={"KQWORKER_WORKER": "4"})

    assert str(caught.value) == (
        "KQWORKER_WORKER: there is no setting 'worker' (did you mean KQWORKER_WORKERS?)"
    )


@pytest.mark.parametrize("brokers", ["Brokers", "brokers"])
def test_a_file_of_go_queue_is_told_which_command_reads_it(here: Path, brokers: str) -> None:
    (here / "q.yaml").write_text(
        f"Name: n\n{brokers}: ['a:1']\nGroup: g\nTopic: t\nkafka: {{a: b}}"
    )

    with pytest.raises(ConfigError) as caught:
        origins.load({}, "q.yaml").resolve()

    *mistakes, hint = str(caught.value).splitlines()
    assert "q.yaml:1: there is no setting 'Name'" in mistakes
    assert hint == "this looks like a configuration of go-queue: kqworker kq -f q.yaml HANDLER"


def test_a_file_of_ours_with_a_mistake_is_not_taken_for_one_of_go_queue(here: Path) -> None:
    (here / "q.yaml").write_text("brokers: a:1\ngroup: g\ntopic: t\n")

    with pytest.raises(ConfigError) as caught:
        origins.load({}, "q.yaml").resolve()

    assert str(caught.value).splitlines() == [
        "q.yaml:3: there is no setting 'topic' (did you mean 'topics'?)"
    ]


def test_an_env_file_fills_the_environment_where_it_is_empty() -> None:
    write(
        "secrets.env",
        "# ours\n\nexport KQWORKER_KAFKA_SASL_PASSWORD='a # b'\n"
        'KQWORKER_WORKERS=9\nMODEL="x y"\n',
    )
    environ = {"KQWORKER_WORKERS": "2"}

    sources = origins.load(layer({"env_file": "secrets.env"}, "--env-file"), environ=environ)
    resolved = sources.resolve()

    assert resolved.settings.kafka == {"sasl.password": "a # b"}
    assert resolved.origins["kafka.sasl.password"] == (
        "KQWORKER_KAFKA_SASL_PASSWORD in secrets.env:3"
    )
    assert resolved.settings.workers == 2
    assert environ["MODEL"] == "x y"


def test_an_env_file_can_be_named_by_a_file_or_a_variable() -> None:
    write("a.env", "KQWORKER_MEMBERS=3\n")
    write("kqworker.yaml", "env_file: a.env\n")
    assert origins.load({}, environ={}).resolve().settings.members == 3

    write("b.env", "KQWORKER_MEMBERS=4\n")
    assert origins.load({}, environ={"KQWORKER_ENV_FILE": "b.env"}).resolve().settings.members == 4


def test_a_bad_line_of_an_env_file_is_named_but_not_shown() -> None:
    write("a.env", "A=1\nhunter2\n")

    with pytest.raises(ConfigError) as caught:
        origins.read_env_file(Path("a.env"))

    assert str(caught.value) == "a.env:2: not a KEY=VALUE line"


def test_cpus_are_at_least_one_and_at_most_those_of_the_machine() -> None:
    assert 1 <= origins.cpus() <= (os.cpu_count() or 1)
