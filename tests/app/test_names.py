"""The public names, and what importing them does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kqworker

HEAVY = {"confluent_kafka", "click", "rich", "multiprocessing", "msgspec", "psutil", "asyncio"}


def test_the_public_names_are_these() -> None:
    assert kqworker.__all__ == [
        "App",
        "BrokerError",
        "BugError",
        "ConfigError",
        "Context",
        "DecodeError",
        "Delivery",
        "HandlerError",
        "KQWorkerError",
        "Message",
        "Output",
        "Reject",
        "Retry",
        "RetryLater",
        "WorkerLost",
        "__version__",
    ]


@pytest.mark.parametrize("name", kqworker.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(kqworker, name) is not None
    assert name in dir(kqworker)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kqworker' has no attribute 'Ap'"):
        kqworker.Ap  # noqa: B018 - to look it up is the test


def loaded_by(code: str) -> set[str]:
    """Return which modules of HEAVY a fresh interpreter has loaded after some code."""
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    return HEAVY & set(run.stdout.split())


def test_importing_kqworker_loads_nothing_heavy() -> None:
    assert loaded_by("import kqworker") == set()
    assert loaded_by("from kqworker import *") == set()


def test_an_app_of_text_and_bytes_does_not_load_msgspec() -> None:
    code = (
        "import kqworker\n"
        "app = kqworker.App('a')\n"
        "def text(value: str): ...\n"
        "def raw(message: kqworker.Message[bytes], context: kqworker.Context): ...\n"
        "app.handler(topic='a')(text).encode_result('a')\n"
        "app.handler(topic='b', name='b')(raw)\n"
    )

    assert loaded_by(code) == set()
    assert loaded_by(f"{code}def order(value: dict): ...\napp.handler(topic='c')(order)") == {
        "msgspec"
    }
