"""`kqworker push TOPIC`: one payload, a JSONL file, or the lines of standard input.

Decides where payloads come from and what is said of them; the sink delivers.
Tested by tests/cli/test_pushing.py.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from kqworker.cli.opening import settings_of, with_brokers
from kqworker.cli.options import CONNECTION, setting_options
from kqworker.cli.terminal import fail, say
from kqworker.errors import BrokerError, ConfigError
from kqworker.exits import Exit
from kqworker.values import did_you_mean

if TYPE_CHECKING:
    from kqworker.app import PushSink
    from kqworker.delivery import Delivery
    from kqworker.types import Output

# Deliveries awaited at once: enough to keep the producer's batches full.
AWAITED = 10_000

Advance = Callable[[int], None]


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.argument("payload", required=False)
@click.option("--file", metavar="FILE", help="A JSONL file: each line is one message.")
@click.option("-k", "--key", metavar="KEY", help="The key of every message.")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be repeated."
)
@setting_options(*CONNECTION)
def push(
    topic: str,
    payload: str | None,
    file: str | None,
    key: str | None,
    headers: tuple[str, ...],
    config: str | None,
    **options: object,
) -> Exit:
    """Push a payload, a JSONL file or standard input to a topic.

    Of standard input each line is one message, as it is.
    """
    payloads, count = _payloads(payload, file)
    pairs = [_header(header) for header in headers]

    from kqworker import logs
    from kqworker.kafka.admin import Admin
    from kqworker.kafka.properties import admin_properties
    from kqworker.payload import make_output
    from kqworker.preflight import connection
    from kqworker.sinks import open_sink

    try:
        make_output(topic, b"", key, pairs)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    outputs = (make_output(topic, payload, key, pairs) for payload in payloads)

    settings = with_brokers(settings_of(options, config).settings)
    logs.configure(settings.log_level, settings.log_format)
    to = connection(settings)
    with Admin(admin_properties(to.brokers, to.kafka)) as kafka:
        kafka.cluster(settings.startup_timeout)
        topics = kafka.topics()
        if not to.built_in:
            # Asked before: a producer takes its time until it calls a topic missing.
            kafka.require_topics([topic])
        elif topics and topic not in topics:
            say(f"topic {topic!r} is new on the built-in broker{did_you_mean(topic, topics)}")
    sink = open_sink(settings)
    of = f" of {count:,}" if count is not None else ""
    known = 0
    try:
        with _progress(count) as draw:

            def advance(n: int) -> None:
                nonlocal known
                known += n
                draw(n)

            pushed, failure, last = deliver(sink, outputs, advance)
    except KeyboardInterrupt:
        fail(f"stopped: at least {known:,}{of} messages were delivered to {topic}")
        raise
    finally:
        # After an error, or Ctrl-C, nobody waits for what is left.
        sink.close(0.0)
    if failure is not None:
        fail(f"{failure}\n{pushed:,}{of} messages were delivered to {topic}, the rest was not")
        return Exit.BROKER
    where = f"[{last.partition}] at offset {last.offset}" if last and pushed == 1 else ""
    click.echo(f"pushed {pushed:,} message{'s' if pushed != 1 else ''} to {topic}{where}")
    return Exit.CLEAN


def deliver(
    sink: PushSink, outputs: Iterable[Output], advance: Advance
) -> tuple[int, BrokerError | None, Delivery | None]:
    """Push records and wait for all of them; after the first error none is added.

    Returns:
        How many were delivered, the first error if there was one, and the last delivery.
    """
    waiting: deque[Delivery] = deque()
    pushed = 0
    failure: BrokerError | None = None
    last: Delivery | None = None

    def settle(keep: int) -> None:
        nonlocal pushed, failure, last
        while len(waiting) > keep:
            delivery = waiting.popleft()
            try:
                last = delivery.wait()
            except BrokerError as error:
                failure = failure or error
                continue
            pushed += 1
            advance(1)

    for output in outputs:
        waiting.append(sink.send(output))
        settle(AWAITED)
        # A slow standard input: what is done by now is told now.
        while waiting and waiting[0].done:
            settle(len(waiting) - 1)
        if failure is not None:
            break
    settle(0)
    return pushed, failure, last


def _payloads(payload: str | None, file: str | None) -> tuple[Iterable[bytes], int | None]:
    """Return the payloads, and how many they are where that is known."""
    if payload is not None and file is not None:
        raise click.UsageError("give PAYLOAD or --file, not both", click.get_current_context())
    if payload is not None:
        return [payload.encode("utf-8", "surrogateescape")], 1
    if file is not None:
        # Read twice, so that nothing is pushed of a file with a mistake at its end.
        count = sum(1 for _ in _json_lines(Path(file)))
        return _json_lines(Path(file)), count
    if sys.stdin.isatty():
        raise click.UsageError(
            "nothing to push: give PAYLOAD, --file, or lines on standard input",
            click.get_current_context(),
        )
    return _lines(sys.stdin.buffer), None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        if line := line.rstrip(b"\r\n"):
            yield line


def _json_lines(path: Path) -> Iterator[bytes]:
    from msgspec import DecodeError
    from msgspec.json import decode

    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not (line := line.strip()):
                    continue
                try:
                    decode(line)
                except (DecodeError, UnicodeDecodeError) as error:
                    raise ConfigError(
                        f"{path}:{number}: each line is one message, and this is not valid JSON: "
                        f"{error}"
                    ) from None
                yield line
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--header {text!r}: expected name=value")
    return name, value


@contextmanager
def _progress(count: int | None) -> Iterator[Advance]:
    """Show a progress bar, on a terminal and for more than one message."""
    if count == 1 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Five times a second: drawing must not cost more than pushing.
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as progress:
        bar = progress.add_task("", total=count)
        yield lambda n: progress.advance(bar, n)
