"""What the first process of a container is given, it lets go when it has died."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such orphans")

# PR_SET_CHILD_SUBREAPER makes any process what the first one of a container is.
ADOPTS = """
import ctypes, os, subprocess, sys
import psutil
from kqworker.runtime.reap import reap_adopted

assert ctypes.CDLL(None).prctl(36, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0
own = subprocess.Popen(["true"])
leader = subprocess.Popen(["sh", "-c", "true & echo $!; exec sleep 60"], stdout=-1,
                          start_new_session=True)
orphan = int(leader.stdout.readline())
leader.kill()
leader.wait()
for pid in own.pid, orphan:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
reap_adopted()
print(psutil.pid_exists(orphan), own.wait())
"""


def test_a_dead_orphan_is_let_go_and_a_child_of_ours_is_left_to_who_waits_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADOPTS], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False", "0"], done.stderr
