"""One broker of a test cluster: its folder, its settings, its process.

Decides the settings that keep a broker small and its failovers short, and how its JVM is
started and ended. Knows nothing of topics or of clients. Tested by tests/kafka/test_cluster.py.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.kafka import certificates, distribution
from tests.processes import launched

# Enough for 100,000s of small messages; three of these fit a small machine.
HEAP = "-Xmx384m"
# Nearly half of what a broker takes to start goes into optimizing what a test runs a few
# times. Not for figures.
BRIEF = "-XX:TieredStopAtLevel=1"
FORMAT_TIMEOUT = 60.0
USER, PASSWORD = "kqworker", "throwaway-secret"

LOG4J = """\
appenders = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{HH:mm:ss.SSS}} %p %c{{1}} %m%n
rootLogger.level = warn
rootLogger.appenderRefs = file
rootLogger.appenderRef.file.ref = file
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of one broker: for clients, for brokers, for controllers."""

    client: int
    internal: int
    controller: int


@dataclass(slots=True)
class Node:
    """One broker, which is also a voting controller.

    Args:
        index: Its number, which is also its `node.id`.
        folder: Everything it writes; the cluster removes it.
        ports: Where it listens.
        lasting: It is to get as fast as it can, rather than to be there soon.
    """

    index: int
    folder: Path
    ports: Ports
    lasting: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None)
    frozen: bool = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def address(self) -> str:
        """Where the other brokers reach it: without security."""
        return f"127.0.0.1:{self.ports.internal}"

    def configure(
        self,
        voters: Mapping[int, int],
        tls: certificates.Certificates | None,
        properties: Mapping[str, str],
    ) -> None:
        """Writes its files; `voters` are the controller ports of all nodes by index."""
        self.folder.mkdir()
        settings = _settings(self, voters) | (_tls_scram(tls) if tls else {}) | dict(properties)
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.folder / "server.properties").write_text("".join(lines))
        log4j = LOG4J.format(file=self.folder / "server.log")
        (self.folder / "log4j2.properties").write_text(log4j)

    def format(self, cluster_id: str, scram: bool) -> subprocess.Popen[bytes]:
        """Begins to format its data folder; the caller waits, so that several run at once."""
        # One argument: the identifier is base64 and may begin with a dash.
        cluster = f"--cluster-id={cluster_id}"
        tool = ["kafka.tools.StorageTool", "format", cluster, "-c", "server.properties"]
        if scram:
            tool += ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        return self._java(BRIEF, *tool)

    def start(self) -> None:
        """Starts the JVM; it is ready some seconds later."""
        assert not self.running, f"broker {self.index} runs already"
        options = [HEAP] if self.lasting else [HEAP, BRIEF]
        self.process = self._java(*options, "kafka.Kafka", "server.properties")
        self.frozen = False

    def kill(self) -> None:
        """Ends it as a power cut would, frozen or not, and reaps it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Stops it: its connections stay open, and nothing answers. Returns once it has stopped."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        self.frozen = True

    def thaw(self) -> None:
        """Lets it go on."""
        os.kill(self._pid(), signal.SIGCONT)
        self.frozen = False

    def listening_ports(self) -> set[int]:
        """The TCP ports on which this very process listens."""
        connections = psutil.Process(self._pid()).net_connections("tcp")
        return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}

    def last_words(self) -> str:
        """The end of what it wrote, for the text of a failure."""
        written = [self.folder / name for name in ("output.txt", "server.log")]
        return "\n".join(path.read_text()[-3000:] for path in written if path.exists())

    def _pid(self) -> int:
        assert self.process is not None and self.running, f"broker {self.index} does not run"
        return self.process.pid

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [distribution.java(), "-cp", f"{distribution.jars()}/*", "-XX:+UseSerialGC"]
        command += ["-XX:-UsePerfData", "-Dlog4j2.configurationFile=log4j2.properties"]
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                launched(*command, *arguments),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is for pytest, which then stops us.
                start_new_session=True,
            )


def _settings(node: Node, voters: Mapping[int, int]) -> dict[str, str]:
    copies = min(3, len(voters))
    ports = node.ports
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.index),
        "controller.quorum.voters": ",".join(f"{i}@127.0.0.1:{p}" for i, p in voters.items()),
        "log.dirs": str(node.folder / "data"),
        "listeners": f"CLIENT://127.0.0.1:{ports.client},INTERNAL://127.0.0.1:{ports.internal},"
        f"CONTROLLER://127.0.0.1:{ports.controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{ports.client},"
        f"INTERNAL://127.0.0.1:{ports.internal}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,"
        "CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        # A misspelt topic must stay missing.
        "auto.create.topics.enable": "false",
        "num.partitions": "1",
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(max(1, copies - 1)),
        "offsets.topic.replication.factor": str(copies),
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(max(1, copies - 1)),
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": str(copies),
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # Groups form at once, and may ask for short timeouts.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "10000",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "group.consumer.heartbeat.interval.ms": "1000",
        # A killed broker is fenced, and a frozen one leaves the ISR, within seconds.
        # So long, too, a restarted one waits until its former self is fenced.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "4000",
        "replica.lag.time.max.ms": "6000",
        # Small: the cleaner alone would take 128 MiB of the heap, an index 10 MiB of disk.
        "log.cleaner.dedupe.buffer.size": "4194304",
        "log.index.size.max.bytes": "1048576",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
    }


def _tls_scram(tls: certificates.Certificates) -> dict[str, str]:
    listener = "listener.name.client"
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "listener.security.protocol.map": "CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{listener}.scram-sha-512.sasl.jaas.config": login,
        f"{listener}.ssl.keystore.type": "PKCS12",
        f"{listener}.ssl.keystore.location": str(tls.keystore),
        f"{listener}.ssl.keystore.password": certificates.PASSWORD,
        f"{listener}.ssl.key.password": certificates.PASSWORD,
    }


def _ours(ports: range) -> range:
    """Those of this process of `pytest -n`: no other takes the port of a broker that is down."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return ports[number % count :: count]


def free_ports(count: int) -> Sequence[int]:
    """Loopback ports nobody listens on, away from those the system hands out by itself.

    A client that keeps trying to reach a killed broker on such a port is sooner or later
    given that very port as its own end, connects to itself, and the broker cannot come back.
    """
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        lowest = int(text.split()[0])
    except FileNotFoundError:  # not Linux: the range IANA names
        lowest = 49152
    outside = range(20000, lowest) if lowest > 22000 else range(10000, 60000)
    candidates = random.SystemRandom().sample(_ours(outside), 200)
    found: list[int] = []
    for port in candidates:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"fewer than {count} free ports among {candidates}")
