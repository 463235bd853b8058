"""What a worker must know to boot, and how it gets its app from that.

`loading` decides how an import fails, and in which words. Knows nothing of
channels. Tested by tests/runtime/test_boot.py and test_changed_app.py.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kqworker.app.app import App
from kqworker.app.handler import Handler
from kqworker.core.policy import HandlerPolicy
from kqworker.errors import ConfigError
from kqworker.loading.import_string import load_app
from kqworker.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The app of a run, and how its workers log.

    Attributes:
        reference: The app as `module:attribute`; None if it goes by `pickled`.
        pickled: The app itself by cloudpickle, for one that lives in `__main__`, a
            notebook or a closure.
        app_dir: The directory to import from; None for the current one.
        factory: The attribute is a function that returns the app.
        log_level: A name of `logging`, in any letter case.
        log_format: "text" or "json".
        preload: Import the app's module once, in the forkserver, so that all workers
            share what it loads; "auto" does so unless they would hang on it, or share what
            only one process can use. Off where the app may change while it runs.
        declared: The handlers as the supervisor imported them; it names a handler by its place
            in here. Empty for those of the app, as it is.
        imports: Without a reference, the module to import beforehand; empty for none.
        settings: Those of the run, by which a worker's children push; None to find their own.
    """

    reference: str | None = None
    pickled: bytes | None = None
    app_dir: str | None = None
    factory: bool = False
    log_level: str = "info"
    log_format: str = "text"
    preload: bool | Literal["auto"] = "auto"
    declared: tuple[HandlerPolicy, ...] = ()
    imports: str = ""
    settings: Settings | None = field(default=None, repr=False)

    @property
    def module(self) -> str:
        """The module that a forkserver imports beforehand; empty for none."""
        if not self.preload:
            return ""
        return self.reference.partition(":")[0] if self.reference else self.imports


def load(spec: WorkerSpec) -> App:
    """Import the app, or unpack it.

    Raises:
        ConfigError: It cannot be imported; the text says why.
        Exception: What unpacking it raises.
    """
    if spec.reference is not None:
        return load_app(spec.reference, spec.app_dir, spec.factory)
    if spec.pickled is None:
        raise ConfigError("the run names no app")
    # The bytes come from its own supervisor, over a pipe that no other process has.
    found: object = pickle.loads(spec.pickled)
    if not isinstance(found, App):
        raise ConfigError(f"what was pickled is a {type(found).__name__}, not an App")
    return found


# Any: each handler has a result of its own.
def arranged(app: App, declared: Sequence[HandlerPolicy]) -> Sequence[Handler[..., Any]]:
    """Return an app's handlers in the supervisor's order.

    The app may have changed on disk since the supervisor imported it, and then the order
    says nothing. A topic does: an app has one handler for it.

    Raises:
        ConfigError: A topic that is consumed has no handler any more.
    """
    if not declared:
        return app.handlers
    handlers = {handler.topic: handler for handler in app.handlers}
    gone = [policy.topic for policy in declared if policy.topic not in handlers]
    if gone:
        raise ConfigError(
            f"the app has changed, and has no handler of topic {', '.join(map(repr, gone))} any "
            "more: put it back, or stop kqworker and start it again"
        )
    return [handlers[policy.topic] for policy in declared]


def changes(app: App, declared: Sequence[HandlerPolicy]) -> str | None:
    """Return which handlers differ from the supervisor's; None if none does."""
    known = {policy.topic: policy for policy in declared}
    differ = [policy.topic for policy in app.policies() if known.get(policy.topic) != policy]
    if not declared or not differ:
        return None
    return (
        f"the handlers of {', '.join(map(repr, differ))} were added or changed: their new "
        "code runs now; topics, ordering, retry, dead_letter and time_limit change when kqworker "
        "is started again"
    )
