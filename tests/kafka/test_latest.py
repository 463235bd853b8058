"""`latest` is the end at the group's first start: what comes later is read from its beginning."""

from __future__ import annotations

import pytest

from kqworker.core.completion import decode
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import NewTopic
from tests.kafka.records import produce
from tests.kafka.supervisors import Supervise, Supervisor

# Otherwise a new partition, and a new topic, is seen after up to 30 s.
SOON = ("-X", "topic.metadata.refresh.interval.ms=500")
LATEST = ("--offset", "latest", *SOON)
PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


def marked(cluster: Cluster, group: str, topic: str) -> dict[int, int | None]:
    """The count that each partition's commit carries."""
    counts = {}
    for number, told in cluster.committed(group, topic).items():
        found = decode(told.metadata, told.offset)
        assert found is not None
        counts[number] = found.partitions
    return counts


def started(supervise: Supervise, cluster: Cluster, topic: str, *options: str) -> Supervisor:
    """A run that has committed where it began."""
    supervisor = supervise(cluster, topic, *LATEST, *options).ready()
    supervisor.until(lambda: cluster.committed(supervise.group, topic), "it has begun")
    return supervisor


@PROTOCOLS
def test_a_topic_that_grows_while_it_runs_loses_nothing(
    kafka: Cluster, topic: NewTopic, supervise: Supervise, protocol: str
) -> None:
    name = topic(2)
    produce(kafka, name, [b"before"] * 10, partitions=2)
    supervisor = started(supervise, kafka, name, "-X", f"group.protocol={protocol}")
    kafka.grow_topic(name, 4)

    produce(kafka, name, [b"ok"] * 100, partitions=4)

    supervisor.handled(100)
    assert supervisor.stop() == 0, supervisor
    assert supervisor.reader.follow().ended == 100
    assert marked(kafka, supervise.group, name) == dict.fromkeys(range(4), 2)


def test_a_topic_that_grows_while_all_are_stopped_loses_nothing(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(2)
    produce(kafka, name, [b"before"] * 10, partitions=2)
    assert started(supervise, kafka, name).stop() == 0
    kafka.grow_topic(name, 4)
    produce(kafka, name, [b"ok"] * 12, partitions=4)

    # One that does not know the rule by its own partitions, and one that is to end.
    again = supervise(kafka, name, *LATEST, "--until-caught-up")

    assert again.wait() == 0, again
    assert again.reader.follow().ended == 12
    assert marked(kafka, supervise.group, name) == dict.fromkeys(range(4), 2)


def test_a_topic_of_a_pattern_that_comes_while_it_runs_loses_nothing(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    first = topic()
    produce(kafka, first, [b"before"] * 10)
    supervisor = supervise(kafka, f"^{first}", *LATEST).ready()
    supervisor.until(lambda: kafka.committed(supervise.group, first), "it has begun")
    second = kafka.create_topic(f"{first}-second", 2)

    produce(kafka, second, [b"ok"] * 10, partitions=2)

    supervisor.handled(10)
    assert supervisor.stop() == 0, supervisor
    assert supervisor.reader.follow().ended == 10
    assert marked(kafka, supervise.group, second) == {0: 0, 1: 0}


def test_a_topic_that_came_while_it_ran_is_known_after_a_restart_though_nothing_was_in_it(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    first = topic()
    supervisor = supervise(kafka, f"^{first}", *LATEST).ready()
    second = kafka.create_topic(f"{first}-second")
    supervisor.until(lambda: kafka.committed(supervise.group, second), "it has begun there")
    assert supervisor.stop() == 0
    produce(kafka, second, [b"ok"] * 10)

    again = supervise(kafka, f"^{first}", *LATEST, "--until-caught-up")

    assert again.wait() == 0, again
    assert again.reader.follow().ended == 10


def test_two_that_start_together_do_not_read_what_was_there_before(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    name = topic(4)
    produce(kafka, name, [b"before"] * 100, partitions=4)

    both = [supervise(kafka, name, *LATEST), supervise(kafka, name, *LATEST)]
    for supervisor in both:
        supervisor.ready()
    both[0].until(lambda: len(kafka.committed(supervise.group, name)) == 4, "all have begun")
    produce(kafka, name, [b"ok"] * 20, partitions=4)
    both[0].until(lambda: sum(s.reader.follow().ended for s in both) >= 20, "all are handled")

    assert [supervisor.stop() for supervisor in both] == [0, 0]
    assert sum(supervisor.reader.follow().ended for supervisor in both) == 20
    assert marked(kafka, supervise.group, name) == dict.fromkeys(range(4), 4)


def test_a_topic_that_is_made_anew_while_it_runs_is_read_from_its_beginning(
    kafka: Cluster, topic: NewTopic, supervise: Supervise
) -> None:
    first = topic()
    name = kafka.create_topic(f"{first}-again")
    produce(kafka, name, [b"before"] * 10)
    supervisor = supervise(kafka, f"^{first}", *LATEST).ready()
    supervisor.until(lambda: kafka.committed(supervise.group, name), "it has begun")
    kafka.delete_topic(name)
    supervisor.until(lambda: kafka.assigned(supervise.group) == {(first, 0)}, "it is given back")
    kafka.create_topic(name, 2)

    produce(kafka, name, [b"ok"] * 10, partitions=2)

    supervisor.handled(10)
    assert supervisor.stop() == 0, supervisor
    assert supervisor.reader.follow().ended == 10
