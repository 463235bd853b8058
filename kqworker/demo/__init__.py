"""`kqworker demo`: a CPU-heavy job on real input, once with one worker and once with all.

Every source file of the interpreter's standard library is a message; the job itself is
`kqworker.demo.job`. Decides the order of the show and its words; what a run looks like is
the caller's. Tested by tests/e2e/test_demo.py.
"""

from __future__ import annotations

import heapq
import platform
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kqworker.demo.job import FILES, RESULTS, Found, app
from kqworker.exits import Exit
from kqworker.kafka import devbroker, range_reader
from kqworker.kafka.admin import Admin
from kqworker.kafka.properties import admin_properties, consumer_properties
from kqworker.run import AppReference, run
from kqworker.settings.origins import cpus
from kqworker.settings.settings import Settings
from kqworker.sinks import open_sink
from kqworker.types import Output, TopicPartition
from kqworker.watch.interface import Several, Summary, Watch

REFERENCE = AppReference("kqworker.demo.job:app")
PARTITIONS = 12
TOP = 10


class Interrupted(Exception):
    """A pass did not end well; carries its exit code."""

    def __init__(self, code: Exit) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over all files gave.

    Attributes:
        seconds: From the first worker being ready to the end.
        results: What the job returned, a value a file.
    """

    seconds: float
    results: list[Found]


class Keeping(Several):
    """A watch that passes everything on and keeps the summary."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self.summary: Summary | None = None

    def finished(self, summary: Summary) -> None:
        """Pass it on and keep it."""
        self.summary = summary
        super().finished(summary)


def show(
    brokers: str | None,
    workers: int | None,
    kafka: Mapping[str, str],
    watch: Callable[[Settings], Watch],
    say: Callable[[str], None],
) -> Exit:
    """Run the demo and say what came of it.

    Args:
        brokers: Kafka's addresses; None for a built-in broker that ends with the demo.
        workers: For the second pass, at least 1; None for one a CPU.
        kafka: Further properties of librdkafka.
        watch: Makes the watch of a pass.
        say: Takes lines for the user.

    Returns:
        How it ended: that of the first pass that did not end well, else CLEAN.

    Raises:
        ConfigError, BrokerError: As `kqworker.run.run`.
    """
    with ExitStack() as stack:
        if brokers is None:
            broker = stack.enter_context(devbroker.start_dev_broker())
            brokers, kafka = broker.address, {**devbroker.PROPERTIES, **kafka}
            devbroker.create_topics(brokers, (FILES, RESULTS))
        else:
            with Admin(admin_properties(brokers, kafka)) as admin:
                admin.create_topics((FILES, RESULTS), PARTITIONS)
        paths = [str(path) for path in source_files()]
        python = platform.python_version()
        say(f"{len(paths):,} source files of Python {python}'s standard library, a message each")
        crew = workers or cpus()
        try:
            alone = _pass(brokers, kafka, 1, paths, watch)
            together = _pass(brokers, kafka, crew, paths, watch) if crew > 1 else alone
        except Interrupted as interrupted:
            return interrupted.code
    for line in summary(alone, together, crew):
        say(line)
    return Exit.CLEAN


def source_files() -> Iterator[Path]:
    """Yield the source files of the standard library, without site-packages."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts:
            # Into the page cache, so that the first pass does not pay for the second.
            path.read_bytes()
            yield path


def summary(alone: Pass, together: Pass, workers: int) -> Iterator[str]:
    """Yield the lines that are said at the end."""
    results = together.results
    functions = sum(len(found.functions) for found in results)
    invalid = sum(1 for found in results if found.error)
    yield ""
    yield f"the {TOP} most complex of {functions:,} functions:"
    root = sysconfig.get_path("stdlib")
    for complexity, name, path in _most_complex(results):
        yield f"  {complexity:4}  {name}  ({path.removeprefix(root).lstrip('/')})"
    if invalid:
        yield f"{invalid} files are not valid Python, on purpose: they test the parser"
    count = len(results)
    each = f"{count / together.seconds:,.0f} files/s"
    yield f"{count:,} files in {together.seconds:.1f} s with {workers} workers: {each}"
    if workers > 1:
        times = alone.seconds / together.seconds
        yield f"{times:.2f} times as fast as one worker ({alone.seconds:.1f} s)"


def _most_complex(results: list[Found]) -> list[tuple[int, str, str]]:
    every = ((c, name, found.path) for found in results for name, c in found.functions)
    return heapq.nlargest(TOP, every)


def _pass(
    brokers: str,
    kafka: Mapping[str, str],
    workers: int,
    paths: list[str],
    watch: Callable[[Settings], Watch],
) -> Pass:
    settings = Settings(
        brokers=tuple(brokers.split(",")),
        workers=workers,
        until_caught_up=True,
        kafka=dict(kafka),
    )
    _push(settings, paths)
    before = _ends(brokers, kafka)
    keeping = Keeping(watch(settings))
    code = run(app, settings, reference=REFERENCE, watch=keeping)
    if code is not Exit.CLEAN or keeping.summary is None:
        raise Interrupted(code)
    properties = consumer_properties(brokers, app.name, extra=kafka)
    values = range_reader.read(properties, before, _ends(brokers, kafka))
    decoder = msgspec.json.Decoder(Found)
    results = [decoder.decode(value) for value in values if value is not None]
    return Pass(keeping.summary.seconds, results)


def _push(settings: Settings, paths: list[str]) -> None:
    sink = open_sink(settings)
    try:
        deliveries = [sink.send(Output(FILES, path.encode(), path.encode())) for path in paths]
        for delivery in deliveries:
            delivery.wait()
    finally:
        sink.close(5.0)


def _ends(brokers: str, kafka: Mapping[str, str]) -> dict[TopicPartition, int]:
    with Admin(admin_properties(brokers, kafka)) as admin:
        partitions = admin.require_topics([RESULTS])[RESULTS]
        return admin.end_offsets([TopicPartition(RESULTS, n) for n in range(partitions)])
