"""Where the jars of Apache Kafka are, fetched once from Maven Central.

Decides whether this machine can run Kafka at all, and where the copy is kept: outside
the clone, under the user's cache, named by a digest of pom.xml, so that a change of
version makes a new copy and never mixes two. Knows nothing of brokers.
Tested by tests/kafka/test_cluster.py, and by every test that starts a broker.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
# Apache Kafka 4 brokers are compiled for it.
OLDEST_JAVA = 17
# The first fetch also brings Maven's own plugins.
FETCH_TIMEOUT = 600.0


class Unavailable(Exception):
    """Apache Kafka cannot run here; the text says what is missing."""


@functools.cache
def java() -> str:
    """The path of a Java that is new enough.

    Raises:
        Unavailable: when there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if path is None:
        raise Unavailable(f"no java on the PATH (Apache Kafka needs Java {OLDEST_JAVA} or later)")
    told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60)
    version = re.search(r'version "(\d+)', told.stderr)
    if version is None or int(version[1]) < OLDEST_JAVA:
        first_line = (told.stderr.splitlines() or ["nothing"])[0]
        raise Unavailable(
            f"{path} says {first_line!r} (Apache Kafka needs Java {OLDEST_JAVA} or later)"
        )
    return path


@functools.cache
def jars() -> Path:
    """The folder with the jars, fetched by Maven if this is the first time.

    Raises:
        Unavailable: when Maven is missing or cannot fetch them.
    """
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kqworker"
    folder = cache / f"kafka-{kafka_version()}-{digest}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        # Two runs that start together fetch once; the lock ends with its process.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(folder)
    return folder


def kafka_version() -> str:
    """The version of Apache Kafka that pom.xml names."""
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.+?)<", POM.read_text())
    assert found is not None, f"{POM} names no version of Kafka"
    return found[1]


def _fetch(folder: Path) -> None:
    """Fills a folder beside the final one and renames it: it is whole or absent."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no mvn on the PATH (Maven fetches Apache Kafka from Maven Central)")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as scratch:
        made = Path(scratch) / "jars"
        command = [maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={made}"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FETCH_TIMEOUT,
        )
        if done.returncode != 0:
            raise Unavailable(f"Maven could not fetch Apache Kafka:\n{done.stdout[-2000:]}")
        made.rename(folder)
