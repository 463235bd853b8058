"""What the app is handed by higher rooms, because it may not import them.

`kqworker/__init__.py` sets it, so it is there whatever part of the package is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kqworker.app.app import App
    from kqworker.app.connection import PushSink

# Opens the sink of an app's pushes outside of workers.
open_push_sink: Callable[[App], PushSink]
