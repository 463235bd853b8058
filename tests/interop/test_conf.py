"""The same files, loaded by go-zero and by us: the same values and the same verdict.

The files are tests/interop/conf; good-… is loaded, bad-… refused, and env-… is read with
the environment. How they are written is the original's business, so ours must follow.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kqworker.errors import ConfigError
from kqworker.kq.conf import fields
from kqworker.kq.conf.conf import KQ, KqConf, load
from kqworker.kq.conf.sections import ShutdownConf

HERE = Path(__file__).parent
FILES = sorted(path.name for path in (HERE / "conf").iterdir())
VECTORS = HERE.parent / "kq"
ENVIRONMENT = {
    "KQ_USER": "user",
    "KQ_PASSWORD": "pa$$ word",
    "KQ_CONNS": "7",
    "KQ_LINES": "Username: lines\nConns: 3",
}

# All that differs: warnings, where go-zero is silent, by their last words. Values and
# verdicts differ only for .json5 without the package it needs, which a unit test shows.
UNKNOWN, TWICE, UNSERVED = "is unknown and ignored", "and the last one counts", "changes nothing"
WARNED = {
    "good-every-field.yaml": {UNSERVED},
    "good-every-kind.json": {UNSERVED},
    "good-every-kind.toml": {UNSERVED},
    "good-float-tiny.yaml": {UNSERVED},
    "good-float-underflow.json": {UNSERVED},
    "good-float-whole.yaml": {UNSERVED},
    "good-headers-null.json": {UNSERVED},
    "good-headers-text.yaml": {UNSERVED},
    "good-headers.yaml": {UNSERVED},
    "good-json-duplicate-key.json": {TWICE, UNSERVED},
    "good-json5.json5": {UNSERVED},
    "good-key-in-two-cases.yaml": {TWICE},
    "good-keys-in-any-case.yaml": {UNSERVED},
    "good-log-field-keys-empty.yaml": {UNSERVED},
    "good-log-field-keys-some.yaml": {UNSERVED},
    "good-profiling-least.yaml": {UNSERVED},
    "good-profiling-name-null.json": {UNSERVED},
    "good-profiling-name-own.yaml": {UNSERVED},
    "good-profiling-type-empty.yaml": {UNSERVED},
    "good-range-lowest.yaml": {UNSERVED},
    "good-sections-empty.yaml": {UNSERVED},
    "good-service-conf-is-no-key.json": {UNKNOWN},
    "good-tag-int-quoted.yaml": {UNSERVED},
    "good-telemetry-batcher-file.yaml": {UNSERVED},
    "good-text-date.toml": {UNSERVED},
    "good-toml-11.toml": {UNSERVED},
    "good-toml-dotted.toml": {UNSERVED},
    "good-unknown-key-kinds.yaml": {UNKNOWN},
    "good-unknown-keys.yaml": {UNKNOWN},
    "good-yaml-anchor-again.yaml": {UNSERVED},
    "good-yaml-anchors.yaml": {UNKNOWN},
    "good-yaml-duplicate-key.yaml": {TWICE, UNSERVED},
    "good-yaml-merge-list.yaml": {UNKNOWN, UNSERVED},
    "good-yaml-merge-quoted-is-a-key.yaml": {UNKNOWN},
    "good-yaml-merge.yaml": {UNKNOWN, UNSERVED},
}


def ask(original: Path, *arguments: str, lines: str = "") -> list[Any]:
    """Run a command of the original, and return what its lines of JSON say."""
    answer = subprocess.run(
        [str(original), *arguments],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=ENVIRONMENT,
        cwd=HERE / "conf",
    )
    # A text in JSON may hold what splitlines() takes for the end of a line.
    return [json.loads(line) for line in answer.stdout.rstrip("\n").split("\n")]


@pytest.fixture(scope="module")
def verdicts(original: Path) -> Mapping[str, Any]:
    """What the original says of each file."""
    plain = [name for name in FILES if not name.startswith("env-")]
    expanded = [name for name in FILES if name.startswith("env-")]
    found = ask(original, "conf", *plain) + ask(original, "conf", "-env", *expanded)
    return {verdict["File"]: verdict for verdict in found}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("KQ_"):
            monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def ours(path: Path) -> KqConf | ConfigError:
    try:
        return load(path, use_env=path.name.startswith("env-"))
    except ConfigError as error:
        return error


def differences(path: Path, theirs: Mapping[str, Any]) -> str:
    """Return what the original and we see otherwise in a file, or nothing."""
    conf = ours(path)
    if isinstance(conf, ConfigError):
        return "" if theirs["Error"] else f"only we refuse it: {conf}"
    if theirs["Error"]:
        return f"only the original refuses it: {theirs['Error']}"
    if conf.shutdown == ShutdownConf() and not any(theirs["Conf"]["Shutdown"].values()):
        # Absent: go-zero has zeros then, and takes its own defaults for them (proc.Setup).
        conf = dataclasses.replace(conf, shutdown=ShutdownConf(wrap_up_time=0.0, wait_time=0.0))
    values, expected = as_go(conf, KQ), without_empty(theirs["Conf"])
    return "" if values == expected else f"{values} is not {expected}"


def as_go(conf: object, section: fields.Section) -> dict[str, object]:
    """Return a section in the form in which Go prints it."""
    shown: dict[str, object] = {}
    for each in section.fields:
        value = None if conf is None else getattr(conf, each.attribute)
        if each.section is not None:
            shown[each.name] = as_go(value, each.section)
        elif each.kind is fields.Kind.DURATION:
            shown[each.name] = round((value or 0) * 10**9)
        elif each.kind in (fields.Kind.LIST, fields.Kind.MAP):
            # Go has null and empty ones, which nothing tells from each other.
            shown[each.name] = (list(value) if isinstance(value, tuple) else value) or None
        else:
            zero = {fields.Kind.TEXT: "", fields.Kind.FLAG: False}.get(each.kind, 0)
            shown[each.name] = zero if value is None else value
    return shown


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        shown = {key: without_empty(item) for key, item in value.items()} or None
        if shown and "Sampler" in shown:
            # Go prints 2**64 with the digits that a float needs, and without a point.
            shown["Sampler"] = float(shown["Sampler"])
        return shown
    return value or None if isinstance(value, list) else value


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_same_verdict_and_the_same_values(
    name: str, verdicts: Mapping[str, Any]
) -> None:
    theirs = verdicts[name]

    assert bool(theirs["Error"]) is ("bad-" in name), theirs["Error"]
    assert differences(HERE / "conf" / name, theirs) == ""


def test_what_differs_is_in_the_table() -> None:
    warned = {}
    for name in FILES:
        conf = ours(HERE / "conf" / name)
        if isinstance(conf, KqConf) and conf.warnings:
            kinds = (UNKNOWN, TWICE, UNSERVED)
            told = [{kind for kind in kinds if kind in warning} for warning in conf.warnings]
            assert all(told), conf.warnings
            warned[name] = set().union(*told)

    assert warned == WARNED


def test_there_are_files_of_every_field() -> None:
    text = "".join(
        (HERE / "conf" / name).read_bytes().decode("utf-8", "replace").lower() for name in FILES
    )
    waiting, names = [KQ], []
    while waiting:
        for each in waiting.pop().fields:
            names.append(each.name)
            waiting += [each.section] if each.section else []

    assert len(FILES) >= 60
    assert [name for name in names if name.lower() not in text] == []


@pytest.mark.parametrize(
    ("command", "vectors", "key"),
    [("durations", "durations", "nanoseconds"), ("expand", "expansions", "expanded")],
)
def test_the_vectors_of_the_unit_tests_are_what_go_says(
    original: Path, command: str, vectors: str, key: str
) -> None:
    known = json.loads((VECTORS / f"{vectors}.json").read_text())
    texts = known["texts"] if isinstance(known, dict) else known
    environment = known["environment"] if isinstance(known, dict) else {}

    answer = subprocess.run(
        [str(original), command],
        input="".join(json.dumps(vector["text"]) + "\n" for vector in texts),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )

    assert [json.loads(line) for line in answer.stdout.splitlines()] == [v[key] for v in texts]
