"""The loop of a worker: whose failure is whose, and when it has its turn."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from kqworker.runtime import coroutines as module
from kqworker.runtime.coroutines import Coroutines


@pytest.fixture
def coroutines() -> Iterator[Coroutines]:
    coroutines = Coroutines()
    yield coroutines
    coroutines.close()


async def nothing() -> None: ...


def test_a_coroutine_returns_or_raises_to_whoever_runs_it(coroutines: Coroutines) -> None:
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    async def leave(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    assert coroutines.run(seven()) == 7
    for error in (ValueError("a"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            coroutines.run(leave(error))
        assert coroutines.run(seven()) == 7


def test_what_a_background_task_raises_is_no_other_coroutines_failure(
    coroutines: Coroutines, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def leave() -> None:
        sys.exit("of nobody")

    async def begin() -> str:
        tasks.append(asyncio.create_task(leave()))
        for _ in range(5):
            await asyncio.sleep(0)
        return "done"

    with caplog.at_level(logging.ERROR):
        assert coroutines.run(begin()) == "done"

    assert "a background task has raised SystemExit" in caplog.text
    assert isinstance(tasks[0].exception(), SystemExit)


def test_a_coroutine_runs_in_the_context_it_is_given_or_in_a_copy(coroutines: Coroutines) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def put(value: str) -> None:
        variable.set(value)

    given = contextvars.copy_context()
    coroutines.run(put("given"), given)
    coroutines.run(put("lost"))

    assert given[variable] == "given"
    assert variable.get() == "unset"


def test_without_a_coroutine_there_is_no_loop_and_nothing_to_wait_for(
    coroutines: Coroutines,
) -> None:
    assert not coroutines.running
    coroutines.until_readable(-1)
    coroutines.breathe()
    assert not coroutines.running


def test_while_it_waits_to_read_the_loop_runs(coroutines: Coroutines) -> None:
    reader, writer = os.pipe()

    async def write_later() -> None:
        await asyncio.sleep(0.001)
        os.write(writer, b"x")

    tasks: list[asyncio.Task[None]] = []

    async def begin() -> None:
        tasks.append(asyncio.create_task(write_later()))

    coroutines.run(begin())
    coroutines.until_readable(reader)
    # What is there already does not keep it, and does not break off what it runs later.
    coroutines.until_readable(reader)
    assert coroutines.run(asyncio.sleep(0.001, "slept")) == "slept"

    assert os.read(reader, 9) == b"x"
    os.close(reader)
    os.close(writer)


def test_a_turn_is_short_and_takes_a_task_some_steps_further(
    coroutines: Coroutines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    steps = 0
    tasks: list[asyncio.Task[None]] = []

    async def busy() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    async def begin() -> None:
        tasks.append(asyncio.create_task(busy()))

    coroutines.run(begin())
    for _ in range(3):
        before = steps
        coroutines.breathe()
        assert before < steps <= before + module.ROUNDS + 1

    monkeypatch.setattr(module, "PAUSE", 60.0)
    before = steps
    coroutines.breathe()
    assert steps == before
