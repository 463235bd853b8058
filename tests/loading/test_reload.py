"""A changed, new or removed Python file is noticed once; other files are not."""

from __future__ import annotations

import os
from pathlib import Path

from kqworker.loading.reload import FileWatch


def test_nothing_changed_at_first(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("a = 1")

    assert FileWatch([tmp_path]).changed() == ()


def test_a_written_an_added_and_a_removed_file_are_each_noticed_once(tmp_path: Path) -> None:
    app, gone, new = (tmp_path / name for name in ("app.py", "gone.py", "new.py"))
    app.write_text("a = 1")
    gone.write_text("")
    watch = FileWatch([tmp_path])

    app.write_text("a = 23")
    gone.unlink()
    new.write_text("")

    assert watch.changed() == (str(app), str(gone), str(new))
    assert watch.changed() == ()


def test_a_change_of_the_time_alone_is_noticed(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("a = 1")
    watch = FileWatch([app])

    os.utime(app, (1, 1))

    assert watch.changed() == (str(app),)


def test_caches_environments_and_other_files_are_left_out(tmp_path: Path) -> None:
    for name in ("__pycache__", ".hidden", "venv", "package"):
        (tmp_path / name).mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    watch = FileWatch([tmp_path])

    for name in ("__pycache__/a.py", ".hidden/a.py", "venv/a.py", "data.json", "package/a.py"):
        (tmp_path / name).touch()

    assert watch.changed() == (str(tmp_path / "package/a.py"),)


def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    watch = FileWatch([tmp_path / "later.py"])
    assert watch.changed() == ()

    (tmp_path / "later.py").touch()
    assert watch.changed() == (str(tmp_path / "later.py"),)
