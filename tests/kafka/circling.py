"""The app of test_circles.py: hands on what it gets, in the way that the test asks for.

Messages are numbers; each is handed on one lower, and none below 0. What the app listens to,
where it hands on to (`to`) and how (`by`) come by the environment (supervisors.py sets it).
"""

from __future__ import annotations

import json
import os

from kqworker import App, Output
from tests.kafka.journal import APP

_told = json.loads(os.environ[APP])
_told.pop("journal")
by, to = _told.pop("by"), _told.pop("to")
app = App("under-test")


@app.handler(output=to if by == "output" else None, **_told)
def hand_on(number: int) -> int | Output | None:
    """Hand on the number before this one."""
    if number == 0:
        return None
    if by == "push":
        app.push(to, number - 1)
        return None
    return number - 1 if by == "output" else Output(number - 1, topic=to)
