"""Variables in a file are replaced as Go replaces them: the vectors are what os.ExpandEnv says.

tests/interop/test_conf.py asks Go again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kqworker.kq.conf.environment import expand

VECTORS = json.loads((Path(__file__).parent / "expansions.json").read_text())
ENVIRONMENT = {name.encode(): value.encode() for name, value in VECTORS["environment"].items()}


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=lambda vector: repr(vector["text"]))
def test_a_text_is_expanded_as_go_does(vector: dict[str, str]) -> None:
    assert expand(vector["text"].encode(), ENVIRONMENT).decode() == vector["expanded"]


def test_what_is_no_text_is_left_alone() -> None:
    assert expand(b"\xff$A\xfe", ENVIRONMENT) == b"\xff1st\xfe"
