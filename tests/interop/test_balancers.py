"""What tests/kq holds our balancers against is what kafka-go chooses today."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kq.vectors import FILE


def test_the_frozen_choices_are_kafka_go_s(original: Path) -> None:
    printed = subprocess.run(
        [original, "balancers"], capture_output=True, text=True, timeout=60, check=True
    )

    assert printed.stdout == FILE.read_text(encoding="utf-8")
