r"""TOML 1.1, which go-zero's parser takes, written as the TOML 1.0 that Python has a parser for.

New in 1.1 are line ends, comments and a last comma in an inline table, `\e` and `\xHH` in
texts, and times without seconds. What is wrong in both stays as it is, on its line.
Pure. Tested by tests/kq/test_conf_formats.py and tests/interop/test_conf.py.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"""+|"(?:\\.|[^"\\\n])*"'''
    r"""|'''.*?'''+|'[^'\n]*'"""
    r"""|\#[^\n]*|[ \t]+|\r?\n|[{}\[\],=.]|[^\s{}\[\],=.\#"']+|.""",
    re.DOTALL,
)
_TIME = re.compile(r"((?:\d{4}-\d\d-\d\d[Tt])?\d\d:\d\d)([Zz]|[-+]\d\d:\d\d)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_OPENING = {"}": "{", "]": "["}
# Beside these no line may end, not even in TOML 1.1.
_TIGHT = ("=", ".")


def as_toml10(text: str) -> str:
    r"""Return what tomllib takes; what follows an inline table stays on its line.

    >>> as_toml10('a = { b = "\\e", # c\n }\nd = 07:32\n')
    'a = { b = "\\u001b"     }\n\nd = 07:32:00\n'
    """
    tokens = _TOKEN.findall(text)
    written: list[str] = []
    open_ones: list[str] = []
    marks: list[int] = []  # where in `written` something stands that is no space
    tables = 0  # how many of `open_ones` are inline tables
    ended = 0  # lines of the inline table, to end where its last one does
    for at, token in enumerate(tokens):
        inside = tables > 0
        if token in ("{", "["):
            open_ones.append(token)
            tables += token == "{"
        elif token in _OPENING and open_ones and open_ones[-1] == _OPENING[token]:
            open_ones.pop()
            tables -= token == "}"
            if token == "}" and _ends_with_comma(written, marks):
                written[marks[-1]] = " "
        if inside and token.startswith("#") and not _CONTROL.search(token.removesuffix("\r")):
            token = " "
        elif inside and token.endswith("\n") and not _tight(written, marks, tokens, at):
            token, ended = " ", ended + 1
        elif token.endswith("\n") and not inside:
            token, ended = token + "\n" * ended, 0
        if token.strip():
            marks.append(len(written))
        written.append(_older(token))
    return "".join(written)


def _ends_with_comma(written: list[str], marks: list[int]) -> bool:
    last = [written[mark] for mark in marks[-2:]]
    return len(last) == 2 and last[1] == "," and last[0] not in ("{", ",")


def _tight(written: list[str], marks: list[int], tokens: list[str], at: int) -> bool:
    following = next((tokens[i] for i in range(at, len(tokens)) if tokens[i].strip()), "")
    return following in _TIGHT or bool(marks and written[marks[-1]] in _TIGHT)


def _older(token: str) -> str:
    if token.startswith('"'):
        return re.sub(r"\\(e|x[0-9a-fA-F]{2}|.)", _escape, token, flags=re.DOTALL)
    if time := _TIME.fullmatch(token):
        return f"{time[1]}:00{time[2] or ''}"
    return token


def _escape(escape: re.Match[str]) -> str:
    code = escape[1]
    if code == "e":
        return r"\u001b"
    return rf"\u00{code[1:]}" if len(code) == 3 else escape[0]
