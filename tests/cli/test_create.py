"""What `init` writes runs as it is, and nothing of the user's is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kqworker.cli.create import FILES
from kqworker.settings import origins
from tests.cli.conftest import Run


def test_what_was_written_passes_its_own_test_and_can_be_loaded(here: Path, kqworker: Run) -> None:
    ended = kqworker("init", "my orders")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("try: cd 'my orders' && kqworker dev app:app\n")

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=here / "my orders",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout

    shown = kqworker("handlers", "app:app", "--app-dir", "my orders")
    assert shown.code == 0
    assert "orders  app.on_order  Order" in shown.out


def test_its_settings_are_valid_even_when_nothing_is_commented_out(
    here: Path, kqworker: Run
) -> None:
    kqworker("init", "a")
    file = here / "a" / "kqworker.yaml"
    _, settings = file.read_text().split("\n\n", 1)
    for line in settings.splitlines():
        if line.startswith("# ") and ":" in line and "Properties" not in line:
            settings = settings.replace(line, line.removeprefix("# "))
    file.write_text(settings)

    resolved = origins.load({}, str(file), {}).resolve().settings

    assert resolved.brokers == ("localhost:9092",)
    assert resolved.kafka["sasl.username"] == "a"


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_overwritten(here: Path, kqworker: Run, name: str) -> None:
    (here / name).write_text("mine")

    ended = kqworker("init", ".")

    assert ended.code == 2
    assert ended.err == f"error: . already has {name}: nothing was written\n"
    assert [path.name for path in here.iterdir() if path.name in FILES] == [name]
    assert (here / name).read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_an_error(here: Path, kqworker: Run) -> None:
    (here / "file").touch()

    ended = kqworker("init", "file/app")

    assert ended.code == 2
    assert ended.err == "error: cannot write file/app: Not a directory\n"


def test_a_name_with_braces_and_quotes_is_still_an_app(here: Path, kqworker: Run) -> None:
    assert kqworker("init", 'a{b}"c').code == 0

    assert kqworker("handlers", "app:app", "--app-dir", 'a{b}"c').code == 0
