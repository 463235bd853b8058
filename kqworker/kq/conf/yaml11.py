"""YAML as go-zero's parser reads it: which plain words are numbers, flags or nulls.

go-zero v1.10.3 uses gopkg.in/yaml.v2. It reads YAML 1.1, except for base 60, for YAML 1.2's
0o17, and for floats, which YAML 1.1 wants with a point. A null becomes the empty text; below
our own key it is still known to be a null.
`kqworker.kq.conf.scanning` decides where a value begins and ends.
Tested by tests/kq/test_conf_yaml.py and tests/interop/test_conf.py.
"""

from __future__ import annotations

import binascii
import math
import re

import yaml

from kqworker.kq.conf.scanning import PLAIN, TEXT, Loader
from kqworker.kq.conf.trees import Entry, FormatError, Number, Value, fixed

_TAG = "tag:yaml.org,2002:"
_RESOLVED = {f"{_TAG}{kind}" for kind in ("str", "bool", "int", "float", "null", "timestamp")}
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True
    ),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE"), False),
    **dict.fromkeys(("off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NAN = re.compile(r"\.(nan|NaN|NAN)")
_INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
_POINT = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_CHARACTER = "not valid YAML: an escape of no character"
# PyYAML's words, and ours.
_NO_COLON = "this line is neither a key with a colon nor a part of the value above it"
_NO_QUOTE = "the quote that opens here is not closed"
_PLAIN_WORDS = {
    "expected ',' or '}'": "a comma or } is missing",
    "expected ',' or ']'": "a comma or ] is missing",
    "expected <block end>": "this does not stand as far to the right as what it belongs to",
    "mapping values are not allowed here": (
        "a colon cannot stand here: put the text in quotes, or mend the indentation"
    ),
    "could not find expected ':'": _NO_COLON,
    "found unexpected end of stream": _NO_QUOTE,
    "found character '\\t' that cannot start": "a tab cannot stand here: use spaces",
}
_BASE64 = re.compile(r"([a-zA-Z0-9+/]{4})*([a-zA-Z0-9+/]{2}==|[a-zA-Z0-9+/]{3}=)?", re.ASCII)
_BITS = re.compile(r"0b([-+]?[01]+)")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"([Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]+)?)?"
)


def read_yaml(content: bytes) -> Entry:
    """Read the first document; what follows it does not matter.

    Raises:
        FormatError: It is not valid.
    """
    try:
        loader = Loader(content)
        try:
            node = loader.get_node() if loader.check_node() else None
        except (ValueError, OverflowError):
            # "\U00110000": PyYAML leaves it to chr().
            raise FormatError(loader.line + 1, _NO_CHARACTER) from None
        return Entry("", None) if node is None else _Conversion().root(node)
    except yaml.MarkedYAMLError as error:
        raise _fault(error) from None
    except yaml.reader.ReaderError as error:
        raise FormatError(None, f"not valid YAML: {error.reason}") from None


def _fault(error: yaml.MarkedYAMLError) -> FormatError:
    problem, mark = str(error.problem), error.problem_mark or error.context_mark
    for words, plain in _PLAIN_WORDS.items():
        if problem.startswith(words):
            problem = plain
            break
    else:
        # PyYAML quotes the file's text, which may be a secret; a single character is none.
        problem = re.sub(r"'([^'<][^']+)'", "…", re.sub(r"'([^']|\\.)'", r"\1", problem))
    if problem in (_NO_COLON, _NO_QUOTE):
        # The other mark is where PyYAML gave up.
        mark = error.context_mark or mark
    elif error.context and "flow" in error.context and error.context_mark:
        problem += f" (opened in line {error.context_mark.line + 1})"
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return FormatError(line, f"not valid YAML: {problem}", column)


class _Conversion:
    """Turns nodes into entries, in the order in which they count."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.inside: set[int] = set()
        self.visits = self.repeats = self.depth = 0

    def root(self, node: yaml.Node) -> Entry:
        """Convert a document."""
        return self._entry(node, node.start_mark.line + 1)

    def _entry(self, node: yaml.Node, line: int, again: bool = False) -> Entry:
        value = self.value(node)
        return Entry("" if value is None else value, line, again, null=value is None)

    def value(self, node: yaml.Node) -> Value:
        """Convert a node, wherever it is used."""
        key, line = id(node), node.start_mark.line + 1
        if key in self.inside:
            raise FormatError(line, "not valid YAML: an anchor's value contains itself")
        repeated = key in self.seen
        self.seen.add(key)
        self.inside.add(key)
        self.depth += repeated
        # The bounds of the original: a text of a few lines can be made to fill the memory.
        self.visits += 1
        self.repeats += self.depth > 0
        if self.repeats > 100 and self.visits > 1000 and self.repeats > 0.99 * self.visits:
            raise FormatError(line, "not valid YAML: it repeats its anchors too often")
        try:
            match node:
                case yaml.MappingNode():
                    return self._mapping(node)
                case yaml.SequenceNode():
                    return [self._entry(n, n.start_mark.line + 1) for n in node.value]
            return self._scalar(node)
        finally:
            self.inside.discard(key)
            self.depth -= repeated

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        here: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value == "<<" and key.tag in (PLAIN, f"{_TAG}merge"):
                # Unlike in YAML, a merged key wins over one that stands above it.
                for merged in self._merged(value, line):
                    found.update(merged)
                continue
            name = self._key(key, line)
            found[name] = self._entry(value, line, again=name in here)
            here.add(name)
        return found

    def _merged(self, node: yaml.Node, line: int) -> list[dict[str, Entry]]:
        nodes = reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]
        tables = []
        for each in nodes:
            table = self.value(each) if isinstance(each, yaml.MappingNode) else None
            if not isinstance(table, dict):
                raise FormatError(line, "not valid YAML: << needs a mapping, or a list of them")
            tables.append(table)
        return tables

    def _key(self, node: yaml.Node, line: int) -> str:
        match self.value(node):
            case str(text) | Number(text):
                return text
            case bool(flag):
                return str(flag).lower()
            case None:
                return ""
        raise FormatError(line, "not valid YAML: a list or a mapping cannot be a key")

    def _scalar(self, node: yaml.Node) -> Value:
        tag, text, line = node.tag, str(node.value), node.start_mark.line + 1
        if _SURROGATE.search(text):
            raise FormatError(line, _NO_CHARACTER)
        if tag == f"{_TAG}binary":
            digits = re.sub(r"[\r\n]", "", text)
            if not _BASE64.fullmatch(digits):
                raise FormatError(line, "not valid YAML: !!binary needs base64")
            data = binascii.a2b_base64(digits)
            return _SURROGATE.sub("\ufffd", data.decode("utf-8", "surrogateescape"))
        if tag == TEXT or (tag != PLAIN and tag not in _RESOLVED):
            return text
        if tag == f"{_TAG}timestamp":
            if _DATE.fullmatch(text):
                return text
            raise FormatError(line, "not valid YAML: !!timestamp needs a date")
        value = resolve(text)
        if isinstance(value, float):
            if tag in (PLAIN, f"{_TAG}float") and not math.isfinite(value):
                raise FormatError(line, "NaN and infinity are no numbers for a configuration")
            if tag in (PLAIN, f"{_TAG}float"):
                return Number(fixed(value), text)
        elif isinstance(value, int) and not isinstance(value, bool):
            if tag in (PLAIN, f"{_TAG}int"):
                return Number(str(value), text)
            if tag == f"{_TAG}float":
                return Number(fixed(float(value)), text)
        elif isinstance(value, bool):
            if tag in (PLAIN, f"{_TAG}bool"):
                return value
        elif value is None:
            if tag in (PLAIN, f"{_TAG}null"):
                return None
        elif tag == PLAIN:
            return value
        raise FormatError(line, f"not valid YAML: the value is not what {tag[len(_TAG) :]} means")


def resolve(text: str) -> bool | int | float | str | None:
    """Return what a word without quotes is.

    >>> resolve("yes"), resolve("0x1F"), resolve("1_000"), resolve("1e3"), resolve("08")
    (True, 31, 1000, 1000.0, 8.0)
    >>> resolve("1:30"), resolve("~")
    ('1:30', None)
    """
    if text in _WORDS:
        return _WORDS[text]
    if _NAN.fullmatch(text):
        return math.nan
    if _INFINITY.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    if _POINT.fullmatch(text):
        return _float(text)
    if text[0] not in "+-0123456789":
        return text
    digits = text.replace("_", "")
    if whole := _WHOLE.fullmatch(digits):
        sign, sixteen, two, eight, ten = whole.groups()
        number = _int(sixteen, 16) or _int(two, 2) or _int(eight, 8) or _int(ten, 10) or 0
        number = -number if sign == "-" else number
        if -(2**63) <= number < 2**63 or (not sign and number < 2**64):
            return number
    if _FLOAT.fullmatch(digits):
        number_or_text = _float(digits)
        return text if isinstance(number_or_text, str) else number_or_text
    if bits := _BITS.fullmatch(digits):
        return int(bits[1], 2)
    return text


def _int(digits: str | None, base: int) -> int:
    # Python refuses to read thousands of decimal digits; such a number is too large anyway.
    if digits is None:
        return 0
    return int(digits, base) if len(digits) < 1000 else 2**64


def _float(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits
