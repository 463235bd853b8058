"""A queue before it reaches Kafka: how it is made, what stops it, what is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kqworker import BrokerError, ConfigError
from kqworker.exits import Exit
from kqworker.kq import KqConf, Queue, must_new_queue, new_queue, with_queue_capacity
from kqworker.watch import Quiet


def conf(**fields: Any) -> KqConf:
    # Nobody listens there.
    given = {"name": "shop", "brokers": ["127.0.0.1:1"], "group": "g", "topic": "t", **fields}
    return KqConf(**given)


def handle(key: str, value: str) -> None: ...


def test_options_and_configuration_become_settings() -> None:
    queue = new_queue(conf(conns=2), handle, with_queue_capacity(5))

    assert (queue.name, queue.settings.prefetch) == ("shop", 10)
    assert repr(queue) == "<Queue 'shop'>"


def test_a_queue_that_was_stopped_before_ends_at_once() -> None:
    queue = new_queue(conf(), handle)

    queue.stop()
    queue.stop()

    # Kafka is not even asked.
    assert queue.run(Quiet()) is Exit.CLEAN


def test_a_queue_runs_once() -> None:
    with new_queue(conf(), handle) as queue:
        queue.stop()
        queue.run(Quiet())

        with pytest.raises(RuntimeError, match="'shop'> has been started before: make a new one"):
            queue.start()


def test_a_context_that_is_left_stops_the_queue() -> None:
    with new_queue(conf(), handle) as queue:
        pass

    assert queue.run(Quiet()) is Exit.CLEAN


def test_a_failure_is_raised() -> None:
    queue = new_queue(conf(kqworker={"startup_timeout": 0.2}), handle)

    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        queue.run(Quiet())


def test_a_ca_file_that_cannot_be_read_is_named_as_in_kq() -> None:
    with pytest.raises(ConfigError, match=r"CaFile: cannot read nowhere\.pem: No such file"):
        new_queue(conf(ca_file="nowhere.pem"), handle)


def test_must_new_queue_says_what_is_wrong_and_ends_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        must_new_queue(conf(group=""), handle)

    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: KqConf(...): Group must be text, not empty, not ''\n"


def test_a_handler_that_stops_its_queue_is_told_where_the_queue_lives() -> None:
    queue = new_queue(conf(), handle)

    with pytest.raises(TypeError, match="a handler cannot use its Queue"):
        pickle.dumps(queue)


def test_a_program_that_makes_a_queue_and_a_worker_load_no_kafka_client(tmp_path: Path) -> None:
    program = """
import sys
import kqworker.kq as kq
conf = kq.KqConf(name="shop", brokers=["b:1"], group="g", topic="t")
kq.new_queue(conf, kq.with_handle(lambda k, v: None))
import kqworker.kq.consuming
print(*sorted(sys.modules.keys() & {"confluent_kafka", "asyncio", "click", "rich"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout.strip() == "", done.stdout


def test_every_name_is_there() -> None:
    import kqworker.kq as kq

    for name in kq.__all__:
        assert getattr(kq, name) is not None
    assert set(kq.__all__) <= set(dir(kq))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kq.nothing  # noqa: B018


def test_a_queue_that_a_worker_starts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a module that starts a queue when a worker imports it for the handler.
    monkeypatch.setattr("kqworker.runtime.preload.server", os.getpid())

    with pytest.raises(ConfigError, match='under `if __name__ == "__main__":`'):
        Queue(conf(), handle).run(Quiet())
