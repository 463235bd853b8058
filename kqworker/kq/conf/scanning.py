"""Where a YAML file has its values: PyYAML's scanner, with go-zero's view of tabs.

gopkg.in/yaml.v2 is libyaml in Go. PyYAML is older than libyaml, in which a tab may replace any
space that is not indentation, a colon before a bracket is part of a plain text, and an anchor
may be defined again. `kqworker.kq.conf.yaml11` decides what a value is.
Tested by tests/kq/test_conf_yaml.py and tests/interop/test_conf.py.
"""

from __future__ import annotations

import yaml

PLAIN = "!plain"  # the tag of a value without quotes and tag: its text decides what it is
TEXT = "tag:yaml.org,2002:str"

_BREAKS = "\r\n\x85\u2028\u2029"
_ENDS = f"\0 \t{_BREAKS}"
_MARKERS = ("---", "...")


class Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer):
    """Composes nodes; a tag says only whether the file has one, and whether the text is quoted."""

    # JSON has an escaped slash, the original an escaped apostrophe. The stubs call it final.
    ESCAPE_REPLACEMENTS = {  # type: ignore[misc] # noqa: RUF012
        **{k: v for k, v in yaml.scanner.Scanner.ESCAPE_REPLACEMENTS.items() if k != "/"},
        "'": "'",
    }

    def __init__(self, content: bytes) -> None:
        yaml.reader.Reader.__init__(self, content)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
        if not isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors:
            del self.anchors[event.anchor]
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: dict[object, yaml.Node]) -> yaml.ScalarNode:
        event = self.get_event()  # type: ignore[no-untyped-call]  # as above
        tag = event.tag or (PLAIN if event.implicit[0] else TEXT)
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, event.style)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def descend_resolver(self, parent: object, index: object) -> None:
        """Do nothing: the position does not decide the tag."""

    def ascend_resolver(self) -> None:
        """Do nothing, as above."""

    def resolve(self, kind: object, value: object, implicit: object) -> str:
        """Return the tag of a list or a mapping, which nothing uses."""
        return TEXT

    def scan_to_next_token(self) -> None:
        if self.index == 0 and self.peek() == "\ufeff":
            self.forward()
        while True:
            while self.peek() == " " or (
                self.peek() == "\t" and (self.flow_level or not self.allow_simple_key)
            ):
                self.forward()
            if self.peek() == "#":
                while self.peek() not in f"\0{_BREAKS}":
                    self.forward()
            if not self.scan_line_break():  # type: ignore[no-untyped-call]  # as above
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def scan_directive(self) -> yaml.DirectiveToken:
        token = super().scan_directive()
        if token.name not in ("YAML", "TAG") or (token.name == "YAML" and token.value != (1, 1)):
            raise yaml.scanner.ScannerError(
                None, None, "only %YAML 1.1 and %TAG can stand here", token.start_mark
            )
        return token

    def scan_plain(self) -> yaml.ScalarToken:
        start = end = self.get_mark()
        indent, text, between, broken = self.indent + 1, "", "", False
        while not self._at_marker() and self.peek() != "#":
            length = 0
            while not self._ends_plain(length):
                length += 1
            if length:
                self.allow_simple_key = False
                text += between + self.prefix(length)
                self.forward(length)
                end, broken = self.get_mark(), False
            if self.peek() not in _ENDS[1:]:
                break
            between, broken = self._between(indent, start)
            if not self.flow_level and self.column < indent:
                break
        if broken:
            self.allow_simple_key = True
        return yaml.ScalarToken(text, True, start, end)

    def _at_marker(self) -> bool:
        found = self.column == 0 and self.prefix(3) in _MARKERS and self.peek(3) in _ENDS
        return bool(found)

    def _ends_plain(self, ahead: int) -> bool:
        character = self.peek(ahead)
        if character in _ENDS or (character == ":" and self.peek(ahead + 1) in _ENDS):
            return True
        return bool(self.flow_level and character in ",?[]{}")

    def _between(self, indent: int, start: yaml.Mark) -> tuple[str, bool]:
        """Take the space between two words; return what it becomes, and whether a line ended."""
        blanks, breaks = "", []
        while self.peek() in f" \t{_BREAKS}":
            if self.peek() in _BREAKS:
                breaks.append(self.scan_line_break())  # type: ignore[no-untyped-call]
            else:
                if breaks and self.peek() == "\t" and self.column < indent:
                    raise yaml.scanner.ScannerError(
                        None, start, "found a tab that stands for an indentation", self.get_mark()
                    )
                blanks += self.peek()
                self.forward()
        if not breaks:
            return blanks, False
        first, *others = breaks
        if first != "\n":
            return first + "".join(others), True
        return "".join(others) or " ", True
