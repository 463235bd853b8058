"""Which of a set of Python files have changed since the last look.

Decides what counts as a change; asks only the file system. Knows nothing of workers:
the loop calls `changed()` about every half second and replaces them itself.
Tested by tests/loading/test_reload.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Trees that can be large, and whose files are not the app's.
SKIPPED = {"__pycache__", "node_modules", "site-packages"}


class FileWatch:
    """Compares the times and sizes of Python files with those of the last look.

    Args:
        paths: Files, and directories whose `*.py` files are watched, at any depth;
            hidden directories, virtual environments and caches are left out.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._paths = [Path(path) for path in paths]
        self._seen = dict(self._stamps())

    def changed(self) -> tuple[str, ...]:
        """Return the files that were written, added or removed since the last call."""
        stamps = dict(self._stamps())
        seen, self._seen = self._seen, stamps
        return tuple(
            sorted(path for path in seen.keys() | stamps if seen.get(path) != stamps.get(path))
        )

    def _stamps(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        for path in self._paths:
            for file in python_files(path) if path.is_dir() else (str(path),):
                try:
                    stat = os.stat(file)  # noqa: PTH116 - a Path for each file doubles the time
                except OSError:
                    continue  # removed while we looked, or not there yet
                # The inode too: an editor that replaces the file may keep its time.
                yield file, (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def python_files(directory: Path) -> Iterator[str]:
    """Yield the `*.py` files under `directory`."""
    for root, directories, files in os.walk(directory):
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".")
            and name not in SKIPPED
            # A virtual environment, whatever its name is.
            and not (Path(root) / name / "pyvenv.cfg").exists()
        ]
        for name in files:
            if name.endswith(".py"):
                yield f"{root}/{name}"
