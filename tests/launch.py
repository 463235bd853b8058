"""Becomes another program that ends when the process that started it ends.

Run as `python -I -S launch.py PARENT PROGRAM ARGUMENT...`. It is a program of its own
because subprocess's preexec_fn may deadlock in a process with threads, and librdkafka has
threads. Must import nothing slow. Tested by tests/kafka/test_cluster.py and
tests/test_processes.py.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if sys.platform == "linux":
    # Plain ints would be passed as 32 bits, and the call would silently do nothing.
    arguments = [ctypes.c_ulong(n) for n in (PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)]
    if ctypes.CDLL(None, use_errno=True).prctl(*arguments) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    # It may have ended before the call, and then nobody would tell us.
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent has gone")
# A program inherits what is ignored: this Python ignores a closed pipe and a file that is too
# large, and all that nohup has started ignores a hang-up.
for name in ("SIGPIPE", "SIGXFSZ", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
