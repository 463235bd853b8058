"""Which function a call really calls: behind partials, methods, objects and decorators.

With `functools.wraps` a wrapper shows the signature of the function inside, but the call goes to
the wrapper. So a wrapper's own parameters count. Those of the function inside count only if
`*args` or `**kwargs` hide what the wrapper passes on.
Knows nothing of messages. Tested by tests/app/test_decorators.py.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

Function = Callable[..., object]

# With this, `functools.wraps` does not replace the wrapper's own annotations.
KEEPS_ANNOTATIONS = 'assigned=("__module__", "__name__", "__qualname__", "__doc__")'


_ANYTHING = inspect.signature(lambda *args, **kwargs: None)


@dataclass(frozen=True, slots=True)
class Call:
    """The parameters with which a function is called.

    Attributes:
        signature: The parameters; their annotations as they were written.
        namespace: Where the annotations were written.
        hiding: Signatures of wrappers around it that take `*args` or `**kwargs`: it is not known
            whether they pass on what they are given.
    """

    signature: inspect.Signature
    namespace: dict[str, object]
    hiding: tuple[inspect.Signature, ...] = ()


def read_call(function: Function) -> Call:
    """Return the parameters with which a function is called.

    Raises:
        TypeError: They are not what they seem; the text says why and what to do.
        ValueError: It is built in, and does not show its parameters.
    """
    if isinstance(function, functools.partial):
        args, keywords = function.args, function.keywords
        return _around(
            read_call(function.func),
            lambda shown: functools.partial(shown, *args, **keywords),
        )
    if isinstance(function, types.MethodType):
        owner = function.__self__
        return _around(read_call(function.__func__), lambda shown: types.MethodType(shown, owner))
    if isinstance(function, functools._lru_cache_wrapper):
        return read_call(function.__wrapped__)
    inside = getattr(function, "__wrapped__", None)
    if not callable(inside):
        inside = None
    own = _own(function, inside)
    if inside is None or not _hides(own.signature):
        return own
    call = read_call(inside)
    return replace(call, hiding=(*call.hiding, own.signature))


def _around(call: Call, take: Callable[[Function], Function]) -> Call:
    """Return a call with some arguments given already."""
    signatures = [inspect.signature(take(_like(s))) for s in (call.signature, *call.hiding)]
    return replace(call, signature=signatures[0], hiding=tuple(signatures[1:]))


def _own(function: Function, inside: Function | None) -> Call:
    """Return the parameters of a function itself."""
    # A proxy says that it is a function, and is none.
    if type(function) is types.FunctionType:
        return _of_function(function, inside)
    call = inspect.getattr_static(type(function), "__call__", None)
    if isinstance(call, types.FunctionType):
        return read_call(types.MethodType(call, function))
    if inside is not None:
        # Written in C: it is not known what it passes on.
        return Call(_ANYTHING, {})
    return Call(inspect.signature(function, follow_wrapped=False), _namespace(function))


def _of_function(function: types.FunctionType, inside: Function | None) -> Call:
    if inside is None:
        return Call(inspect.signature(function), function.__globals__)
    told = vars(function).get("__signature__")
    if told is not None and told is not getattr(inside, "__signature__", None):
        return Call(inspect.signature(function, follow_wrapped=False), function.__globals__)
    # Without the signature of the function inside, which `functools.wraps` has put into it.
    bare = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    bare.__kwdefaults__ = function.__kwdefaults__
    bare.__annotations__ = function.__annotations__
    signature = inspect.signature(bare)
    if function.__annotations__ != getattr(inside, "__annotations__", None):
        return Call(signature, function.__globals__)
    if not _hides(signature):
        signature = _with_annotations(signature, function, inside)
    return Call(signature, _namespace(inside))


def _with_annotations(
    signature: inspect.Signature, function: types.FunctionType, inside: Function
) -> inspect.Signature:
    """Return a wrapper's signature with the annotations in its source.

    The wrapper object has the annotations of the function inside. A parameter without an
    annotation of its own gets the one of the same name.

    Raises:
        TypeError: It is not clear what a parameter is to be given, or an annotation cannot be
            resolved.
    """
    written, inherited = _written(function), function.__annotations__
    plain = plain_function(inside)
    code = plain.__code__ if plain is not None else None
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
    annotated = bool(inherited.keys() - {"return"})
    parameters = []
    for name, parameter in signature.parameters.items():
        own = written.get(name, parameter.empty)
        # A decorator for any function has Any, which says nothing about this function.
        said = own not in (parameter.empty, object, Any) and not isinstance(own, TypeVar)
        if said or (own is not parameter.empty and not annotated):
            parameter = parameter.replace(annotation=own)
        elif annotated and name not in known and parameter.default is parameter.empty:
            raise TypeError(
                f"what {name!r}, a parameter of the decorator around it, is to be given is not "
                "clear, for functools.wraps has put the annotations of the function inside in the "
                "place of its own: annotate it in the decorator's source, give it its name "
                f"inside, or write functools.wraps(…, {KEEPS_ANNOTATIONS})"
            )
        parameters.append(parameter)
    return signature.replace(parameters=parameters)


def _written(function: types.FunctionType) -> dict[str, object]:
    """Return the annotations in a function's source; none where there is no source."""
    code = function.__code__
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(code))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != code.co_name:
        return {}
    arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)

    def alone() -> None: ...

    alone.__annotations__ = {
        argument.arg: ast.unparse(argument.annotation)
        for argument in arguments
        if argument.annotation is not None
    }
    around = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    try:
        return typing.get_type_hints(alone, around, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise TypeError(
            f"the annotations of a decorator around it cannot be resolved ({error}): define the "
            "types at the level of its module"
        ) from error


def _hides(signature: inspect.Signature) -> bool:
    return any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.parameters.values())


def _like(signature: inspect.Signature) -> Function:
    """Return a function that shows a signature, so that inspect can take parameters off it."""

    def shown(*args: object, **kwargs: object) -> None: ...

    shown.__signature__ = signature  # type: ignore[attr-defined]
    return shown


def _namespace(function: object) -> dict[str, object]:
    plain = plain_function(function)
    return plain.__globals__ if plain is not None else {}


def plain_function(function: object) -> types.FunctionType | None:
    """Return the user's function behind a partial, a method, a decorator or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    if isinstance(function, types.MethodType):
        function = inspect.unwrap(function.__func__)
    if not isinstance(function, types.FunctionType | type):
        function = inspect.getattr_static(type(function), "__call__", None)
    return function if isinstance(function, types.FunctionType) else None


def _called_function(function: object) -> object:
    """Return the function whose body a call runs first: for a decorator its wrapper."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif isinstance(function, functools._lru_cache_wrapper):
            function = function.__wrapped__
        elif isinstance(function, types.FunctionType | type):
            return function
        else:
            call = inspect.getattr_static(type(function), "__call__", None)
            return call if isinstance(call, types.FunctionType) else function


def returns_coroutine(function: object) -> bool:
    """Return whether a call certainly returns a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        _called_function(function)
    )


def is_async(function: object) -> bool:
    """Return whether a call returns a coroutine, as far as is known.

    A plain wrapper around an async function may have run it, or return its coroutine.
    """
    return returns_coroutine(function) or inspect.iscoroutinefunction(plain_function(function))


def settled(function: Callable[..., object]) -> Callable[..., object]:
    """Return the function; an async one so that each call certainly returns a coroutine."""
    if not is_async(function) or returns_coroutine(function):
        return function

    # A plain wrapper around a coroutine function: only its result shows whether it ran it.
    async def settle(*args: object, **kwargs: object) -> object:
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return settle


def has_yield(function: object) -> bool:
    """Return whether a call returns a generator and runs nothing."""
    called = _called_function(function)
    return inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called)


def cannot_be_called(function: object, arguments: int) -> str | None:
    """Return why a function cannot be called with so many arguments, or None.

    >>> cannot_be_called(lambda a, b: None, 3) is None, cannot_be_called(print, 3) is None
    (False, True)
    """
    if not callable(function):
        return f"{function!r} is not a callable object"
    try:
        call = read_call(function)
        for signature in (call.signature, *call.hiding):
            signature.bind(*[None] * arguments)
    except TypeError as error:
        return str(error)
    except ValueError:
        return None  # built in, and without a signature: its first call shows it
    return None
