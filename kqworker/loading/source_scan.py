"""Which names in a file could be the app or the handler that is asked for.

Decides from the file's text: a hint must not run a module. Tested by
tests/loading/test_source_scan.py and tests/loading/test_import_string.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def definitions(file: Path, kind: str) -> list[str]:
    """Return the names in a file that could be meant, in order.

    Args:
        file: It may be missing, or not be Python; then there are none.
        kind: "app" for an `App`, "handler" for a function `(key, value)` or `(context, key,
            value)`, or an object of a class with a method `consume`.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names = _made(tree, {"App"}) if kind == "app" else _handlers(tree)
    return [name for name in names if not name.startswith("_")]


def _handlers(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, Function) and len([*node.args.posonlyargs, *node.args.args]) in (2, 3):
            yield node.name
    consumers = {
        node.name for node in tree.body if isinstance(node, ast.ClassDef) if _consumes(node)
    }
    yield from _made(tree, consumers)


def _consumes(node: ast.ClassDef) -> bool:
    return any(isinstance(item, Function) and item.name == "consume" for item in node.body)


def _made(tree: ast.Module, classes: set[str]) -> Iterator[str]:
    """Yield the names that objects of these classes are assigned to."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Call) and _last(value.func) in classes:
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _last(called: ast.expr) -> str:
    match called:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
