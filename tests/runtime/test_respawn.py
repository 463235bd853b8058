"""Worker after worker comes and goes, and costs no descriptor, no process, no memory map."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.runtime.bench import Bench


def _open() -> tuple[int, int]:
    maps = Path("/proc/self/maps").read_text().count("kqworker-slot")
    return len(os.listdir("/proc/self/fd")), maps  # noqa: PTH208 - numbers, not paths


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts by /proc")
def test_200_respawns_leave_the_descriptors_as_they_were() -> None:
    with Bench() as bench:

        def respawn(times: int) -> None:
            for _ in range(times // 2):
                workers = [bench.start_only(), bench.start_only()]
                bench.send(workers[0], ["exit 1"])
                bench.kill(workers[1])
                for worker in workers:
                    bench.died(worker)

        respawn(4)
        before = _open()
        respawn(200)
        assert _open() == before
