"""JSON5 as go-zero's parser takes it: less than JSON5 has.

go-zero v1.10.3 uses github.com/titanous/json5: keys without quotes are ASCII, texts have
JSON's escapes and hold no control characters, and a comment ends at the first slash after
a star. The package json5, which is an extra, reads what it takes.
Tested by tests/kq/test_conf_formats.py and tests/interop/test_conf.py.
"""

from __future__ import annotations

import re

from kqworker.errors import ConfigError
from kqworker.kq.conf.trees import FormatError

_ESCAPE = r"""\\(?:[bfnrt\\/"'\n]|\r\n?|u[0-9a-fA-F]{4})"""
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f]+|//[^\r\n]*(?:\r\n?|\n|\Z)|/\*[^*]*(?:\*[^/]*(?:/|\Z)|\Z))"
    r"|[{}\[\]:,]|[\w$.+-]+"
    rf"""|"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"|'(?:[^'\\\x00-\x1f]|{_ESCAPE})*'""",
    re.ASCII,
)

_WHERE = re.compile(r"<string>:([0-9]+) (.*) at column ([0-9]+)", re.DOTALL)
_WORDS = {"Unexpected end of input": "its end comes too early"}


def parse(text: str) -> object:
    """Return JSON5 as Python values.

    Raises:
        ConfigError: The package that reads it is missing.
        FormatError: go-zero would not take it.
    """
    try:
        import json5
    except ImportError:
        raise ConfigError(
            "reading .json5 needs the package json5: pip install 'kqworker[json5]'"
        ) from None
    plain, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
            what = "a text has no end in its line, or a \\ too many"
            if text[at] not in "'\"":
                what = "this character cannot stand here"
            raise FormatError(line, f"not valid JSON5: {what}", column)
        # What is left keeps its position.
        plain.append(re.sub(r"[^\n]", " ", token[0]) if token["space"] else token[0])
        at = token.end()
    document = "".join(plain)
    if not document.strip():
        raise FormatError(None, "not valid JSON5: it is empty")
    try:
        found: object = json5.loads(document)
    except ValueError as error:
        raise _fault(str(error)) from None
    return found


def _fault(said: str) -> FormatError:
    where = _WHERE.match(said)
    if where is None:
        # A newer release may use other words.
        return FormatError(None, f"not valid JSON5: {said}")
    line, reason, column = where.groups()
    reason = _WORDS.get(reason) or f"{reason[:1].lower()}{reason[1:]}"
    return FormatError(int(line), f"not valid JSON5: {reason}", int(column))
