"""`kqworker push TOPIC`: one payload, a JSONL file, or the lines of standard input.

Decides what is said of what was pushed; inputs.py reads, and the sink delivers.
Tested by tests/cli/test_pushing.py.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from kqworker.cli.app_options import settings_of, with_brokers
from kqworker.cli.inputs import Argument, Input, file_lines, input_lines
from kqworker.cli.options import CONNECTION, setting_options
from kqworker.cli.terminal import fail, say
from kqworker.errors import BrokerError, ConfigError
from kqworker.exits import Exit, exit_of
from kqworker.settings.values import did_you_mean

if TYPE_CHECKING:
    from kqworker.app.connection import PushSink
    from kqworker.app.delivery import Delivery
    from kqworker.types import Output

# Deliveries awaited at once: enough to keep the producer's batches full.
AWAITED = 10_000

Advance = Callable[[int], None]


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.argument("payload", required=False)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="FILE",
    help="A JSONL file: each line is one message, and must be JSON. - is standard input.",
)
@click.option("-k", "--key", metavar="KEY", help="The key of every message.")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be repeated."
)
@setting_options(*CONNECTION)
def push(
    topic: str,
    payload: str | None,
    files: tuple[str, ...],
    key: str | None,
    headers: tuple[str, ...],
    config: str | None,
    **options: object,
) -> Exit:
    """Push a payload, a JSONL file or standard input to a topic.

    Of standard input each line is one message. A message is all bytes of a line before its
    line feed, as they are: spaces, a carriage return, whatever the encoding. A blank line of
    standard input is an empty message; one of a file is no JSON: it is left out, and told. The
    last line needs no line feed.

    A file with a mistake pushes nothing. What can be read but once, as a pipe, is checked as
    it is pushed. Exit code 0 means that all that was read was delivered; where there is
    nothing to read, it is 2.
    """
    source = _input(payload, files)
    pairs = [_header(header) for header in headers]

    from kqworker.app.payload import make_output
    from kqworker.kafka.admin import Admin
    from kqworker.kafka.properties import admin_properties, largest_message
    from kqworker.preflight import connection
    from kqworker.sinks import open_sink
    from kqworker.watch import logs

    name = os.fsencode(key) if key is not None else None
    try:
        make_output(topic, b"", name, pairs)
    except ValueError as error:
        raise ConfigError(str(error)) from None

    settings = settings_of(options, config).settings
    count = source.prepare(largest_message(settings.kafka))
    outputs = (make_output(topic, payload, name, pairs) for payload in source.payloads())

    settings = with_brokers(settings)
    logs.configure(settings.log_level, settings.log_format)
    to = connection(settings)
    with Admin(admin_properties(to.brokers, to.kafka)) as kafka:
        kafka.cluster(settings.startup_timeout)
        topics = kafka.topics()
        if not to.built_in:
            # Checked first: a producer takes long to say that a topic is missing.
            kafka.require_topics([topic])
        elif topics and topic not in topics:
            say(f"topic {topic!r} is new on the built-in broker{did_you_mean(topic, topics)}")
    sink = open_sink(settings)
    of = f" of {count:,}" if count is not None else ""
    known = 0
    try:
        with _progress(count, lambda: sink.full) as draw:

            def advance(n: int) -> None:
                nonlocal known
                known += n
                draw(n)

            done = deliver(sink, outputs, advance)
    except KeyboardInterrupt:
        fail(f"stopped: at least {known:,}{of} messages were delivered to {topic}")
        raise
    finally:
        # After an error, or Ctrl-C, nothing waits for the rest.
        sink.close(0.0)
    for note in source.notes():
        say(note)
    if done.failure is not None:
        how_far = f"{done.pushed:,}{of} messages were delivered to {topic}, the rest was not"
        fail(f"{done.failure}\n{how_far}" if done.begun else str(done.failure))
        return exit_of(done.failure)
    last = done.last
    where = f"[{last.partition}] at offset {last.offset}" if last and done.pushed == 1 else ""
    messages = "message" if done.pushed == 1 else "messages"
    text = f"pushed {done.pushed:,} {messages} to {topic}{where}"
    try:
        click.echo(text)
    except OSError:
        # The push is done: after a code other than 0 somebody would push it again.
        say(text)
    return Exit.CLEAN


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a push.

    Attributes:
        begun: How many records were given to the sink.
        pushed: How many were delivered.
        failure: The first error, of the sink or of the input, if there was one.
        last: The last delivery.
    """

    begun: int
    pushed: int
    failure: BrokerError | ConfigError | None
    last: Delivery | None


def deliver(sink: PushSink, outputs: Iterable[Output], advance: Advance) -> Done:
    """Push records and wait for all of them; after the first error push no more."""
    waiting: deque[Delivery] = deque()
    begun = pushed = 0
    failure: BrokerError | ConfigError | None = None
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

    try:
        for output in outputs:
            waiting.append(sink.send(output))
            begun += 1
            settle(AWAITED)
            # For a slow standard input: report now what is done by now.
            while waiting and waiting[0].done:
                settle(len(waiting) - 1)
            if failure is not None:
                break
    except (BrokerError, ConfigError) as error:
        # The records before the error are on their way.
        failure = error
    settle(0)
    return Done(begun, pushed, failure, last)


def _input(payload: str | None, files: tuple[str, ...]) -> Input:
    context = click.get_current_context()
    if len(files) > 1:
        raise click.UsageError(
            f"give --file once, not {len(files)} times: cat {' '.join(files)} | "
            f"{context.command_path} … --file -",
            context,
        )
    if payload is not None and files:
        raise click.UsageError("give PAYLOAD or --file, not both", context)
    if payload == "-":
        raise click.UsageError(
            "- is no payload: leave it out to push the lines of standard input, or give --file - "
            "where they are JSON",
            context,
        )
    if payload is not None:
        return Argument(payload)
    if files:
        return file_lines(files[0])
    if os.isatty(0):
        raise click.UsageError(
            "nothing to push: give PAYLOAD, --file, or lines on standard input", context
        )
    return input_lines()


def _header(text: str) -> tuple[str, bytes]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--header {text!r}: expected name=value")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"--header {text!r}: the name must be UTF-8") from None
    return name, os.fsencode(value)


@contextmanager
def _progress(count: int | None, full: Callable[[], str]) -> Iterator[Advance]:
    """Show a progress bar, on a terminal and for more than one message."""
    if count == 1 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Full(ProgressColumn):
        """Says what the push waits for."""

        def render(self, task: Task) -> Text:
            return Text(full())

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), Full(Column(no_wrap=True)))
    # Five times a second: drawing must not cost more than pushing.
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as progress:
        bar = progress.add_task("", total=count)
        yield lambda n: progress.advance(bar, n)
