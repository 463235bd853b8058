"""What an app's import leaves, on Apache Kafka: workers neither hang on it nor share it."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.command import Command
from tests.kafka.fixtures import NewTopic

MESSAGES = 200

APP = """\
import logging.handlers, queue, socket, time
from kqworker import App, Retry

app = App("TOPIC")
IMPORTED

@app.handler(topic="TOPIC", retry=Retry(attempts=1), time_limit=20)
def on_message(text: str) -> None:
    HANDLED
"""

# Answers with what it is asked.
CONNECTION = """
connection = socket.create_connection(("127.0.0.1", PORT))
answers = connection.makefile("r")
"""
ASKED = """
    connection.sendall(f"{text}\\n".encode())
    if answers.readline() != f"{text}\\n":
        raise ValueError("the answer of another")
"""

SUBPROCESS = """
import subprocess
asked = subprocess.Popen(
    ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
)
app.on_worker_stop(lambda: asked.communicate())
"""
ASKED_OF_IT = """
    asked.stdin.write(f"{text}\\n")
    if asked.stdout.readline() != f"{text}\\n":
        raise ValueError("the answer of another")
"""

# Of which each message reads a line of its own.
FILE = """
lines = open("lines", "rb")
"""
LENGTH = 10_000
READ_OF_IT = f"""
    lines.seek(int(text) * {LENGTH})
    if lines.read({LENGTH}).decode() != text.zfill({LENGTH}):
        raise ValueError("the line of another")
"""

LISTENER = """
lines = queue.Queue()
class Written(logging.Handler):
    def emit(self, record): open("lines", "a").write(f"{record.getMessage()}\\n")
listener = logging.handlers.QueueListener(lines, Written())
listener.start()
app.on_worker_stop(lambda: listener.stop())
"""
LOGGED = """
    logging.handlers.QueueHandler(lines).emit(logging.makeLogRecord({"msg": text}))
"""


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers each line with that line."""

    class Server(socketserver.ThreadingTCPServer):
        block_on_close = True

    with Server(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def handled(kqworker: Command, kafka: Cluster, name: str, imported: str, body: str) -> str:
    """Have an app handle all there is; return what it has said."""
    app = APP.replace("TOPIC", name).replace("IMPORTED", imported).replace("HANDLED", body.strip())
    (kqworker.folder / "app.py").write_text(app)
    to = ("-b", kafka.bootstrap)
    kqworker("push", name, *to, stdin="\n".join(map(str, range(MESSAGES))))

    ended = kqworker("run", "app:app", *to, "-w", "2", "--until-caught-up")

    assert ended.code == 0, ended.err
    assert f"{MESSAGES} handled · 0 failed" in ended.err
    assert ended.err.count("importing 'app' has left") == 1
    return ended.err


def test_each_worker_gets_its_own_answers_over_a_connection_that_the_import_opens(
    kqworker: Command, kafka: Cluster, topic: NewTopic, echo: int
) -> None:
    said = handled(kqworker, kafka, topic(4), CONNECTION.replace("PORT", str(echo)), ASKED)

    assert f"(a connection to 127.0.0.1:{echo})" in said


def test_each_worker_gets_its_own_answers_of_a_subprocess_that_the_import_starts(
    kqworker: Command, kafka: Cluster, topic: NewTopic
) -> None:
    said = handled(kqworker, kafka, topic(4), SUBPROCESS, ASKED_OF_IT)

    assert "(a pipe from 'cat')" in said


def test_each_worker_reads_a_file_that_the_import_opens_at_a_place_of_its_own(
    kqworker: Command, kafka: Cluster, topic: NewTopic
) -> None:
    # Not by the import, which each worker does: it would be cut off while another reads it.
    lines = "".join(f"{number:0{LENGTH}}" for number in range(MESSAGES))
    (kqworker.folder / "lines").write_text(lines)

    said = handled(kqworker, kafka, topic(4), FILE, READ_OF_IT)

    assert f"(the open file {kqworker.folder / 'lines'})" in said


def test_no_line_is_lost_of_a_listener_that_the_import_starts(
    kqworker: Command, kafka: Cluster, topic: NewTopic
) -> None:
    said = handled(kqworker, kafka, topic(4), LISTENER, LOGGED)

    assert " of logging.handlers)" in said
    lines = (kqworker.folder / "lines").read_text().split()
    assert sorted(lines, key=int) == [str(number) for number in range(MESSAGES)]


def test_no_worker_hangs_on_openmp_that_the_import_has_used(
    kqworker: Command, kafka: Cluster, topic: NewTopic, openmp: str
) -> None:
    said = handled(kqworker, kafka, topic(4), f"{openmp}region()", "    region()")

    assert "(a pool of OpenMP (libgomp" in said
