"""Who reads from the built-in broker, as those who push see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kqworker.kafka.readers import Reader, published, readers

HERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "kqworker" / "readers"


def test_a_run_is_found_by_its_topics_while_it_lives() -> None:
    with published(HERE, "g", ["orders", "^logs"], "latest"):
        found = Reader("g", ("orders", "^logs"), from_end=True, lives=True)
        assert readers(HERE, "orders") == readers(HERE, "logs.a") == [found]
        assert readers(HERE, "order") == readers("127.0.0.1:2", "orders") == []


def test_what_has_ended_is_known_and_no_longer_lives(folder: Path) -> None:
    for _ in range(3):
        with published(HERE, "g", ["orders"], "earliest"):
            pass

    assert readers(HERE, "orders") == [Reader("g", ("orders",), from_end=False, lives=False)]
    assert len(list(folder.iterdir())) == 1


def test_a_run_that_was_killed_does_not_live(folder: Path) -> None:
    with published(HERE, "g", ["orders"], "earliest"):
        (path,) = folder.iterdir()
        # Another process has its number now.
        path.write_text(json.dumps({**json.loads(path.read_text()), "created": 1.0}))

        assert [reader.lives for reader in readers(HERE, "orders")] == [False]
        with published(HERE, "other", ["orders"], "earliest"):
            assert {(r.group, r.lives) for r in readers(HERE, "orders")} == {
                ("g", False),
                ("other", True),
            }


def test_what_other_brokers_had_is_forgotten(folder: Path) -> None:
    with published("127.0.0.1:2", "g", ["orders"], "earliest"):
        pass
    with published(HERE, "g", ["orders"], "earliest"):
        assert len(list(folder.iterdir())) == 1


def test_several_runs_of_one_process_are_told_apart() -> None:
    with published(HERE, "a", ["orders"], "earliest"):
        with published(HERE, "b", ["orders"], "earliest"):
            assert [reader.lives for reader in readers(HERE, "orders")] == [True, True]
        assert {r.group: r.lives for r in readers(HERE, "orders")} == {"a": True, "b": False}


def test_a_file_that_is_none_of_ours_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    (folder / "x.json").write_text("{")

    assert readers(HERE, "orders") == []
