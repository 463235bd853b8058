"""From an import string, `module:attribute`, to the App that it names.

Decides the text of each mistake; a user's own error on import is shown as the user's part of
the traceback. Knows no options, apart from the names that it hints at.
Tested by tests/loading/test_import_string.py, which pins the texts.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType, TracebackType

from kqworker.app.app import App
from kqworker.app.handler import place
from kqworker.core.retry import Retry
from kqworker.errors import ConfigError, KQWorkerError
from kqworker.loading.source_scan import definitions
from kqworker.settings.values import did_you_mean

# Our functions that a module calls when it is imported: Python's name, and how to write the call.
SAID: dict[str, tuple[Callable[..., object], str]] = {
    "App.__init__()": (App.__init__, 'write App("name", …), what follows the name by its name'),
    "App.handler()": (App.handler, 'write @app.handler(topic="…", …), everything by its name'),
    "App.on_start()": (App.on_start, "write @app.on_start, and no ()"),
    "App.on_worker_start()": (App.on_worker_start, "write @app.on_worker_start, and no ()"),
    "App.on_worker_stop()": (App.on_worker_stop, "write @app.on_worker_stop, and no ()"),
    "Retry.__init__()": (Retry, "write Retry(attempts=…, first=…, factor=…, cap=…, jitter=…)"),
}
# The libraries that replace Python's blocking calls by those of green threads, and their calls
# for that; and the calls whose real forms the processes of a run need.
GREEN = {"gevent": "monkey.patch_all()", "eventlet": "eventlet.monkey_patch()"}
BLOCKING = (
    ("_thread", "start_new_thread"),
    ("select", "select"),
    ("os", "fork"),
    ("os", "read"),
    ("signal", "signal"),
)
# How many names of a file are suggested where none was given.
SUGGESTED = 3
_OURS = f"{Path(__file__).parent.parent}/"
# By context, and so by thread: another thread may start a run meanwhile.
_importing: ContextVar[bool] = ContextVar("importing", default=False)


def load_app(reference: str, app_dir: str | None = None, factory: bool = False) -> App:
    """Import the app that a reference names.

    Args:
        reference: `module:attribute`; both may have dots.
        app_dir: The directory to import from, put first in `sys.path`; None for the
            current one.
        factory: The attribute is a function that returns the app.

    Raises:
        ConfigError: There is no such app, or importing it failed; the text says what to do.
    """
    module, attribute, found = _look_up(reference, app_dir, "app")
    if factory:
        found = _call(found, reference)
    if not isinstance(found, App):
        raise ConfigError(_not_an_app(module, reference, found, factory))
    if not found.handlers:
        raise ConfigError(
            f"{reference!r} has no handlers: put @{attribute.rpartition('.')[2]}."
            'handler(topic="…") over a function that this module defines or imports'
            if not factory
            else f"the app that {reference!r} returned has no handlers"
        )
    return found


def load_attribute(reference: str, app_dir: str | None = None) -> object:
    """Import what a reference names, such as the handler of a queue.

    Args:
        reference: `module:attribute`; both may have dots.
        app_dir: The directory to import from, put first in `sys.path`; None for the
            current one.

    Raises:
        ConfigError: It is not there, or importing it failed; the text says what to do.
    """
    return _look_up(reference, app_dir, "handler")[2]


def importing() -> bool:
    """Return whether the caller is inside a module with handlers that is imported here."""
    return _importing.get()


def refuse_green_threads(when: str = "in this program") -> None:
    """Refuse to supervise in a process that gevent or eventlet has patched: it would hang.

    Args:
        when: When or where that has happened, for people.

    Raises:
        ConfigError: This process is patched; the text says where patching works.
    """
    for module, name in BLOCKING:
        found = getattr(sys.modules.get(module), name, None)
        library = str(getattr(found, "__module__", "")).partition(".")[0]
        if library in GREEN:
            raise ConfigError(
                f"{library} has patched Python ({module}.{name}) {when}, and kqworker's "
                f"supervisor would hang: call {GREEN[library]} in a function under "
                "@app.on_worker_start, where it works"
            )


def _look_up(reference: str, app_dir: str | None, kind: str) -> tuple[ModuleType, str, object]:
    module_name, attribute = _split(reference, kind, app_dir)
    directory = Path(app_dir or ".").resolve()
    if not directory.is_dir():
        raise ConfigError(f"the app directory {str(directory)!r} does not exist")
    _refuse_clashes(module_name, directory)
    if sys.path[:1] != [str(directory)]:
        sys.path.insert(0, str(directory))
    module = _import(module_name, directory)
    return module, attribute, _attribute(module, attribute)


def _split(reference: str, kind: str, app_dir: str | None) -> tuple[str, str]:
    module_name, _, attribute = reference.partition(":")
    path = Path(module_name)
    if module_name.endswith(".py") or len(path.parts) > 1:
        name, more = path.name.removesuffix(".py"), ""
        if len(path.parts) > 1:
            more = f" --app-dir {path.parent}"
        file = Path(app_dir or ".", path).with_suffix(".py")
        names = [attribute] if attribute else definitions(file, kind) or [kind]
        raise ConfigError(
            f"{reference!r} is a file, not module:attribute; try: {_tries(name, names)}{more}"
        )
    if module_name and not attribute:
        outer, _, last = module_name.rpartition(".")
        names = _defined(module_name, kind, app_dir)
        if not names and last in _defined(outer, kind, app_dir):
            # There is a dot in place of the colon.
            module_name, names = outer, [last]
        raise ConfigError(
            f"{reference!r} names no {kind}: expected module:attribute; "
            f"try: {_tries(module_name, names or [kind])}"
        )
    dotted = f"{module_name}.{attribute}"
    if not all(part.isidentifier() for part in dotted.split(".")):
        raise ConfigError(f"{reference!r} is not module:attribute, such as app:{kind}")
    return module_name, attribute


def _defined(module_name: str, kind: str, app_dir: str | None) -> list[str]:
    """Return the names in a module's file that could be meant."""
    if not module_name:
        return []
    file = Path(app_dir or ".", *module_name.split("."))
    files = file.with_name(f"{file.name}.py"), file / "__init__.py"
    return [name for file in files for name in definitions(file, kind)]


def _tries(module_name: str, names: list[str]) -> str:
    return " or ".join(f"{module_name}:{name}" for name in names[:SUGGESTED])


def _refuse_clashes(name: str, directory: Path) -> None:
    """Refuse a module of the user's that has the name of a loaded one.

    The user's code would get the loaded one, and a process that starts in this directory,
    such as the forkserver, would get the user's.

    Raises:
        ConfigError: There is one; the text names its file.
    """
    for info in pkgutil.iter_modules([str(directory)]):
        loaded = sys.modules.get(info.name)
        own = info.name in sys.stdlib_module_names
        if loaded is None or not (own or info.name == name.partition(".")[0]):
            continue
        where = getattr(loaded, "__file__", None)
        if where is None or not Path(where).resolve().is_relative_to(directory):
            file = info.name if info.ispkg else f"{info.name}.py"
            whose = "Python's own" if own else f"the one in {where}"
            raise ConfigError(
                f"{directory / file} has the name of a module that kqworker needs, {whose}: "
                "give it another one"
            )


def _import(name: str, directory: Path) -> ModuleType:
    # A file written a moment ago, by an editor or by `init`, must be seen.
    importlib.invalidate_caches()
    token = _importing.set(True)
    try:
        return importlib.import_module(name)
    except ConfigError:
        raise  # it says which line of the module to correct
    except ModuleNotFoundError as error:
        # Otherwise a module that the user's module imports is missing: that is the user's error.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            hint = did_you_mean(name, _modules_in(directory, name))
            raise ConfigError(f"no module {name!r} in {directory}{hint}") from None
        raise failed(f"module {name!r} cannot be imported", error) from error
    except SystemExit as error:
        if isinstance(error.__cause__, KQWorkerError):
            raise error.__cause__ from None  # why `must_load` and the like ended Python
        raise failed(f"module {name!r} ended Python when it was imported", error) from error
    except Exception as error:  # what a user's module raises on import may be anything
        raise _misused(error) or failed(f"module {name!r} cannot be imported", error) from error
    finally:
        _importing.reset(token)


def _modules_in(directory: Path, name: str) -> Iterable[str]:
    parent = name.rpartition(".")[0]
    folder = directory.joinpath(*parent.split(".")) if parent else directory
    if not folder.is_dir():
        folder, parent = directory, ""
    prefix = f"{parent}." if parent else ""
    return [info.name for info in pkgutil.iter_modules([str(folder)], prefix)]


def _attribute(module: ModuleType, attribute: str) -> object:
    found: object = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = _apps(module) or [n for n in dir(module) if not n.startswith("_")]
            hint = did_you_mean(attribute, names)
            if not hint and _apps(module):
                hint = f" (did you mean {_apps(module)[0]!r}?)"
            raise ConfigError(
                f"module {module.__name__!r} has no attribute {attribute!r}{hint}"
            ) from None
    return found


def _apps(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, App)]


def _call(found: object, reference: str) -> object:
    if isinstance(found, App):
        raise ConfigError(f"{reference!r} is an App, not a function: leave --factory out")
    if not callable(found):
        return found
    make: Callable[[], object] = found
    try:
        return make()
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # what a user's function raises may be anything
        raise _misused(error) or failed(f"the factory {reference!r} failed", error) from error


def _not_an_app(module: ModuleType, reference: str, found: object, factory: bool) -> str:
    kind = type(found).__qualname__
    if factory:
        return f"the factory {reference!r} gave {kind}, not an App"
    text = f"{reference!r} is not an App but {kind}"
    apps = _apps(module)
    if apps:
        return f"{text} (did you mean {apps[0]!r}?)"
    return f"{text}; if it is a function that returns one: --factory" if callable(found) else text


def _misused(error: BaseException) -> ConfigError | None:
    """Return an error in one line for a wrong call of ours; None for anything else."""
    text = str(error)
    if isinstance(error, TypeError):
        called = SAID.get(text.partition(" ")[0])
        if called is None:
            return None
        function, written = called
        # Python 3.13 has a guess of its own.
        text = text.partition(". Did you mean")[0]
        unknown = re.search("unexpected keyword argument '(.*)'", text)
        hint = did_you_mean(unknown[1], inspect.signature(function).parameters) if unknown else ""
        text += hint or f": {written}"
    elif isinstance(error, AttributeError) and isinstance(error.obj, App):
        names = [name for name in dir(error.obj) if not name.startswith("_")]
        hint = did_you_mean(str(error.name), names) or f": {SAID['App.handler()'][1]}"
        text = f"an App has no {error.name!r}{hint}"
    elif not (isinstance(error, ValueError) and text.startswith("Retry(")):
        return None
    theirs = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<"))
    ]
    if not theirs:
        return None
    return ConfigError(f"{place(theirs[-1].filename, theirs[-1].lineno or 0)}: {text}")


def failed(text: str, error: BaseException) -> ConfigError:
    """Return an error of the user's code as one of ours, with the user's part of the traceback."""
    hint = port_in_use(error)
    theirs = error.with_traceback(_user_part(error.__traceback__))
    lines = traceback.format_exception(theirs)
    return ConfigError(f"{text}:\n{''.join(lines).rstrip()}{hint}")


def port_in_use(error: BaseException) -> str:
    """Return a line to add if an app opens a port that is open already; else nothing."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno == errno.EADDRINUSE:
            return (
                "\nthe supervisor and each worker would open that port: open it in a function "
                "under @app.on_start, which runs once, in the supervisor"
            )
        seen = seen.__cause__
    return ""


def _user_part(tb: TracebackType | None) -> TracebackType | None:
    """Skip our own frames and the import system's."""
    ours = (_OURS, importlib.__file__, "<frozen importlib")
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(ours):
        tb = tb.tb_next
    return tb
