"""The built-in broker: librdkafka's mock cluster, in a process of its own.

Decides how it is started, found by other commands, and ended: it ends when the process that
started it ends, however that happens. It serves every process of this machine; `LIMITS` says
what it cannot do. It never replaces the tests against Apache Kafka.
Tested by tests/kafka_unit/test_devbroker.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from confluent_kafka import KafkaException, Producer

from kqworker.errors import BrokerError, ConfigError

# How many each new topic gets; librdkafka's Python client cannot ask for another number.
PARTITIONS = 4
# The mock cluster's own limit, beside 100,000 batches: beyond that it drops the oldest, even if a
# group waits for them.
KEPT_BYTES = 5 * 2**20
LIMITS = (
    "The built-in broker is for development: nothing survives its end, a topic has "
    f"{PARTITIONS} partitions, and each keeps its last 5 MiB: who pushes waits until what would "
    "be dropped is handled."
)
# With the classic protocol a first message takes 3 s, and after a group's only member has
# left, the next member gets nothing: both are faults of the mock cluster.
PROPERTIES: Mapping[str, str] = {"group.protocol": "consumer"}
# It drops whole batches, so they must be small.
BATCH_BYTES = 64 * 1024

START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0
TOPIC_TIMEOUT = 10.0


class DevBroker:
    """A broker that this process has started.

    Attributes:
        address: `host:port`, on loopback.
        pid: The pid of its process.
    """

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self._announcement: Path | None = None
        self.address = address
        self.pid = process.pid

    def announce(self) -> None:
        """Let `running` find it, in every process of this user; the last one counts.

        Raises:
            ConfigError: The runtime directory is not this user's alone.
        """
        path = runtime_directory() / "broker.json"
        write_announcement(path, {"address": self.address}, self.pid)
        self._announcement = path

    def stop(self) -> None:
        """End it; a second call does nothing."""
        if self._announcement is not None:
            announced = read_announcement(self._announcement)
            if announced is not None and announced["pid"] == self.pid:
                self._announcement.unlink(missing_ok=True)
            self._announcement = None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start_dev_broker() -> DevBroker:
    """Start a broker in a process that ends with this one; ready in about 0.2 s.

    Raises:
        BrokerError: It did not start.
    """
    process = subprocess.Popen(
        # -P: a module in the user's directory must not replace one of ours.
        [sys.executable, "-P", "-m", "kqworker.kafka.devbroker"],
        # The kernel closes this pipe when we end, even by SIGKILL, and then the broker ends.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Only we get a Ctrl-C at the terminal: workers still drain, and commit to it.
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        address = process.stdout.readline().decode().strip()
        if not address:
            reason = process.stderr.read().decode(errors="replace").strip()
            raise BrokerError(f"the built-in broker did not start: {reason[-2000:]}")
    except BaseException:  # Ctrl-C included: no process may stay behind
        process.kill()
        process.wait()
        process.stdin.close()
        raise
    finally:
        process.stdout.close()
        process.stderr.close()
    return DevBroker(process, address)


def running() -> str | None:
    """Return the address of the broker that was announced last, or None if it has ended."""
    announced = read_announcement(_runtime_path() / "broker.json")
    if announced is None or not lives(announced):
        return None
    return str(announced["address"])


@contextlib.contextmanager
def running_or_new() -> Iterator[str]:
    """Yield the address of the announced broker, or of a new one that ends with the block.

    Raises:
        BrokerError: It did not start.
        ConfigError: The runtime directory is not this user's alone.
    """
    address = running()
    if address is not None:
        yield address
        return
    with start_dev_broker() as broker:
        broker.announce()
        yield broker.address


def create_topics(address: str, names: Iterable[str]) -> None:
    """Create topics on the built-in broker; a question about a topic creates it.

    Args:
        address: The address of a built-in broker.
        names: Existing topics stay as they are.

    Raises:
        BrokerError: It does not answer.
    """
    producer = Producer({"bootstrap.servers": address, "log_level": 0})
    for name in names:
        try:
            producer.list_topics(name, timeout=TOPIC_TIMEOUT)
        except KafkaException as error:
            reason = error.args[0].str()
            raise BrokerError(f"the built-in broker does not answer: {reason}") from None


def runtime_directory() -> Path:
    """Return this user's directory for what lasts as long as a process; make it if needed.

    Raises:
        ConfigError: It belongs to another user, or is open to others.
    """
    path = _runtime_path()
    path.mkdir(mode=0o700, exist_ok=True)
    if not _ours(path):
        raise ConfigError(f"{path} must belong to you and be closed to others: chmod 0700 {path}")
    return path


def _runtime_path() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    # In a container or under sudo it may name a directory that is missing, or not ours.
    if given and os.access(given, os.W_OK):
        return Path(given) / "kqworker"
    return Path(tempfile.gettempdir()) / f"kqworker-{os.getuid()}"


def _ours(path: Path) -> bool:
    # lstat: in /tmp another user may have put a link there.
    state = path.lstat()
    return state.st_uid == os.getuid() and state.st_mode & 0o077 == 0


def write_announcement(path: Path, said: Mapping[str, object], pid: int) -> None:
    """Publish something for as long as a process lives.

    Args:
        path: A file in the runtime directory.
        said: Values that JSON can hold.
        pid: The pid of the process.
    """
    created = psutil.Process(pid).create_time()
    draft = path.with_name(f"{path.stem}.{os.getpid()}.draft")
    draft.write_text(json.dumps({**said, "pid": pid, "created": created}))
    # A reader finds the old file or the new one, never half of one.
    draft.replace(path)


def read_announcement(path: Path) -> dict[str, object] | None:
    """Return what `write_announcement` wrote; None if there is nothing of ours."""
    with contextlib.suppress(OSError, ValueError):
        if _ours(path.parent):
            said = json.loads(path.read_text())
            if isinstance(said, dict) and said.keys() >= {"address", "pid", "created"}:
                return said
    return None


def lives(announced: Mapping[str, object]) -> bool:
    """Return whether the process of an announcement is still alive."""
    try:
        process = psutil.Process(int(str(announced["pid"])))
        # A pid is used again; the clock may have been set by a second since.
        same = abs(process.create_time() - float(str(announced["created"]))) < 2.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main() -> None:
    """Serve until standard input ends; write the address to standard output."""
    # The process that started it decides when it ends, by closing the pipe.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Its log would fill a queue that nothing empties.
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=START_TIMEOUT).brokers.values()
    sys.stdout.write(f"{broker.host}:{broker.port}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
