"""Configuration files that nobody wrote: every word in every kind of field, and mutated files.

Go and we load each of them; the values and the verdicts must be the same. The mutants are
the same in each run.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from kqworker.kq.conf.formats import READERS
from kqworker.kq.conf.trees import FormatError
from tests.interop.test_conf import HERE, ask, differences

ONE_WORD = (
    "8 08 0o17 0x1F 0X1f 0b11 0B1 0b -5 +5 1_000 1__0 1_ _1 1e3 1e-3 1. 1.0 .5 +.5 -.5 . "
    ".. 1:30 -0 -0.0 00 yes y Y n no on off OFF true TRUE tRUE null ~ Null nUll .inf -.inf"
    " .nan 9223372036854775807 9223372036854775808 18446744073709551616 "
    "-9223372036854775809 1e400 1e21 0.1 4294967295 4294967296 '' \"\" '8' \"8\" 'yes' a a:b "
    "[] [a] [1,2] [yes] [~] [[a]] {} {a:b} {a:} {a} {a:,} [a:] [,] {,} 2001-01-01 "
    "2001-1-1T00:00:00Z *a &a &a|8 | > @a `a %a #a << = - ? , ! !x 1s 5.5s 100ms 1d first "
    "info"
)
PHRASES = ["", "a b", "a: b", "- a", "a #b", "a\tb", "\ta", "! 8", "! '8'", "!!str 8", "!!int '8'"]
PHRASES += ["!!float 8", "!!bool 'yes'", "!!bool 1", "!!null ''", "!!null x", "!x 8", "|\n    8"]
PHRASES += [
    "!!binary YQ==",
    "!!binary 'YQ'",
    "!!timestamp 2001-01-01",
    "!!map {}",
    "{a: b}",
    "{a: 1}",
]
PHRASES += [
    '"\\u00e9"',
    '"\\q"',
    "'a''b'",
    "&a 8",
    "é",
    "a\u2028b",
    '"a\\\n    b"',
    "[1.50, 1e3, 0x10]",
]
# One field of each kind, and the sections.
PLACES = ["Username: {}", "Offset: {}", "Conns: {}", "ForceCommit: {}", "Brokers: {}", "Log: {}"]
PLACES += [
    "Telemetry: {{Sampler: {}}}",
    "Telemetry:\n  OtlpHeaders: {}",
    "Shutdown:\n  WaitTime: {}",
]
PLACES += ["Log:\n  MaxContentLength: {}", "Profiling:\n  ServerAddr: a\n  CpuThreshold: {}"]
BASE = {"Name": "orders", "Brokers": "[a]", "Group": "g", "Topic": "t"}

PIECES = ["{", "}", "[", "]", ":", ": ", ",", "-", "- ", "#", " #", "'", '"', "\n", " ", "  ", "\t"]
PIECES += ["&a ", "*a", "!", "!!str ", "|", ">", "?", "? ", "%", "@", "=", "0", "1", "e", ".", "_"]
PIECES += [
    "\\",
    "<<: ",
    "~",
    "null",
    "\r",
    "\0",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ufffe",
    "😀",
]
PIECES += ["---\n", "...\n", "\x1b", "\\x", "\\u12", "//", "/*", "*/", "+", "Infinity", "NaN", "é"]
MUTANTS = 1500


def sentences() -> Iterator[bytes]:
    for place, word in itertools.product(PLACES, ONE_WORD.split() + PHRASES):
        key = place.partition(":")[0]
        lines = [f"{name}: {value}" for name, value in BASE.items() if name != key]
        yield "\n".join([*lines, place.format(word), ""]).encode()


def mutant(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at, other = (chance.randrange(len(changed) + 1) for _ in range(2))
        match chance.choice(["drop", "drop", "insert", "insert", "insert", "repeat", "byte"]):
            case "drop":
                del changed[at : at + chance.choice([1, 1, 3])]
            case "insert":
                changed[at:at] = chance.choice(PIECES).encode()
            case "repeat":
                changed[at:at] = changed[min(at, other) : max(at, other)][:40]
            case _:
                changed[at:at] = bytes([chance.randrange(256)])
    return bytes(changed)


def in_two_cases(content: bytes, extension: str) -> bool:
    """Say whether a key has two letter cases: the original takes now one, now the other."""
    try:
        waiting = [READERS[extension](content).value]
    except FormatError:
        return False
    while waiting:
        match waiting.pop():
            case dict() as table:
                if len({key.lower() for key in table}) < len(table):
                    return True
                waiting += [entry.value for entry in table.values()]
            case list() as items:
                waiting += [entry.value for entry in items]
    return False


def compare(original: Path, files: list[Path]) -> None:
    verdicts = []
    for start in range(0, len(files), 500):
        verdicts += ask(original, "conf", *map(str, files[start : start + 500]))
    assert len(verdicts) == len(files)
    found = {
        path.read_bytes(): told
        for path, theirs in zip(files, verdicts, strict=True)
        if (told := differences(path, theirs))
    }
    assert found == {}


def test_every_word_fits_a_field_in_yaml_as_in_go(original: Path, tmp_path: Path) -> None:
    files = []
    for number, content in enumerate(sentences()):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_bytes(content)

    compare(original, files)


@pytest.mark.parametrize("extension", [".yaml", ".json", ".toml", ".json5"])
def test_mutated_files_have_the_same_verdict(
    original: Path, tmp_path: Path, extension: str
) -> None:
    chance = random.Random(extension)
    known = sorted((HERE / "conf").glob(f"*{extension}"))
    files = []
    for number in range(MUTANTS):
        content = mutant(chance, chance.choice(known).read_bytes())
        if not in_two_cases(content, extension):
            files.append(tmp_path / f"{number}{extension}")
            files[-1].write_bytes(content)

    compare(original, files)
