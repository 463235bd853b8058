"""Sources on Apache Kafka, as a member of a group opens one."""

from __future__ import annotations

import uuid
from typing import Protocol

from kqworker.kafka.properties import consumer_properties
from tests.contract.owner import Owner
from tests.kafka.cluster import Cluster


def new_group() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


def properties(cluster: Cluster, group: str, **more: str) -> dict[str, str]:
    security = {k: v for k, v in cluster.client.items() if k != "bootstrap.servers"}
    dotted = {name.replace("_", "."): value for name, value in more.items()}
    offset = dotted.pop("offset", "earliest")
    return consumer_properties(
        cluster.bootstrap, group, offset=offset, extra={**security, **dotted}
    )


class Opened(Protocol):
    """Opens a source on a cluster; it is closed when the test ends."""

    def __call__(self, cluster: Cluster, topic: str, group: str, **more: str) -> Owner: ...
