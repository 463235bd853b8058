"""go-queue's Queue: a configuration and a handler become a run with worker processes.

Decides how a queue is made, started and stopped, and what is checked before.
`kqworker.kq.queue.translate` decides what its configuration means; `kqworker.run` runs it.
Tested by tests/kq/test_queue.py and tests/kafka/test_kq.py.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from kqworker.errors import BrokerError, ConfigError, WorkerLost
from kqworker.exits import Exit
from kqworker.kq.conf.conf import KqConf
from kqworker.kq.exit_on_error import end
from kqworker.kq.queue.consuming import QueueApp, function_of
from kqworker.kq.queue.properties import refuse_wrong
from kqworker.kq.queue.queue_options import DEFAULTS, QueueOption, QueueOptions, combined
from kqworker.kq.queue.translate import Translation, translate
from kqworker.kq.security import TLS, in_words_of_kq
from kqworker.loading.import_string import refuse_green_threads
from kqworker.runtime.loop import Stop
from kqworker.runtime.start import refuse_on_import
from kqworker.settings import certificates
from kqworker.watch import logs
from kqworker.watch.plain import PlainWatch

if TYPE_CHECKING:
    from kqworker.watch.interface import Watch

_logger = logs.logger("kqworker.kq")


class Queue:
    """Consumes a topic, and calls a handler in worker processes. It runs once.

    Args:
        conf: The configuration.
        handler: A function `(key, value)` or `(context, key, value)`, sync or async, an
            object with such a `consume` method, or what `with_handle` returned. Keys and
            values are text unless annotated otherwise; a function of one parameter that is
            a `Message` gets that.
        *options: What the functions `with_…` return.

    Attributes:
        name: The name of the service.
        settings: What the configuration and the options mean.

    Raises:
        ConfigError: Something of this cannot be served.
    """

    def __init__(self, conf: KqConf, handler: object, *options: QueueOption) -> None:
        if not isinstance(conf, KqConf):
            raise ConfigError(f"{conf!r} is no KqConf: give what must_load(path) returns")
        chosen = combined(options)
        function = function_of(handler)
        self._translation = understood(conf, chosen)
        self.name = self._translation.name
        self.settings = self._translation.settings
        self._app = QueueApp(self._translation, function, chosen.metrics, chosen.error_handler)
        self._stop = Stop()
        self._lock = threading.Lock()
        self._started = False

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handler cannot use its Queue, which stays in the process that starts it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Exit:
        """Handle messages until `stop`, or in the main thread TERM, HUP or INT; then drain.

        A drain takes `Shutdown.WaitTime` at most. A second INT stops at once, a third
        leaves at once. From the banner on it replaces the program's own handlers of these
        signals; they are back when this returns. It sets up the log as `Log` says, unless the
        program has done so. Each worker checks that for itself, and it has imported the
        handler's module, not the program.

        Returns:
            How it ended: 0, or 4 if the drain was cut short, or one of the signals came
            before there was something to drain.

        Raises:
            RuntimeError: It has been started before.
            ConfigError, BrokerError, WorkerLost: It cannot start or cannot go on. A queue of
                `must_new_queue` ends the program instead, with the code of `kqworker run`; it
                also does so where it would return another code than 0.
        """
        return self.serve()

    def serve(self) -> Exit:
        """Do as `start`, for a `ServiceGroup`, but always return how it ended.

        Raises:
            RuntimeError, ConfigError, BrokerError, WorkerLost: As `start`.
        """
        # Before the warnings, which each worker would repeat.
        refuse_on_import()
        refuse_green_threads()
        with self._lock:
            if self._started:
                raise RuntimeError(f"{self!r} has been started before: make a new one")
            self._started = True
        settings = self.settings
        logs.configure(settings.log_level, settings.log_format)
        watch = PlainWatch(fields=settings.log_format == "json")
        try:
            with _term_as_interrupt():
                return run_app(self._app, self._translation, watch, self._stop)
        except KeyboardInterrupt:
            return Exit.ABANDONED

    def stop(self, now: bool = False) -> None:
        """Ask for the end, and return: `start` returns when the running messages have been handled.

        May be called from any thread or signal handler, and repeatedly. If it is called before
        `start`, that returns at once.

        Args:
            now: Do not wait for what is being handled: it will be delivered again.
        """
        self._stop.request(now)

    def stop_for(self, reason: str, now: bool) -> None:
        """Do as `stop`, for a `ServiceGroup`: the log says why."""
        self._stop.request(now, reason)


def new_queue(conf: KqConf, handler: object, *options: QueueOption) -> Queue:
    """Return a queue; see `Queue`.

    Raises:
        ConfigError: Something cannot be served.
    """
    return Queue(conf, handler, *options)


def must_new_queue(conf: KqConf, handler: object, *options: QueueOption) -> Queue:
    """Return a queue as `new_queue` does; an error ends the program, in `start` too.

    Raises:
        SystemExit: With the code of the command line. After `error: …` on standard error it
            is 2 for a mistake, 3 if Kafka cannot be reached or a topic is missing; `start`
            ends with 4 if work was abandoned.
    """
    try:
        return MustQueue(conf, handler, *options)
    except ConfigError as error:
        end(error)


class MustQueue(Queue):
    """A queue that ends the program where it cannot go on."""

    def start(self) -> Exit:
        code = self.serve()
        if code is not Exit.CLEAN:
            # The documents' main ignores the result, and must not look like a success.
            raise SystemExit(int(code))
        return code

    def serve(self) -> Exit:
        # A process that imports the module gets the error, and must not be ended.
        refuse_on_import()
        try:
            return super().serve()
        except (ConfigError, BrokerError, WorkerLost) as error:
            end(error)


def understood(conf: KqConf, options: QueueOptions = DEFAULTS) -> Translation:
    """Check the files that a configuration names, and return what it means.

    Raises:
        ConfigError: Something of this cannot be served.
    """
    translation = translate(conf, options)
    _require_files(conf)
    return translation


def run_app(
    app: QueueApp, translation: Translation, watch: Watch, stop: Stop | None = None
) -> Exit:
    """Log the warnings, and handle messages until the end; see `kqworker.run.run`.

    Raises:
        ConfigError, BrokerError, WorkerLost: It cannot start, or not go on.
    """
    # This loads librdkafka, which a program that only makes a queue need not load.
    from kqworker.run import AppReference, run

    for warning in translation.warnings:
        _warn(warning)
    settings = translation.settings
    refuse_wrong(settings, translation.origins)
    reference = AppReference(None, settings.app_dir, module=app.module)
    try:
        return run(app, settings, reference=reference, watch=watch, stop=stop)
    except BrokerError as error:
        told = in_words_of_kq(error.text)
        if told == error.text:
            raise
        raise BrokerError(told, error.retriable) from None


@contextlib.contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """Let TERM and HUP end the wait for Kafka, which cannot be drained, as Ctrl-C does.

    Otherwise they end the program without a `finally`. The program's own handler stays in force.
    """
    taken: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)
                taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _warn(text: str) -> None:
    """Log a warning, whatever `Log.Level` is: nobody would ever see a misspelt key otherwise."""
    extra = {"event": "configuration"}
    # This goes past the check of the level.
    _logger.handle(
        _logger.makeRecord(_logger.name, logging.WARNING, __file__, 0, text, (), None, extra=extra)
    )


def _require_files(conf: KqConf) -> None:
    """Refuse a file without certificates or key, under its name here; librdkafka has others."""
    names = {named: f"Kqworker.tls.{key}" for key, named in TLS.items()}
    tls = conf.kqworker.get("tls")
    given = {TLS[key]: str(value) for key, value in tls.items()} if isinstance(tls, Mapping) else {}
    if conf.ca_file:
        names[certificates.CA], given[certificates.CA] = "CaFile", conf.ca_file
    fault = certificates.fault(given)
    if fault is not None:
        named, why = fault
        name = names[named]
        raise ConfigError(f"{conf.origin(name)}: {name}: {given[named]} {why}")
