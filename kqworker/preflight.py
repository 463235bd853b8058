"""What can be wrong before the start: the choice of topics, Kafka's properties, the cluster.

Decides which handlers run and what Kafka is asked. `run` looks here before it starts
anything, `kqworker check` does nothing else. Consumes nothing, creates nothing.
Tested by tests/cli/test_preflight.py and tests/kafka.
"""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kqworker.app.handler import locate
from kqworker.app.payload import refuse_untaken
from kqworker.core.policy import HandlerPolicy
from kqworker.core.routing import circle
from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka import destinations, devbroker
from kqworker.kafka.admin import READ_COMMITTED, Admin, Cluster
from kqworker.kafka.group_lag import left_to_read
from kqworker.kafka.properties import admin_properties, consumer_properties, producer_properties
from kqworker.loading.import_string import failed, refuse_green_threads
from kqworker.settings.settings import Settings
from kqworker.settings.values import did_you_mean
from kqworker.types import TopicPartition
from kqworker.watch import logs

if TYPE_CHECKING:
    from kqworker.app.app import App

logger = logs.logger("kqworker.run")

NO_BROKERS = (
    "no brokers: give --brokers, KQWORKER_BROKERS, `brokers:` in kqworker.yaml, or App(brokers=…)"
)
# A topic of the built-in broker need not be there before somebody pushes to it.
CREATING = {"allow.auto.create.topics": "true"}
# What secures a connection to another cluster; the built-in broker knows none of it.
SECURITY = ("security.", "sasl.", "ssl.", "ssl_")


@dataclass(frozen=True, slots=True)
class Connection:
    """Which cluster, and with which properties of the user.

    Attributes:
        brokers: The bootstrap addresses, with commas between them.
        kafka: Librdkafka's properties.
        built_in: Whether it is the built-in broker, which creates what it is asked for.
    """

    brokers: str
    kafka: Mapping[str, str]
    built_in: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and as which clients of Kafka.

    Attributes:
        connection: To which cluster.
        group: The consumer group.
        policies: Of all handlers of the app, in its order, with the default time limit.
        topics: Those that are run, as the handlers name them.
        produced: Those that the chosen handlers produce to.
        consumers: The properties of each member of the group.
        producer: The properties of the producer.
        admin: The properties of the client that asks.
    """

    connection: Connection
    group: str
    policies: tuple[HandlerPolicy, ...]
    topics: tuple[str, ...]
    produced: tuple[str, ...]
    consumers: tuple[dict[str, str], ...]
    producer: dict[str, str]
    admin: dict[str, str]

    @property
    def isolation(self) -> str:
        """The `isolation.level` under which messages are read."""
        return self.consumers[0].get("isolation.level", READ_COMMITTED).lower()


@dataclass(frozen=True, slots=True)
class Found:
    """What Kafka said.

    Attributes:
        brokers: How many are up.
        partitions: How many each topic has that is consumed.
        targets: With `until_caught_up`, the ends of the partitions that are not handled.
        present: How many partitions each topic has that there is.
    """

    brokers: int
    partitions: Mapping[str, int]
    targets: Mapping[TopicPartition, int]
    present: Mapping[str, int]


def connection(settings: Settings) -> Connection:
    """Return where the settings lead to; opens no connection.

    Raises:
        ConfigError: There are no brokers.
    """
    if settings.brokers is None:
        raise ConfigError(NO_BROKERS)
    brokers = ",".join(settings.brokers)
    address = devbroker.running()
    # The mock cluster has no other name for this machine.
    if address is None or brokers.replace("localhost:", "127.0.0.1:") != address:
        return Connection(brokers, settings.kafka, built_in=False)
    kafka = {key: text for key, text in settings.kafka.items() if not key.startswith(SECURITY)}
    return Connection(address, {**devbroker.PROPERTIES, **CREATING, **kafka}, built_in=True)


def plan(app: App, settings: Settings) -> Plan:
    """Decide what is to run; opens no connection.

    Args:
        app: With its handlers.
        settings: With brokers.

    Raises:
        ConfigError: There are no brokers, no handler has a topic that was chosen, what
            handlers produce comes back to them, or Kafka's properties are wrong.
    """
    to = connection(settings)
    group = settings.group or app.name
    policies = tuple(_with_limit(policy, settings) for policy in app.policies())
    _refuse_circles(app)
    topics = chosen([policy.topic for policy in policies], settings)
    produced = [
        topic
        for handler in app.handlers
        if handler.topic in topics
        for topic in (handler.dead_letter, handler.output)
        if topic is not None
    ]
    consumers = tuple(
        consumer_properties(
            to.brokers,
            group,
            offset=settings.offset,
            extra=to.kafka,
            members=settings.members,
            member=member,
        )
        for member in range(settings.members)
    )
    return Plan(
        connection=to,
        group=group,
        policies=policies,
        topics=topics,
        produced=tuple(dict.fromkeys(produced)),
        consumers=consumers,
        producer=producer_properties(to.brokers, to.kafka),
        admin=admin_properties(to.brokers, to.kafka),
    )


def ask(plan: Plan, settings: Settings, unwanted: Callable[[], bool] = lambda: False) -> Found:
    """Ask Kafka for all that can be wrong before anything is started.

    Args:
        plan: What the app and the settings mean.
        settings: All of them.
        unwanted: Asked while it waits: whether nobody wants the answer any more.

    Raises:
        BrokerError: It cannot be reached in time, or a topic is missing; or the answer is
            unwanted.
    """
    timeout = settings.startup_timeout
    try:
        with Admin(plan.admin, unwanted) as kafka:
            cluster = kafka.cluster(timeout)
            partitions = require_topics(kafka, plan, timeout)
            present = kafka.topics(timeout)
            for text in doubts(kafka, plan, cluster):
                logger.warning("%s", text, extra={"event": "doubtful_topic"})
            targets: Mapping[TopicPartition, int] = {}
            if settings.until_caught_up:
                targets = left_to_read(
                    kafka, plan.group, partitions, settings.offset, plan.isolation, timeout
                )
    except KeyboardInterrupt:
        logger.warning("stopped before the start: nothing was handled", extra={"event": "stopped"})
        raise
    return Found(cluster.brokers, partitions, targets, present)


def run_hooks(app: App) -> None:
    """Run what is to run once, in the supervisor.

    Raises:
        ConfigError: A hook has raised; the text says which, and where.
    """
    for hook in app.run_hooks:
        try:
            result = hook()
            if inspect.iscoroutine(result):
                refuse_untaken(result, "@on_start")
            refuse_green_threads(f"by @app.on_start ({locate(hook)})")
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:  # what a user's function raises may be anything
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"{locate(hook)}: @app.on_start: {error}: another program has the port, or "
                    "another run of this one"
                ) from error
            raise failed(f"{locate(hook)}: @app.on_start failed", error) from error


def require_topics(kafka: Admin, plan: Plan, timeout: float) -> dict[str, int]:
    """Return the partitions of the topics that are consumed.

    Raises:
        BrokerError: A topic is missing, be it one that is produced to: at night that
            would be a stall.
    """
    if plan.connection.built_in:
        named = [topic for topic in plan.topics if not topic.startswith("^")]
        devbroker.create_topics(plan.connection.brokers, [*named, *plan.produced])
    kafka.require_topics([*plan.topics, *plan.produced], timeout)
    return kafka.require_topics(plan.topics, timeout)


def doubts(kafka: Admin, plan: Plan, cluster: Cluster) -> list[str]:
    """Return what may become a stall in the topics that are produced to.

    Raises:
        BrokerError: There is no right to write to one of them.
    """
    if cluster.mock or not plan.produced:
        return []
    refused = destinations.forbidden(kafka, plan.produced)
    if refused:
        raise BrokerError(
            "\n".join(f"no right to write to topic {topic!r}, grant WRITE" for topic in refused)
        )
    return [
        f"topic {topic!r} is compacted (cleanup.policy): it takes no record without a key, and a "
        "message whose dead letter or output has none is held"
        for topic in destinations.compacted(kafka, plan.produced)
    ]


def chosen(known: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Return those of the handlers' topics that `topics` and `exclude_topics` leave.

    Raises:
        ConfigError: A topic is no handler's, none is left, or one that is left out comes in
            by the pattern of another.
    """
    for topic in (*settings.topics, *settings.exclude_topics):
        if topic not in known:
            raise ConfigError(
                f"no handler has the topic {topic!r}{did_you_mean(topic, known)}: "
                "--topics and --exclude-topics take what the handlers name"
            )
    topics = tuple(
        topic
        for topic in known
        if (not settings.topics or topic in settings.topics)
        and topic not in settings.exclude_topics
    )
    if not topics:
        raise ConfigError("--topics and --exclude-topics leave no handler to run")
    patterns = [topic for topic in topics if topic.startswith("^")]
    for topic in known:
        # The group would be given it, and the topic is its own handler's.
        taking = [pattern for pattern in patterns if re.search(pattern, topic)]
        if taking and topic not in topics:
            raise ConfigError(
                f"topic {topic!r} is left out, but {taking[0]!r} takes it in: "
                "run both of these handlers, or none"
            )
    return topics


def _refuse_circles(app: App) -> None:
    """Refuse handlers whose dead letters or results come back to them, whichever are chosen."""
    handlers = app.handlers
    way = circle(app.policies(), [handler.output for handler in handlers])
    if not way:
        return
    told = []
    for step in way:
        handler, reader = handlers[step.handler], handlers[step.reader]
        own = "itself" if reader is handler else reader.name
        by = f" as {reader.topic!r}" if reader.topic != step.topic else ""
        told.append(
            f"{handler.name} ({handler.where}): {step.by}={step.topic!r} is read by {own}{by}"
        )
    raise ConfigError(
        "what handlers produce would come round for ever: name another topic in one of these\n"
        + "\n".join(told)
    )


def _with_limit(policy: HandlerPolicy, settings: Settings) -> HandlerPolicy:
    if policy.time_limit is not None or settings.time_limit is None:
        return policy
    return replace(policy, time_limit=settings.time_limit)
