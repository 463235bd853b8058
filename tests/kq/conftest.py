"""The built-in broker, for tests of the Pusher that need no more than one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kqworker.kafka.devbroker import DevBroker, start_dev_broker


@pytest.fixture(scope="module")
def broker() -> Iterator[DevBroker]:
    """One for a module's tests, each of which uses a topic of its own."""
    with start_dev_broker() as started:
        yield started
