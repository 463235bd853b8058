"""The composition root: an app, settings, Kafka and worker processes become a running whole.

Decides the order of the start (preflight, workers, group) and of the end, and what a signal
means. Behaviour is the core's; how a run has ended is verdict.py's.
Tested by tests/e2e and tests/kafka.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import kqworker
from kqworker import preflight
from kqworker.app.app import in_run
from kqworker.clock import StandstillClock
from kqworker.core import commands as c
from kqworker.core import events as e
from kqworker.core.limits import Limits
from kqworker.core.supervisor import Supervisor
from kqworker.errors import BrokerError
from kqworker.exits import Exit
from kqworker.kafka.bounded import bounded
from kqworker.kafka.catching_up import CatchingUp
from kqworker.kafka.outgoing import Outgoing
from kqworker.kafka.properties import librdkafka_version, protocol
from kqworker.kafka.readers import published
from kqworker.kafka.sink import KafkaSink
from kqworker.kafka.source import KafkaSource
from kqworker.loading.import_string import refuse_green_threads
from kqworker.loading.reload import FileWatch
from kqworker.readiness import Readiness
from kqworker.runtime.garbage import collections
from kqworker.runtime.loop import Loop, Signals, Stop, called, ending_signals
from kqworker.runtime.packing import pack
from kqworker.runtime.process import ProcessWorkers
from kqworker.runtime.reap import reap_adopted
from kqworker.runtime.spec import WorkerSpec
from kqworker.runtime.start import refuse_on_import
from kqworker.settings import origins
from kqworker.verdict import verdict
from kqworker.watch import logs
from kqworker.watch.interface import Banner, HandlerLine, Several, Summary, Watch

if TYPE_CHECKING:
    from kqworker.app.app import App
    from kqworker.settings.settings import Settings

logger = logs.logger("kqworker.run")

TICK_SECONDS = 0.2
RELOAD_SECONDS = 0.5
REAP_SECONDS = 2.0
CLOSE_SECONDS = 5.0
TOLD_SECONDS = 2.0  # shorter standstills are not worth a line


@dataclass(frozen=True, slots=True)
class AppReference:
    """Where workers find the app.

    Attributes:
        reference: `module:attribute`; None for an app that cannot be imported by name
            (a notebook, a closure): it travels to the workers with cloudpickle.
        app_dir: The directory to import it from.
        factory: The attribute is a function that returns the app.
        module: Where there is no reference: the module that the handlers come from, for
            workers to share what it loads; empty for none.
    """

    reference: str | None
    app_dir: str = "."
    factory: bool = False
    module: str = ""


def run(
    app: App,
    settings: Settings,
    *,
    reference: AppReference,
    watch: Watch | None = None,
    stop: Stop | None = None,
) -> Exit:
    """Handle messages until a signal, a failure, or with `until_caught_up` the end.

    In the main thread TERM, HUP and INT drain, a second INT stops now, a third leaves at once;
    elsewhere signals are not looked at. Several runs may go on in one process, each in a
    thread of its own.

    Args:
        app: The app, as this process imported it.
        settings: With brokers.
        reference: Where the workers import it from.
        watch: Whom to tell how it goes.
        stop: Ends it, asked from anywhere; one that was asked before ends it at once.

    Returns:
        How it ended.

    Raises:
        ConfigError: The user must mend something before it can start.
        BrokerError: Kafka cannot be reached, or a topic is missing; or it refuses to go on.
        WorkerLost: Workers died one after the other without handling a message.
    """
    refuse_on_import()
    refuse_green_threads()
    return _Run(app, settings, reference, watch or Several(), stop or Stop()).run()


class _Run:
    """One run: what is known before the start, and what is open while it lasts."""

    def __init__(
        self, app: App, settings: Settings, reference: AppReference, watch: Watch, stop: Stop
    ) -> None:
        self._app = app
        self._stop = stop
        self._settings = settings
        self._reference = reference
        self._watch = watch
        self._plan = preflight.plan(app, settings)
        self._workers = settings.workers if isinstance(settings.workers, int) else origins.cpus()
        self._clock = StandstillClock(stood_still=self._on_standstill)
        self._began = time.monotonic()
        self._abandoned: list[str] = []
        self._interrupts = 0
        self._stopping = False
        self._silenced = ""
        self._catching_up: CatchingUp | None = None
        self._fatal: BrokerError | None = None

    def run(self) -> Exit:
        settings, plan = self._settings, self._plan
        if self._stop.asked:
            return Exit.CLEAN
        try:
            found = preflight.ask(plan, settings, lambda: self._stop.asked)
        except BrokerError:
            if self._stop.asked:
                return Exit.CLEAN
            raise
        if self._stop.asked:
            return Exit.CLEAN
        if settings.until_caught_up:
            self._catching_up = CatchingUp(plan.admin, plan.group, plan.isolation, found.targets)
        readiness = Readiness(self._began, settings.startup_timeout, bool(found.partitions))
        in_run(self._app, settings)
        preflight.run_hooks(self._app)
        stopped: c.Stopped | None = None
        with contextlib.ExitStack() as stack:
            # Ctrl-C while it closes what is open: what the run has come to stands.
            stack.push(lambda kind, *_: kind is KeyboardInterrupt and stopped is not None)
            if plan.connection.built_in:
                # To the end: what is drained is handled, too.
                address, offset = plan.connection.brokers, settings.offset
                stack.enter_context(published(address, plan.group, plan.topics, offset))
            # Before any Kafka client: no worker may inherit what librdkafka has opened.
            workers = ProcessWorkers(self._spec(), at=self._clock.at, silenced=self._on_silence)
            stack.callback(workers.close, CLOSE_SECONDS)
            outgoing = bounded if plan.connection.built_in else Outgoing
            sink = KafkaSink(outgoing(plan.producer))
            stack.callback(sink.close, CLOSE_SECONDS)
            core = Supervisor(plan.policies, self._limits(), random.Random())
            # Signals are caught from the banner on, which says that there is something to
            # drain, and as long as there is; before and after Ctrl-C ends whatever wait
            # there is.
            with (
                collections.rarely(),
                Signals(ending_signals()) as signals,
                self._stop as stop,
            ):
                source = KafkaSource(
                    plan.consumers,
                    plan.topics,
                    settings.shutdown_timeout,
                    found.present,
                    from_zero=plan.connection.built_in,
                    # What a reloaded handler will ask for, nobody knows.
                    timestamps=settings.reload
                    or any(handler.needs_timestamps for handler in self._app.handlers),
                )
                stack.callback(source.close, CLOSE_SECONDS)
                self._watch.started(self._banner(found, workers.method))
                loop = Loop(
                    core,
                    source,
                    sink,
                    workers,
                    self._clock,
                    self._report,
                    signals,
                    self._on_signal,
                    stop,
                    self._on_stop,
                )
                if settings.reload:
                    files = FileWatch([Path(settings.app_dir)])
                    loop.every(RELOAD_SECONDS, lambda: self._changes(files))
                loop.every(TICK_SECONDS, lambda: self._tick(core, source, sink, readiness))
                if os.getpid() == 1 and workers.method == "forkserver":
                    # Workers that are spawned are our own children, and waited for.
                    loop.every(REAP_SECONDS, self._reap)
                stopped = loop.run()
        assert stopped is not None
        return self._finish(stopped, core, workers, readiness)

    # -- before

    def _spec(self) -> WorkerSpec:
        settings, reference = self._settings, self._reference
        return WorkerSpec(
            reference=reference.reference,
            pickled=None if reference.reference is not None else pack(self._app),
            app_dir=reference.app_dir,
            factory=reference.factory,
            log_level=settings.log_level,
            log_format=settings.log_format,
            # What the forkserver has imported stays as it was.
            preload=False if settings.reload else settings.preload,
            declared=self._app.policies(),
            imports=reference.module,
            settings=settings,
        )

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            workers=self._workers,
            messages=settings.prefetch,
            size=settings.prefetch_bytes,
            commit_interval=settings.commit_interval,
            boot_seconds=settings.startup_timeout,
            grace=settings.shutdown_timeout,
            reloads=settings.reload,
            suspects=settings.isolate_suspects,
        )

    def _banner(self, found: preflight.Found, method: str) -> Banner:
        plan = self._plan
        return Banner(
            app=self._reference.reference or self._app.name,
            version=kqworker.__version__,
            pid=os.getpid(),
            python=platform.python_version(),
            librdkafka=librdkafka_version(),
            brokers=plan.connection.brokers,
            broker_count=found.brokers,
            group=plan.group,
            protocol=protocol(plan.connection.kafka),
            workers=self._workers,
            method=method,
            settings=self._settings,
            handlers=tuple(
                HandlerLine(
                    name=handler.name,
                    partitions=found.partitions.get(policy.topic),
                    payload=handler.payload,
                    policy=policy,
                )
                for handler, policy in zip(self._app.handlers, plan.policies, strict=True)
                if policy.topic in plan.topics
            ),
        )

    # -- while it runs

    def _tick(
        self, core: Supervisor, source: KafkaSource, sink: KafkaSink, readiness: Readiness
    ) -> Iterable[e.Event]:
        snapshot = core.snapshot()
        self._watch.tick(snapshot)
        events: list[e.Event] = []
        took = readiness.look(snapshot, time.monotonic())
        if took is not None:
            self._watch.ready(took)
        if self._catching_up is not None:
            events += self._catching_up.look(snapshot, self._stopping)
        if source.fatal is not None and self._fatal is None:
            self._fatal = source.fatal
            self._watch.stopping(f"Kafka refuses: {source.fatal}")
            events.append(e.StopRequested(self._settings.shutdown_timeout))
        if sink.fatal is not None and self._fatal is None:
            self._fatal = sink.fatal
            self._watch.stopping(str(sink.fatal))
            # Nothing that has an output can finish any more.
            events.append(e.StopRequested(0.0))
        return events

    def _changes(self, files: FileWatch) -> Iterable[e.Event]:
        changed = files.changed()
        if not changed:
            return ()
        names = ", ".join(Path(path).name for path in changed[:3])
        logger.info("%s changed: replacing the workers", names, extra={"event": "reload"})
        return (e.Replace(),)

    def _reap(self) -> Iterable[e.Event]:
        reap_adopted()
        return ()

    def _on_signal(self, number: signal.Signals) -> Iterable[e.Event]:
        if number is signal.SIGINT:
            self._interrupts += 1
        if self._interrupts >= 3:
            # Workers and forkserver end with this process: the kernel sees to it.
            os._exit(Exit.ABANDONED)
        return self._drain(called(number), at_once=self._interrupts == 2)

    def _on_silence(self, reason: str) -> None:
        if not self._silenced:
            self._silenced = reason
            self._stop.request()

    def _on_standstill(self, seconds: float) -> None:
        if seconds >= TOLD_SECONDS:
            text = "the supervisor stood still for %s s: no time limit and no time-out counts it"
            logger.warning(text, f"{seconds:.1f}", extra={"event": "stood_still"})

    def _on_stop(self, at_once: bool) -> Iterable[e.Event]:
        return self._drain(self._silenced or self._stop.reason, at_once)

    def _drain(self, reason: str, at_once: bool) -> Iterable[e.Event]:
        if not self._stopping:
            self._stopping = True
            self._watch.stopping(reason)
        return (e.StopRequested(0.0 if at_once else self._settings.shutdown_timeout),)

    def _report(self, report: c.Report) -> None:
        if report.kind is c.ReportKind.ABANDONED:
            self._abandoned.append(f"{report.partition} offset {report.offset} in {report.handler}")
        self._watch.report(report)

    # -- after

    def _finish(
        self, stopped: c.Stopped, core: Supervisor, workers: ProcessWorkers, readiness: Readiness
    ) -> Exit:
        snapshot = core.snapshot()
        end = verdict(
            stopped,
            snapshot,
            caught_up=self._settings.until_caught_up,
            asked=self._stopping,
            fatal=self._fatal,
            abandoned=self._abandoned,
            unreadable=core.unreadable(),
        )
        seconds = readiness.lasted(time.monotonic())
        cpu = workers.cpu_seconds
        self._watch.finished(
            Summary(
                handled=snapshot.handled,
                failed=snapshot.failed,
                retried=snapshot.retried,
                seconds=seconds,
                cpu_seconds=cpu,
                cores_busy=cpu / seconds if seconds > 0 else 0.0,
                left=end.left,
                exit=end.exit,
            )
        )
        if end.error is not None:
            raise end.error
        return end.exit
