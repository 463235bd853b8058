"""`config`, `handlers` and `check` show what there is, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

SMALL = """\
from kqworker import App
app = App("a")
@app.handler(topic="t")
def on(x: str): ...
"""


def rows(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines()}


def test_config_shows_values_and_their_origins(app: Path, kqworker: Run) -> None:
    (app / "app.py").write_text(
        "from kqworker import App\napp = App('orders', brokers='a:1', members=2)\n"
        "@app.handler(topic='t')\ndef on(x: str): ...\n"
    )
    (app / "kqworker.yaml").write_text("prefetch: 7\nkafka:\n  sasl.password: hunter2\n")

    ended = kqworker("config", "app:app", "-w", "3", KQWORKER_OFFSET="latest")

    assert (ended.code, ended.err) == (0, "")
    shown = rows(ended.out)
    assert shown["workers"] == ["3", "--workers"]
    assert shown["offset"] == ["latest", "KQWORKER_OFFSET"]
    assert shown["prefetch"] == ["7", "kqworker.yaml:1"]
    assert shown["brokers"] == ["a:1", "App(...)"]
    assert shown["members"] == ["2", "App(...)"]
    assert shown["group"] == ["orders", "the app's name"]
    assert shown["shutdown_timeout"] == ["30", "default"]
    assert shown["kafka.sasl.password"] == ["********", "kqworker.yaml:3"]
    assert "hunter2" not in ended.out


def test_an_env_file_is_there_for_the_app_and_the_settings(app: Path, kqworker: Run) -> None:
    (app / "app.py").write_text(
        "import os\nfrom kqworker import App\napp = App(os.environ['NAME'])\n"
        "@app.handler(topic='t')\ndef on(x: str): ...\n"
    )
    (app / "my.env").write_text("NAME=shop\nKQWORKER_WORKERS=5\n")

    shown = rows(kqworker("config", "app:app", "--env-file", "my.env").out)

    assert shown["group"] == ["shop", "the app's name"]
    assert shown["workers"] == ["5", "KQWORKER_WORKERS in my.env:2"]


def test_handlers_shows_the_policies(app: Path, kqworker: Run) -> None:
    ended = kqworker("handlers", "app:app")

    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()[1:]] == [
        ["test", "app.on_test", "Order", "unordered", "3", "-", "30s", "-"],
        ["images", "app.thumbnail", "bytes", "key", "5", "images.dlq", "-", "thumbs"],
    ]


def test_handlers_shows_the_default_time_limit(app: Path, kqworker: Run) -> None:
    ended = kqworker("handlers", "app:app", KQWORKER_TIME_LIMIT="9")

    assert " 9s " in ended.out


@pytest.mark.parametrize("command", ["run", "dev", "config"])
@pytest.mark.parametrize(
    ("app_py", "args", "error"),
    [
        (
            SMALL,
            ["app:ap"],
            "error: module 'app' has no attribute 'ap' (did you mean 'app'?)\n",
        ),
        ("", ["app"], "error: 'app' names no app: expected module:attribute; try: app:app\n"),
        ("1 +", ["app:app"], "error: module 'app' cannot be imported:\n"),
        ("import nothing_such", ["app:app"], "'nothing_such'"),
        ("", ["app:app", "--app-dir", "missing"], "error: the app directory '"),
        ("", ["app:app", "-f", "x.yaml"], "error: cannot read x.yaml: No such file or directory\n"),
        (
            "",
            ["app:app", "-w", "many"],
            "error: --workers: workers must be a whole number of at least 1, or auto, not 'many'\n",
        ),
    ],
)
def test_a_mistake_is_told_without_a_traceback_of_ours(
    app: Path, kqworker: Run, command: str, app_py: str, args: list[str], error: str
) -> None:
    (app / "app.py").write_text(app_py)

    ended = kqworker(command, *args)

    assert ended.code == 2
    assert error in ended.err
    assert "/kqworker/" not in ended.err
    assert ended.out == ""


def test_all_mistakes_of_a_file_are_told_at_once(app: Path, kqworker: Run) -> None:
    (app / "kqworker.yaml").write_text("worker: 4\ngroup: ''\n")

    ended = kqworker("config", "app:app")

    assert ended.code == 2
    assert ended.err == (
        "error: kqworker.yaml:1: there is no setting 'worker' (did you mean 'workers'?)\n"
        "       kqworker.yaml:2: group must be text, not empty, not ''\n"
    )


def test_without_brokers_the_way_to_give_them_is_told(app: Path, kqworker: Run) -> None:
    ended = kqworker("run", "app:app")

    assert ended.code == 2
    assert ended.err == (
        "error: no brokers: give --brokers, KQWORKER_BROKERS, `brokers:` in kqworker.yaml, "
        "or App(brokers=…)\n"
        "       try: kqworker dev app:app (built-in broker)\n"
    )


def test_check_finds_the_kafka_client_of_an_import_as_a_run_does(app: Path, kqworker: Run) -> None:
    client = "from confluent_kafka import Producer\np = Producer({'bootstrap.servers': ''})\n"
    (app / "app.py").write_text(client + SMALL)

    ended = kqworker("check", "app:app", "-b", "127.0.0.1:1", "--startup-timeout", "0.1")
    assert (ended.code, ended.out) == (2, "failed  app\n")
    assert "error: importing 'app' opened a Kafka client (rdk:" in ended.err

    # Then each worker imports the app, and has a client of its own.
    ended = kqworker("check", "app:app", "--no-preload", "-b", "a:1", "--startup-timeout", "0.1")
    assert rows(ended.out)["ok"] == ["settings", "group a, 1 member"]
