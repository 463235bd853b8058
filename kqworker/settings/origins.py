"""What files and the environment say of the settings, each value with its origin.

Decides which file is read, and how a file, a variable and a line of an env-file become a
layer. Knows nothing of bounds, defaults or precedence: `settings` does.
Tested by tests/settings/test_origins.py.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kqworker.errors import ConfigError
from kqworker.settings.settings import KAFKA, SETTINGS, Given, Layer, Resolved, flatten, resolve

if TYPE_CHECKING:
    import yaml

PREFIX = "KQWORKER_"
TABLE = "tool.kqworker"
FILES = ("kqworker.yaml", "pyproject.toml")
MISTAKEN = "kqworker.yml"
NESTED = "nested too deeply"


@dataclass(frozen=True, slots=True)
class Sources:
    """What was given outside of the app, the strongest first.

    Attributes:
        flags: Given on the command line.
        environment: Given in the environment, and in the env-file.
        file: Given in the configuration file.
    """

    flags: Layer
    environment: Layer
    file: Layer

    def resolve(self, *weaker: Layer) -> Resolved:
        """Resolve these above the `weaker` layers, such as that of the App.

        Raises:
            ConfigError: As `settings.resolve`.
        """
        try:
            return resolve([self.flags, self.environment, self.file, *weaker])
        except ConfigError as error:
            raise ConfigError(f"{error}{_of_go_queue(self.file)}") from None


def load(
    flags: Layer, file: str | None = None, environ: MutableMapping[str, str] | None = None
) -> Sources:
    """Read the configuration file, the environment and the env-file.

    What the env-file adds is put into `environ` as well, for the app to find.

    Args:
        flags: From the command line; `env_file` is looked up there first.
        file: A file to read; None looks for kqworker.yaml, then for [tool.kqworker] in
            pyproject.toml, in the current directory.
        environ: `os.environ` unless given.

    Raises:
        ConfigError: A file cannot be read or is not what it should be.
    """
    environ = os.environ if environ is None else environ
    path = Path(file) if file is not None else find()
    of_file = read(path, required=file is not None) if path is not None else {}
    variables = {name: Given(value, name) for name, value in environ.items()}
    for layer in (flags, from_variables(variables), of_file):
        if "env_file" in layer:
            chosen = layer["env_file"].value
            if isinstance(chosen, str):
                for name, given in read_env_file(Path(chosen)).items():
                    if name not in environ:
                        environ[name] = str(given.value)
                        variables[name] = given
            break
    return Sources(flags, from_variables(variables), of_file)


def _of_go_queue(file: Layer) -> str:
    """Return a line to add if a file is one of go-queue; its keys are in any letter case."""
    if not {"name", "brokers", "group", "topic"} <= {key.lower() for key in file}:
        return ""
    path = re.sub(r":\d+$", "", next(iter(file.values())).origin)
    return f"\nthis looks like a configuration of go-queue: kqworker kq -f {path} HANDLER"


def find() -> Path | None:
    """Return the configuration file of the current directory, or None.

    Raises:
        ConfigError: There is one under a name that is nearly right.
    """
    if Path(MISTAKEN).is_file() and not Path(FILES[0]).exists():
        # Nothing else would read it, and nobody would notice.
        raise ConfigError(
            f"{MISTAKEN} is not read: rename it to {FILES[0]}, or give it by --config"
        )
    for name in FILES:
        path = Path(name)
        if path.is_file() and (name != "pyproject.toml" or _has_table(path)):
            return path
    return None


def read(path: Path, required: bool = True) -> Layer:
    """Read a configuration file: TOML by its suffix, else YAML.

    Args:
        path: The file; its text stands in the origins.
        required: Whether a TOML file without [tool.kqworker] is an error.

    Raises:
        ConfigError: It cannot be read, or is no mapping.
    """
    content = _text(path)
    if path.suffix == ".toml":
        return dict(_toml(path, content, required))
    return dict(_yaml(path, content))


def read_env_file(path: Path) -> dict[str, Given]:
    """Read KEY=VALUE lines; the value is all that follows, without enclosing quotes.

    Blank lines, lines that begin with "#", and `export` before the key are allowed.

    Raises:
        ConfigError: It cannot be read, or a line is something else.
    """
    found = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        match = re.fullmatch(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)", entry)
        if not match:
            # The line is not shown: it may well be a secret.
            raise ConfigError(f"{path}:{number}: not a KEY=VALUE line")
        name, value = match.groups()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name] = Given(value, f"{name} in {path}:{number}")
    return found


def from_variables(variables: Mapping[str, Given]) -> Layer:
    """Return what the KQWORKER_… variables say; an empty one says nothing.

    `KQWORKER_KAFKA_SASL_PASSWORD` is the property `sasl.password`; two underscores
    stand for one.

    Raises:
        ConfigError: A variable is nearly a setting's.
    """
    layer = {}
    for variable, given in variables.items():
        if not variable.startswith(PREFIX) or given.value == "":
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.startswith("kafka_"):
            parts = name.removeprefix("kafka_").split("__")
            layer[KAFKA + "_".join(part.replace("_", ".") for part in parts)] = given
        elif name in SETTINGS and name != "kafka":
            layer[name] = given
        # Others may share the prefix: Kubernetes sets KQWORKER_SERVICE_HOST for a
        # service of that name. Only a name that is nearly a setting's is a mistake.
        elif near := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.8):
            raise ConfigError(
                f"{given.origin}: there is no setting {name!r} "
                f"(did you mean {SETTINGS[near[0]].variable}?)"
            )
    return layer


def cpus() -> int:
    """Return how many CPUs this process may use: its affinity, and its group's quota."""
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        # A container's limit, which the affinity does not show (cgroup v2).
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    if quota == "max":
        return count
    return max(1, min(count, math.ceil(int(quota) / int(period))))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _yaml(path: Path, content: str) -> Iterator[tuple[str, Given]]:
    import yaml

    try:
        loader = yaml.SafeLoader(content)
        root = loader.get_single_node()
        if root is None:
            return
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path}: must be a mapping of settings, such as `workers: 4`")
        yield from _walk(path, loader, root, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{path}: not valid YAML: {reason}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: {NESTED}") from None


def _walk(
    path: Path, loader: yaml.SafeLoader, mapping: yaml.MappingNode, prefix: str
) -> Iterator[tuple[str, Given]]:
    import yaml

    seen = set()
    for key, value in mapping.value:
        name, origin = f"{prefix}{key.value}", f"{path}:{key.start_mark.line + 1}"
        if name in seen:
            # YAML lets the last one win, silently.
            raise ConfigError(f"{origin}: {name} stands here twice")
        seen.add(name)
        if isinstance(value, yaml.MappingNode) and (prefix or name == "kafka"):
            yield from _walk(path, loader, value, f"{name}.")
        else:
            try:
                made = loader.construct_object(value, deep=True)
            except (ValueError, OverflowError):
                # `!!int x`, and a number or a date that Python cannot hold. Not shown: it
                # may well be a secret.
                reason = f"{name} is not of the type that it seems to be"
                raise ConfigError(f"{origin}: not valid YAML: {reason}") from None
            yield name, Given(made, origin)


def _toml(path: Path, content: str, required: bool) -> Iterator[tuple[str, Given]]:
    table: Any = _parse_toml(path, content)
    for part in TABLE.split("."):
        table = table.get(part) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        if required:
            raise ConfigError(f"{path}: has no table [{TABLE}]")
        return
    for name, value in flatten(table):
        line = _toml_line(content, name)
        yield name, Given(value, f"{path}:{line}" if line else str(path))


def _parse_toml(path: Path, content: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: {NESTED}") from None
    except ValueError as error:  # a number of more digits than Python turns into one
        reason = str(error).partition(":")[0]
        raise ConfigError(f"{path}: not valid TOML: {reason}") from None


def _has_table(path: Path) -> bool:
    # If a pyproject.toml does not name us, a mistake in it is not ours to report.
    content = _text(path)
    return TABLE in content and bool(dict(_toml(path, content, required=False)))


def _toml_line(content: str, name: str) -> int | None:
    # tomllib keeps no positions. This looks for a key by its last parts, below our table.
    ours = False
    for number, line in enumerate(content.splitlines(), 1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            ours = header[1].strip().replace('"', "").startswith(TABLE)
        elif ours and (key := re.match(r"\s*([\w.\"'-]+)\s*=", line)):
            found = re.sub(r"[\"']", "", key[1])
            if name == found or name.endswith(f".{found}"):
                return number
    return None
