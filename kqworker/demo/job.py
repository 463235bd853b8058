"""How complex are the functions of Python's own standard library?

One message is the path of a source file. The handler parses it and counts the decisions
in each function (McCabe's cyclomatic complexity); what it returns goes to another topic.

    kqworker run job:app --app-dir examples/stdlib_complexity --brokers localhost:9092
"""

from __future__ import annotations

import ast
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from kqworker import App

FILES = "kqworker.demo.files"
RESULTS = "kqworker.demo.results"

app = App("kqworker.demo")

# Each of these is one more way through a function.
DECISIONS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.Assert,
    ast.comprehension,
    ast.match_case,
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Found:
    """What one file has: its functions with their complexity, the most complex first."""

    path: str
    functions: list[tuple[str, int]]
    error: str = ""


@app.on_worker_start
def hush() -> None:
    """Keep what the parser thinks of the library's escapes to itself."""
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)


@app.handler(topic=FILES, output=RESULTS)
def measure(path: str) -> Found:
    """Parse a file and measure its functions."""
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read(), path)
    except (SyntaxError, UnicodeDecodeError) as error:
        # The library has such files on purpose: the tests of the parser.
        return Found(path, [], f"{type(error).__name__}: {error}")
    found = [(name, complexity(node)) for name, node in functions(tree)]
    return Found(path, sorted(found, key=lambda f: -f[1]))


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield each function with its qualified name, those inside others too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            name = f"{prefix}{child.name}"
            if isinstance(child, FUNCTIONS):
                yield name, child
            yield from functions(child, f"{name}.")
        else:
            yield from functions(child, prefix)


def complexity(function: ast.AST) -> int:
    """Return the cyclomatic complexity of a function, without the functions inside it."""
    total = 1
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, FUNCTIONS):
            continue
        if isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
        elif isinstance(node, DECISIONS):
            total += 1
        todo.extend(ast.iter_child_nodes(node))
    return total
