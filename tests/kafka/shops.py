"""A directory in which a queue of kqworker.kq runs, as its users write it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.kafka.cluster import Cluster
from tests.kafka.programs import Program
from tests.processes import ROOT

EXAMPLE = ROOT / "examples" / "go_queue"
PROGRAM = """\
import sys
import kqworker.kq as kq

{handler}

c = kq.must_load("config.yaml")
q = kq.must_new_queue(c, kq.with_handle(handle){options})
with q:
    print("exit", int(q.start()))
"""

Start = Callable[..., Program]


class Shop:
    """A directory with a queue's configuration and program.

    Args:
        folder: The directory.
        cluster: Where to.
        topic: What is consumed, by a group of the same name.
    """

    def __init__(self, folder: Path, cluster: Cluster, topic: str) -> None:
        self.folder = folder
        self.cluster = cluster
        self.topic = topic

    def configure(self, name: str = "config.yaml", **fields: Any) -> None:
        """Write a configuration; `Kqworker` adds to what ends the run at the end of the topic."""
        known: dict[str, Any] = {
            "Name": "shop",
            "Brokers": self.cluster.bootstrap.split(","),
            "Group": f"g-{self.topic}",
            "Topic": self.topic,
            "Offset": "first",
            "Consumers": 1,
            "Processors": 2,
            "MinBytes": 1,
            "Log": {"Encoding": "plain"},
        }
        # JSON is YAML.
        (self.folder / name).write_text(json.dumps(known | fields))

    def program(self, handler: str, options: str = "") -> None:
        """Write main.py; the handler's source defines `handle`."""
        text = PROGRAM.format(handler=handler, options=options)
        (self.folder / "main.py").write_text(text)

    def committed(self) -> dict[int, int]:
        """What the group has committed, by partition."""
        found = self.cluster.committed(f"g-{self.topic}", self.topic)
        return {partition: each.offset for partition, each in found.items()}


CAUGHT_UP: Mapping[str, object] = {"until_caught_up": True}


def values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]
