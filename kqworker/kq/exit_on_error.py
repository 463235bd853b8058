"""What `must_…` means: an error that the program cannot act on ends it.

Decides how the error is reported, as the command line does. Tested by tests/kq/test_conf.py and
tests/kq/test_queue.py.
"""

from __future__ import annotations

import contextlib
import sys
from typing import NoReturn

from kqworker.errors import KQWorkerError
from kqworker.exits import exit_of
from kqworker.loading.import_string import importing
from kqworker.watch import direct


def end(error: KQWorkerError) -> NoReturn:
    """Write `error: …` to standard error, and end the program.

    Raises:
        SystemExit: With the code of the command line, because of the error.
    """
    # A command that imports the module reports it like any error, and so does each worker.
    if not importing() and sys.stderr is not None:
        text = str(error).replace("\n", "\n       ")
        with contextlib.suppress(OSError):  # whatever becomes of the text, the code stands
            direct.write(sys.stderr, f"error: {text}\n")
    raise SystemExit(int(exit_of(error))) from error
