"""The command line: `kqworker …`. Commands, options and exit codes; no behaviour of its own.

Decides what an error looks like and with which code a command ends. A command imports what is
heavy (Kafka, the runtime, rich) only when it runs, so that `--help` answers at once. Tested
by tests/cli.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from kqworker import __version__
from kqworker.cli.broker import broker
from kqworker.cli.create import init
from kqworker.cli.demo import demo
from kqworker.cli.inspection import check, config, handlers
from kqworker.cli.kq import kq
from kqworker.cli.pushing import push
from kqworker.cli.running import dev, run
from kqworker.cli.terminal import fail
from kqworker.errors import BugError, KQWorkerError
from kqworker.exits import Exit, exit_of
from kqworker.runtime.broadcasts import end_forks


class Program(click.Group):
    """The group of all commands; turns every error of a user into one line and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in our order: the main one first."""
        return list(self.commands)

    # Any: as the base class has them.
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments; options such as `--help` write here."""
        with _ended_by_lost_output():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _ended_by_lost_output():
            return super().invoke(ctx)

    # Any: as the base class has it.
    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *rest: Any,
        **extra: Any,
    ) -> NoReturn:
        """Run the command that the arguments name, and exit with its code."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name or "kqworker", *rest, **extra)
        except click.UsageError as error:
            _usage(error)
            code = Exit.USAGE
        except click.ClickException as error:
            fail(error.format_message())
            code = Exit.USAGE
        except (click.Abort, KeyboardInterrupt):
            # It was stopped before it was done, by Ctrl-C or TERM, or because nobody reads its
            # output: never 0.
            code = Exit.ABANDONED
        except KQWorkerError as error:
            if isinstance(error, BugError):
                # It is to be reported, and its text alone says too little.
                traceback.print_exc()
            fail(str(error))
            code = exit_of(error)
        sys.exit(int(code or 0))


@contextlib.contextmanager
def _ended_by_lost_output() -> Iterator[None]:
    """End a command that cannot write its result; say why, unless its reader has left."""
    try:
        yield
    except OSError as error:
        from kqworker.runtime.printing import lost_by, print_nowhere

        lost = lost_by(error)
        if lost is None:
            raise
        if error.errno != errno.EPIPE:
            fail(lost.reason)
        print_nowhere(lost.fd)
        raise click.Abort from error


def _usage(error: click.UsageError) -> None:
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    if error.ctx is not None:
        text += f"\ntry: {error.ctx.command_path} --help"
    fail(text)


@click.group(
    cls=Program,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="kqworker %(version)s")
def program() -> None:
    """Handle Kafka's messages on every core.

    APP is module:attribute, such as app:app.
    """


for command in (run, dev, kq, demo, push, check, handlers, config, init, broker):
    program.add_command(command)


def main() -> NoReturn:
    """Run the command line; the entry point of `kqworker`."""
    _fill_standard_streams()
    # TERM acts as Ctrl-C unless a command says otherwise: the kernel keeps an unhandled TERM
    # from the first process of a container, which would then be waited for and killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_forks()
    # The function that is registered first runs last.
    ending = _Ending()
    atexit.register(ending.last)
    try:
        program.main()
    except SystemExit as end:
        assert isinstance(end.code, int)  # as `Program.main` exits
        ending.keep(end.code)
        raise
    finally:
        _let_go_of_lost_streams()


class _Ending:
    """The time in which Python ends, with the code that the command has come to."""

    def __init__(self) -> None:
        self._code: int | None = None

    def keep(self, code: int) -> None:
        """Let a Ctrl-C or TERM that comes from now on end the process at once with this code."""
        self._code = code

        def leave(_number: int, _frame: FrameType | None) -> None:
            process_exit = sys.modules.get("kqworker.app.process_exit")
            if process_exit is not None and process_exit.owes():
                raise KeyboardInterrupt  # its handler first says what is not delivered
            os._exit(code)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, leave)

    def last(self) -> None:
        """Do what is left after all other exit functions."""
        # After this, Python would let a Ctrl-C kill it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._code is None or not any(thread.daemon for thread in threading.enumerate()):
            return
        # A thread that was given up may be in librdkafka, and would return into a Python that is
        # gone: the process would end by SIGSEGV.
        if (logging := sys.modules.get("logging")) is not None:
            logging.shutdown()
        _let_go_of_lost_streams()
        os._exit(self._code)


def _let_go_of_lost_streams() -> None:
    """Drop what could not be written: Python would try again, and then exit with 120."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None and not stream.closed:  # an app may have closed it
                stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
            if fd == 1 and not isinstance(error, BrokenPipeError):
                fail(f"standard output cannot be written: {error.strerror}")


def _fill_standard_streams() -> None:
    """Open to nowhere the standard streams that we got closed, as by `2>&-`.

    Python leaves None in the place of such a stream. The next descriptor that is opened, perhaps
    a broker's connection, then gets its number, and C code takes it for standard error.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(fd, True)
    # Never closed, as standard streams are.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
