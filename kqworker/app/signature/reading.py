"""What a handler's signature asks for.

Decides which parameter gets what, and refuses at decoration what cannot be served;
`app.binding` serves it. Knows nothing of Kafka or processes.
Tested by tests/app/test_signature.py.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kqworker.app.context import Context
from kqworker.app.payload import ANYTHING, TEXT, Payload, is_union, payload_for
from kqworker.app.signature.called import Call, read_call
from kqworker.types import Message

# Names that other frameworks use for what we find by its annotation.
MEANT = {"context": "Context", "ctx": "Context", "message": "Message", "msg": "Message"}


class Role(enum.Enum):
    """What a parameter is given."""

    VALUE = "value"
    KEY = "key"
    MESSAGE = "message"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Forms:
    """Which signatures handlers of one kind may have.

    Attributes:
        text: How the errors describe them.
        context_first: The first of three parameters is the context, as in go-queue's
            `(ctx, key, value)`.
    """

    text: str
    context_first: bool = False


ANY_HANDLER = Forms(
    "a handler takes one parameter (the payload, by its annotation; a Message if it says so or "
    "says nothing), or two named key and value; and a Context anywhere, by annotation"
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that is served.

    Attributes:
        name: As written.
        role: What it is given.
        payload: How its bytes are decoded; unused for CONTEXT.
        keyword: Whether it can only be passed by name.
    """

    name: str
    role: Role
    payload: Payload
    keyword: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a handler that are served, in the order of the call."""

    parameters: tuple[Parameter, ...]

    @property
    def payload(self) -> str:
        """The type that values are decoded to, as it is written in code."""
        main = next(p for p in self.parameters if p.role in (Role.VALUE, Role.MESSAGE))
        if main.role is Role.VALUE:
            return str(main.payload)
        return "Message" if main.payload is ANYTHING else f"Message[{main.payload}]"


def read_signature(function: Callable[..., object], forms: Forms = ANY_HANDLER) -> Signature:
    """Return what a function asks for.

    Args:
        function: The handler.
        forms: The signatures that are allowed.

    Raises:
        TypeError: It asks for something that cannot be served; the text says what is allowed.
    """
    try:
        call = read_call(function)
    except (TypeError, ValueError, NameError) as error:
        raise TypeError(f"its signature cannot be read ({error}): {forms.text}") from error
    if not call.hiding:
        return _read(call, forms)
    try:
        signature = _read(call, forms)
        _refuse_what_is_not_passed_on(call, signature)
    except TypeError as error:
        raise TypeError(
            f"{error}; a decorator around it takes {_hidden(call)}, so this is what the function "
            "inside asks for: if the decorator gives it more than the message, let its wrapper "
            "name what is left, def wrapper(message: dict), and no *args"
        ) from error
    return signature


def _read(call: Call, forms: Forms) -> Signature:
    parameters = list(call.signature.parameters.values())
    hints = {p.name: _resolve(call, p) for p in parameters}

    contexts = [p for p in parameters if _is_context(hints[p.name])]
    if forms.context_first and not contexts:
        contexts = _context_first(parameters, hints, forms)
        if call.hiding and any(MEANT.get(p.name) != "Context" for p in contexts):
            raise TypeError(f"which of its parameters is the context is not clear: {forms.text}")
    payloads = _payload_parameters([p for p in parameters if p not in contexts], forms)
    roles: dict[str, tuple[Role, Payload]] = {p.name: (Role.CONTEXT, ANYTHING) for p in contexts}
    if len(payloads) == 1:
        roles[payloads[0].name] = _single(payloads[0], hints[payloads[0].name], forms)
    else:
        # A queue's handler has two by definition; for others the second may be the decorator's.
        by_name = bool(call.hiding) and not forms.context_first
        roles |= _key_and_value(payloads, hints, forms, by_name)
    return Signature(_served(parameters, roles, forms))


def _hidden(call: Call) -> str:
    """Return what the outermost hiding wrapper takes, as it is written in code."""
    parameters = call.hiding[-1].parameters.values()
    return " and ".join(
        f"{'*' if p.kind is p.VAR_POSITIONAL else '**'}{p.name}"
        for p in parameters
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )


def _refuse_what_is_not_passed_on(call: Call, signature: Signature) -> None:
    """Refuse a signature with which a wrapper of `*args` or `**kwargs` cannot be called."""
    positional = [None for p in signature.parameters if not p.keyword]
    named = dict.fromkeys(p.name for p in signature.parameters if p.keyword)
    for wrapper in call.hiding:
        try:
            wrapper.bind(*positional, **named)
        except TypeError as error:
            raise TypeError(f"it cannot be called with what it asks for: {error}") from error


def _resolve(call: Call, parameter: inspect.Parameter) -> object:
    """Return a parameter's annotation without its quotes, or `Parameter.empty`."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return annotation

    # Each annotation alone: a return annotation that only type checkers can see must not matter.
    def alone() -> None: ...

    alone.__annotations__ = {parameter.name: annotation}
    try:
        hints = typing.get_type_hints(alone, call.namespace, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise TypeError(
            f"the annotation {annotation!r} of {parameter.name!r} cannot be resolved ({error}): "
            "define the type at the level of the module, before the handler, and not under "
            "TYPE_CHECKING"
        ) from error
    return hints[parameter.name]


def _is_context(hint: object) -> bool:
    members = typing.get_args(hint) if is_union(hint) else (hint,)
    return Context in members


def _context_first(
    parameters: Sequence[inspect.Parameter], hints: dict[str, object], forms: Forms
) -> list[inspect.Parameter]:
    """Return the first of three parameters, which is the context without an annotation."""
    required = [p for p in parameters if p.default is p.empty]
    if len(required) != 3:
        return []
    first = required[0]
    # A parameter with another annotation would get what it does not ask for.
    silent = hints[first.name] in (inspect.Parameter.empty, object, Any)
    if not silent or first.name in ("key", "value"):
        raise TypeError(
            f"{first.name!r} would be given the context, as the first of three: annotate the one "
            f"that is meant as Context: {forms.text}"
        )
    return [first]


def _payload_parameters(rest: list[inspect.Parameter], forms: Forms) -> list[inspect.Parameter]:
    for parameter in rest:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"'{parameter}' cannot be served: {forms.text}")
    if {p.name for p in rest[:2]} == {"key", "value"}:
        payloads = rest[:2]
    else:
        # A parameter with a default keeps it, unless no other could take the payload.
        payloads = [p for p in rest if p.default is p.empty] or rest[:1]
    left = [p for p in rest if p not in payloads and p.default is p.empty]
    if not payloads or len(payloads) + len(left) > 2:
        count = len(payloads) + len(left)
        raise TypeError(f"it takes {count or 'no'} parameters for the message: {forms.text}")
    return payloads


def _single(parameter: inspect.Parameter, hint: object, forms: Forms) -> tuple[Role, Payload]:
    if hint is inspect.Parameter.empty or hint is Message:
        return Role.MESSAGE, ANYTHING
    if typing.get_origin(hint) is Message:
        (inner,) = typing.get_args(hint)
        return Role.MESSAGE, _payload(parameter, inner, forms)
    return Role.VALUE, _payload(parameter, hint, forms)


def _key_and_value(
    parameters: Sequence[inspect.Parameter],
    hints: dict[str, object],
    forms: Forms,
    by_name: bool,
) -> dict[str, tuple[Role, Payload]]:
    names = {p.name for p in parameters}
    if names == {"key", "value"}:
        roles = {"key": Role.KEY, "value": Role.VALUE}
    elif not by_name and all(hints[p.name] in (inspect.Parameter.empty, str) for p in parameters):
        for p in parameters:
            plain = hints[p.name] is inspect.Parameter.empty
            # Beside a key the value may well be named message; but a context is no key or value.
            meant = MEANT.get(p.name) if plain else None
            if meant == "Context" or (meant is not None and not names & {"key", "value"}):
                raise TypeError(
                    f"{p.name!r} would be given the key or the value as text: annotate it, "
                    f"{p.name}: {meant}, or name the two key and value"
                )
        roles = {parameters[0].name: Role.KEY, parameters[1].name: Role.VALUE}
    else:
        asked = ", ".join(str(p) for p in parameters)
        raise TypeError(
            "annotate the Context, or name the two parameters key and value: it is not clear "
            f"which of ({asked}) is the key: {forms.text}"
        )
    found: dict[str, tuple[Role, Payload]] = {}
    for parameter in parameters:
        hint = hints[parameter.name]
        payload = TEXT if hint is inspect.Parameter.empty else _payload(parameter, hint, forms)
        found[parameter.name] = (roles[parameter.name], payload)
    return found


def _payload(parameter: inspect.Parameter, hint: object, forms: Forms) -> Payload:
    if hint is Message or typing.get_origin(hint) is Message:
        raise TypeError(f"{parameter.name!r} cannot be a Message beside another one: {forms.text}")
    try:
        return payload_for(hint)
    except TypeError as error:
        raise TypeError(f"parameter {parameter.name!r}: {error}") from error


def _served(
    parameters: Sequence[inspect.Parameter],
    roles: dict[str, tuple[Role, Payload]],
    forms: Forms,
) -> tuple[Parameter, ...]:
    served: list[Parameter] = []
    skipped = False
    for p in parameters:
        if p.name not in roles:
            skipped = True
            continue
        # After a parameter that keeps its default, the others must go by name.
        keyword = p.kind is p.KEYWORD_ONLY or skipped
        if keyword and p.kind is p.POSITIONAL_ONLY:
            raise TypeError(f"{p.name!r} cannot be passed, after one with a default: {forms.text}")
        role, payload = roles[p.name]
        served.append(Parameter(p.name, role, payload, keyword))
    return tuple(served)
