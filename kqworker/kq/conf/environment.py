"""`$VAR` and `${VAR}` in a file, replaced as Go's os.ExpandEnv does.

Pure. Tested by tests/kq/test_conf_environment.py against what Go says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# The shell's own names are one character long, so $10 is $1 and a 0.
_REFERENCE = re.compile(
    rb"\$(?:\{([*#$@!?\-0-9])\}|\{([^}]*)\}|(\{)|([*#$@!?\-0-9])|([A-Za-z_]\w*))", re.ASCII
)


_WHOLE = re.compile(r"\$(?:\{[^}]*\}|[A-Za-z_]\w*)", re.ASCII)


def forgotten(text: str) -> str:
    """Return a hint to have a variable replaced, for a text that is only a reference to it.

    >>> forgotten("$N"), forgotten("n")
    (' (to have the variable there: use_env=True, or --use-env)', '')
    """
    hint = " (to have the variable there: use_env=True, or --use-env)"
    return hint if _WHOLE.fullmatch(text) else ""


def expand(content: bytes, environ: Mapping[bytes, bytes]) -> bytes:
    """Replace the references to variables; one that is not set is empty.

    >>> expand(b"$A ${B}-$C$", {b"A": b"1", b"B": b"2"})
    b'1 2-$'
    """

    def value(match: re.Match[bytes]) -> bytes:
        # "${}" and a "${" without an end are removed.
        name = match[1] or match[2] or match[4] or match[5] or b""
        return environ.get(name, b"") if name else b""

    return _REFERENCE.sub(value, content)
