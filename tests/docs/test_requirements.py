"""The files of requirements/ pin all that setup.cfg asks for; `make requirements` makes them."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
EXTRAS = {"check": ("test", "check"), "test": ("test",), "oldest": ("test",)}

each_file = pytest.mark.parametrize("name", EXTRAS)


def asked(name: str) -> list[Requirement]:
    """Return what a file is made from."""
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = read["options"]["install_requires"].split("\n")
    for extra in EXTRAS[name]:
        texts += read["options.extras_require"][extra].split("\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts += project["build-system"]["requires"]
    return [Requirement(text) for text in texts if text]


def pinned(name: str) -> dict[str, list[Version]]:
    """Return the versions of each package in a file: several where they differ by Python."""
    found: dict[str, list[Version]] = {}
    for package, version in re.findall(r"^([\w.-]+)==([\w.]+)", text_of(name), re.MULTILINE):
        found.setdefault(canonicalize_name(package), []).append(Version(version))
    return found


def text_of(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


@each_file
def test_what_the_package_asks_for_is_pinned_within_its_bounds(name: str) -> None:
    there = pinned(name)

    for requirement in asked(name):
        versions = there.get(canonicalize_name(requirement.name), [])
        fits = versions and all(requirement.specifier.contains(version) for version in versions)
        assert fits, f"{requirement}: run `make requirements`"


def test_the_oldest_are_the_lowest_bounds_themselves() -> None:
    there = pinned("oldest")

    for requirement in asked("oldest"):
        (bound,) = requirement.specifier
        assert bound.operator == ">=", f"{requirement}: a lower bound, and nothing else"
        # The first release of 2.3 may be called 2.3.1.
        lowest = there[canonicalize_name(requirement.name)]
        released = {version.release[: len(Version(bound.version).release)] for version in lowest}
        assert released == {Version(bound.version).release}, f"{requirement}: {lowest}"


@each_file
def test_every_package_has_its_hashes_and_no_host(name: str) -> None:
    text = text_of(name)
    packages = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]

    assert packages
    for package in packages:
        assert "--hash=sha256:" in package, package
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_tests_and_checks_install_nothing_else() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")

    for text in (makefile, tox):
        assert "--no-deps --no-build-isolation --editable ." in text
    assert re.findall(r"^extras|^deps.*", tox, re.MULTILINE) == [
        "deps = -r requirements/test.txt",
        "deps = -r requirements/check.txt",
    ]
    # Those that are not pinned: a user's own, and the newest.
    assert re.findall(r"(\.venv\S*?)/bin/python -m pip .*--editable '?\.(?!\n)*", makefile) == [
        ".venv-latest",
        ".venv",
    ]


def test_nothing_is_installed_outside_of_a_virtual_environment() -> None:
    """As in one whose pyvenv.cfg has gone, where its python is the one that it was made from."""
    exported = re.search(
        r"^export (PIP_\w+) = (\w+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert exported is not None
    # -I keeps this environment's pip from standing in for that of the Python below it.
    base = [sys._base_executable, "-I", "-m", "pip", "install", "--dry-run", "--no-index", "pip"]  # type: ignore[attr-defined]
    environment = {**os.environ, exported[1]: exported[2]}
    if subprocess.run([*base[:4], "--version"], capture_output=True, check=False).returncode:
        pytest.skip("the Python below has no pip, so nothing can be installed there")
    refused = subprocess.run(base, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 3, refused.stderr  # VIRTUALENV_NOT_FOUND, of its status codes
