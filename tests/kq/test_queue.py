"""A queue before it reaches Kafka: how it is made, what stops it, what is refused."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import kqworker.kafka.answers
import kqworker.run
from kqworker import BrokerError, ConfigError
from kqworker.exits import Exit
from kqworker.kq import (
    KqConf,
    Queue,
    load,
    must_new_queue,
    new_queue,
    with_handle,
    with_queue_capacity,
)
from kqworker.loading.import_string import load_attribute
from kqworker.run import AppReference
from kqworker.runtime.packing import pack


def conf(**fields: Any) -> KqConf:
    # Nobody listens there.
    given = {"name": "shop", "brokers": ["127.0.0.1:1"], "group": "g", "topic": "t", **fields}
    return KqConf(**given)


def handle(key: str, value: str) -> None: ...


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """A start sets the level of the package's logs; it is put back."""
    logger = logging.getLogger("kqworker")
    before = logger.level
    yield
    logger.setLevel(before)


CERTIFICATE, KEY = (Path(__file__).parent / name for name in ("throwaway.pem", "throwaway-key.pem"))


def test_options_and_configuration_become_settings() -> None:
    queue = new_queue(conf(conns=2), handle, with_queue_capacity(5))

    assert (queue.name, queue.settings.prefetch) == ("shop", 10)
    assert repr(queue) == "<Queue 'shop'>"


def test_a_queue_that_was_stopped_before_ends_at_once() -> None:
    queue = new_queue(conf(), handle)

    queue.stop()
    queue.stop()

    # Kafka is not even asked.
    assert queue.start() is Exit.CLEAN


def test_a_queue_runs_once() -> None:
    with new_queue(conf(), handle) as queue:
        queue.stop()
        queue.start()

        with pytest.raises(RuntimeError, match="'shop'> has been started before: make a new one"):
            queue.start()


def test_a_context_that_is_left_stops_the_queue() -> None:
    with new_queue(conf(), handle) as queue:
        pass

    assert queue.start() is Exit.CLEAN


def test_a_failure_is_raised() -> None:
    queue = new_queue(conf(kqworker={"startup_timeout": 0.2}), handle)

    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        queue.start()


def test_a_ca_file_that_cannot_be_read_is_named_as_in_kq() -> None:
    with pytest.raises(ConfigError, match=r"CaFile: nowhere\.pem cannot be read: No such file"):
        new_queue(conf(ca_file="nowhere.pem"), handle)


def test_a_ca_file_without_certificates_is_named_as_in_kq(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")

    with pytest.raises(ConfigError, match=r"CaFile: .*ca\.pem holds no certificates"):
        new_queue(conf(ca_file=str(tmp_path / "ca.pem")), handle)


def test_the_files_of_tls_are_named_as_in_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        f"Name: shop\nBrokers: ['127.0.0.1:1']\nGroup: g\nTopic: test\nCaFile: {CERTIFICATE}\n"
        f"Kqworker:\n  tls:\n    cert_file: {CERTIFICATE}\n    key_file: {KEY}\n"
        "    key_password: another\n"
    )

    with pytest.raises(ConfigError) as caught:
        new_queue(load(file), handle)

    said = f"holds no key in PEM's form to {CERTIFICATE}, or its password is another"
    assert str(caught.value) == f"{file}:9: Kqworker.tls.key_file: {KEY} {said}"


def test_what_is_no_configuration_is_refused() -> None:
    path: Any = "config.yaml"

    with pytest.raises(ConfigError, match=r"'config\.yaml' is no KqConf: give what must_load"):
        new_queue(path, handle)


def test_the_start_of_a_must_queue_ends_the_program_as_the_command_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue = must_new_queue(conf(kqworker={"startup_timeout": 0.2}), handle)

    with pytest.raises(SystemExit) as ended:
        queue.start()

    assert ended.value.code == Exit.BROKER
    assert capsys.readouterr().err.startswith("error: cannot reach Kafka at 127.0.0.1:1: ")


def test_a_must_queue_that_abandons_work_does_not_end_the_program_with_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Queue, "serve", lambda _: Exit.ABANDONED)

    with pytest.raises(SystemExit) as ended:
        must_new_queue(conf(), handle).start()

    assert ended.value.code == 4
    assert new_queue(conf(), handle).start() is Exit.ABANDONED


@pytest.mark.parametrize("level", ["info", "severe"])
def test_warnings_are_logged_whatever_the_level_is(
    level: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "Name: shop\nBrokers: ['127.0.0.1:1']\nGroup: g\nTopic: test\nProcessor: 100%s\n"
        f"Log: {{Level: {level}}}\n"
    )
    queue = new_queue(load(file), handle)
    queue.stop()

    queue.start()

    assert logging.getLogger("kqworker.kq").isEnabledFor(logging.WARNING) is (level == "info")
    assert [(r.levelname, r.name, r.getMessage()) for r in caplog.records] == [
        (
            "WARNING",
            "kqworker.kq",
            f"{file}:5: Processor is unknown and ignored (did you mean 'Processors'?)",
        )
    ]


def test_a_stop_ends_the_wait_for_kafka() -> None:
    queue = new_queue(conf(), handle)
    asking = threading.Timer(0.3, queue.stop)
    asking.start()

    # Kafka would be waited for for 30 s.
    assert queue.start() is Exit.CLEAN
    asking.join()


@pytest.mark.parametrize(
    ("librdkafka", "told"),
    [
        ("reset by peer (is security.protocol right?)", r"reset by peer \(.* give CaFile, or"),
        ("reset: connecting to a PLAINTEXT broker listener?", "reset: does it want no TLS"),
        ("verify that ssl.ca.location is correctly configured", "verify that CaFile is correctly"),
        ("connection refused", "connection refused$"),
    ],
)
def test_what_secures_a_connection_is_told_in_the_words_of_the_configuration(
    librdkafka: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> NoReturn:
        raise BrokerError(f"cannot reach Kafka: {librdkafka}", retriable=True)

    monkeypatch.setattr(kqworker.run, "run", refused)

    with pytest.raises(BrokerError, match=f"^cannot reach Kafka: {told}") as caught:
        new_queue(conf(), handle).start()

    assert caught.value.retriable


@contextlib.contextmanager
def sent_while_kafka_is_asked(number: signal.Signals, program: Any) -> Iterator[None]:
    """Send this process a signal while a queue waits for Kafka.

    Args:
        number: The signal.
        program: What the program does with it.
    """
    wait = kqworker.kafka.answers.wait

    def waiting(*given: Any) -> Any:
        os.kill(os.getpid(), number)
        return wait(*given)

    before = signal.signal(number, program)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kqworker.kafka.answers, "wait", waiting)
            yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "program"),
    [
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ],
)
def test_a_signal_ends_the_wait_for_kafka(
    number: signal.Signals, program: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with sent_while_kafka_is_asked(number, program):
        assert new_queue(conf(), handle).start() is Exit.ABANDONED

        assert signal.getsignal(number) == program
    assert "stopped before the start: nothing was handled" in caplog.text


def test_the_programs_own_handler_of_a_signal_hears_it_while_kafka_is_waited_for() -> None:
    queue = new_queue(conf(), handle)

    with sent_while_kafka_is_asked(signal.SIGTERM, lambda *_: queue.stop()):
        assert queue.start() is Exit.CLEAN


def test_a_queue_that_starts_while_its_module_is_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "starts_on_import.py").write_text(
        """
import kqworker.kq as kq
def handle(key, value): ...
conf = kq.KqConf(name="shop", brokers=["b:1"], group="g", topic="t", conns=0)
kq.must_new_queue(conf, handle).start()
"""
    )
    monkeypatch.setattr(sys, "path", sys.path[:])

    with pytest.raises(ConfigError, match='under `if __name__ == "__main__":`'):
        load_attribute("starts_on_import:handle", str(tmp_path))

    # Nor is there a word of its configuration, which each worker would repeat.
    assert "Conns" not in caplog.text


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: must_new_queue(conf(group=""), handle),
            "KqConf(...): Group must be text, not empty, not ''",
        ),
        (
            lambda: must_new_queue(conf(), handle, with_queue_capacity(-1)),
            "with_queue_capacity(-1): must be a whole number of at least 1, or 0",
        ),
        (
            lambda: must_new_queue(conf(), with_handle(None)),  # type: ignore[arg-type]
            "with_handle(None): it is not a function",
        ),
    ],
)
def test_must_new_queue_says_what_is_wrong_and_ends_with_2(
    make: Callable[[], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        make()

    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_handler_that_stops_its_queue_is_told_where_the_queue_lives() -> None:
    queue = new_queue(conf(), handle)

    with pytest.raises(TypeError, match="a handler cannot use its Queue"):
        pickle.dumps(queue)


def test_a_program_that_makes_a_queue_and_a_worker_load_no_kafka_client(tmp_path: Path) -> None:
    program = """
import sys
import threading
import kqworker.kq as kq
conf = kq.KqConf(name="shop", brokers=["b:1"], group="g", topic="t")
kq.new_queue(conf, kq.with_handle(lambda k, v: None))
import kqworker.kq.queue.consuming
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
        Queue(conf(), handle).start()


def handler_of_the_program(module: str) -> object:
    def handler(key: str, value: str) -> None: ...

    handler.__module__ = module
    return handler


@pytest.mark.parametrize(
    ("handler", "module"),
    [(handle, __name__), (handler_of_the_program("__main__"), "")],
)
def test_workers_share_what_the_handlers_module_loads(
    handler: object, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[AppReference] = []
    monkeypatch.setattr(kqworker.run, "run", lambda *_, reference, **__: given.append(reference))

    Queue(conf(kqworker={"app_dir": "src"}), handler).start()

    assert given == [AppReference(None, "src", module=module)]


def test_a_handler_with_what_cannot_travel_is_an_error_before_the_start() -> None:
    lock = threading.Lock()
    queue = new_queue(conf(), lambda k, v: lock.locked())

    with pytest.raises(ConfigError, match=r"cannot be sent to the worker processes: .*lock"):
        pack(queue._app)


def test_warnings_are_logged_at_the_start_and_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kqworker.run, "run", lambda *_, **__: Exit.CLEAN)
    queue = new_queue(conf(consumers=4), handle)
    assert not caplog.records

    queue.start()

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Consumers: more than Conns (1) change nothing" in record.getMessage()
