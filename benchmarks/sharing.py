"""What a quiet topic waits beside a backlog, and what is fetched for what is handled.

    python -m benchmarks.sharing --brokers localhost:9092
    python -m benchmarks.sharing --case 0.1,4,100,400   (seconds, partitions, bytes, prefetch)

docs/decisions/0015-shares.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

import kqworker.kafka.member
from benchmarks import ground
from kqworker import App, Message
from kqworker.core.snapshot import Snapshot
from kqworker.run import AppReference, run
from kqworker.settings.settings import Settings
from kqworker.watch.interface import Several

SECONDS = 14.0
QUIET_AFTER, QUIET_EVERY = 3.0, 0.5
CASES = [
    (seconds, partitions, size, prefetch)
    for seconds in (0.005, 0.1, 0.3)
    for partitions in (1, 4)
    for size in (100, 65536)
    for prefetch in (400, 10_000)
]

app = App("sharing")


@app.handler(topic=os.environ.get("BENCH_BUSY", "busy"))
def on_busy(message: Message[bytes]) -> None:
    """Take the time that is asked for."""
    time.sleep(float(os.environ.get("BENCH_SECONDS", "0")))


@app.handler(topic=os.environ.get("BENCH_QUIET", "quiet"))
def on_quiet(message: Message[bytes]) -> None:
    """Note how long the message has waited."""
    waited = time.time() - float(message.value)
    with Path(os.environ["BENCH_FOLDER"], f"{os.getpid()}.txt").open("a") as file:
        file.write(f"{waited}\n")


class Watching(Several):
    """Keeps the last counters."""

    last = Snapshot()

    def tick(self, snapshot: Snapshot) -> None:
        """Note them."""
        if snapshot.partitions:
            self.last = snapshot


def case(brokers: str, seconds: float, partitions: int, size: int, prefetch: int) -> None:
    """Run one case and print its line."""
    enough = {0.005: 12_000, 0.1: 2_000, 0.3: 1_000}.get(seconds, 2_000)
    count = max(enough, 60_000 if size < 1000 else 0)
    busy = ground.fill(brokers, count, partitions, lambda _: os.urandom(size))
    quiet = f"quiet-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(quiet, 1, 1)])[quiet].result()
    with tempfile.TemporaryDirectory() as folder:
        names = {"BUSY": busy, "QUIET": quiet, "SECONDS": str(seconds), "FOLDER": folder}
        own = {f"BENCH_{name}": text for name, text in names.items()}
        command = [sys.executable, "-m", "benchmarks.sharing", "--brokers", brokers, "--here"]
        os.spawnve(os.P_WAIT, sys.executable, [*command, str(prefetch)], {**os.environ, **own})
        waited = [float(x) for f in Path(folder).glob("*.txt") for x in f.read_text().split()]
        found = json.loads(Path(folder, "run.json").read_text())
    handled = found["handled"] - len(waited)
    expected = int((SECONDS - QUIET_AFTER) / QUIET_EVERY)
    slowest = max(waited, default=-1.0)
    # What is still in memory is fetched once, too.
    fetched = found["fetched"] / max(1, (handled + found["held"]) * size)
    print(
        f"{seconds * 1000:5.0f} ms {partitions} × {size:6,} B prefetch {prefetch:6,}: "
        f"{len(waited):3} of {expected} quiet, {slowest:6.2f} s at most; "
        f"{handled:6,} handled, {fetched:6.2f} bytes fetched for each "
        f"that was handled or is held",
        flush=True,
    )


def here(brokers: str, prefetch: int) -> None:
    """Run the app in this process, as the environment says."""
    fetched: dict[int, int] = {}

    def counted(properties: dict[str, object], **more: object) -> Consumer:
        def note(text: str) -> None:
            fetched[id(properties)] = json.loads(text)["rxmsg_bytes"]

        own = {"statistics.interval.ms": 500, "stats_cb": note}
        return Consumer({**properties, **own}, **more)

    kqworker.kafka.member.Consumer = counted  # type: ignore[assignment,misc]
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})

    def drive() -> None:
        while not watch.last.handled:
            time.sleep(0.1)
        time.sleep(QUIET_AFTER)
        until = time.monotonic() + SECONDS - QUIET_AFTER
        while time.monotonic() < until:
            producer.produce(os.environ["BENCH_QUIET"], str(time.time()).encode())
            producer.flush()
            time.sleep(QUIET_EVERY)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    from benchmarks.sharing import app  # by the name under which the workers import it

    watch = Watching()
    threading.Thread(target=drive, daemon=True).start()
    settings = Settings(
        brokers=(brokers,), group=uuid.uuid4().hex, workers=2, prefetch=prefetch,
        shutdown_timeout=2.0, app_dir=str(ground.HERE.parent),
    )  # fmt: skip
    run(app, settings, reference=AppReference("benchmarks.sharing:app"), watch=watch)
    last = watch.last
    found = {"handled": last.handled, "held": last.held, "fetched": sum(fetched.values())}
    Path(os.environ["BENCH_FOLDER"], "run.json").write_text(json.dumps(found))


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--brokers")
    parser.add_argument("--case", action="append", help="seconds,partitions,bytes,prefetch")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here is not None:
        here(given.brokers, given.here)
        return
    cases = CASES
    if given.case:
        split = [text.split(",") for text in given.case]
        cases = [(float(s), int(p), int(b), int(n)) for s, p, b, n in split]
    with ground.broker(given.brokers) as brokers:
        for one in cases:
            case(brokers, *one)


if __name__ == "__main__":
    main()
