"""The functions that an app runs at the start and the end of its processes.

Decides which functions may be hooks, and that they cannot push. Tested by tests/app/test_app.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from kqworker.app.context import without_pushes
from kqworker.app.handler import locate
from kqworker.app.payload import refuse_untaken
from kqworker.app.signature import cannot_be_called, has_yield, is_async
from kqworker.errors import ConfigError


def hook(function: Callable[[], object], kind: str) -> Callable[[], object]:
    """Return a function as a hook; an async one returns a coroutine.

    Args:
        function: The user's function.
        kind: The name of its decorator, for error texts.

    Raises:
        ConfigError: It needs arguments, or has a yield.
    """
    why = cannot_be_called(function, 0)
    if why is not None:
        raise ConfigError(
            f"{locate(function)}: @{kind} needs a function that can be called without arguments: "
            f"{why}"
        )
    if has_yield(function):
        raise ConfigError(
            f"{locate(function)}: @{kind}: it has a yield, so a call would run nothing"
        )

    async def settle(result: object) -> None:
        with without_pushes(f"@{kind}"):
            refuse_untaken(await result if inspect.isawaitable(result) else result, f"@{kind}")

    async def run_async() -> None:
        # Called inside the loop, where a plain wrapper can make its task.
        with without_pushes(f"@{kind}"):
            result: object = function()
        await settle(result)

    def run() -> object:
        with without_pushes(f"@{kind}"):
            result = function()
        if inspect.isawaitable(result):
            return settle(result)
        refuse_untaken(result, f"@{kind}")
        return result

    return run_async if is_async(function) else run
