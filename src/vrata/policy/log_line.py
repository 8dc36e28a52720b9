"""Lines of an access log: their members are templates, and each line is one JSON object or ``key=value`` pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Final, Generic, TypeVar

from vrata.policy.template import Placeholders, Template, compile_template

_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")
"""What stands in a ``key=value`` line as it is: visible ASCII without quotation mark, equals sign and backslash."""
_NO_KEY: Final = re.compile(r"[^!#-<>-\[\]-~]")

V = TypeVar("V")


class LogLine(Generic[V]):
    """One kind of line, ready to be filled in; made by :func:`json_line` or :func:`pairs_line`."""

    __slots__ = ("_end", "_is_json", "_members")

    def __init__(self, members: list[tuple[str, Template[V]]], end: str, *, is_json: bool) -> None:
        """*members* are what precedes a value, and its template; *end* is what follows the last one."""
        self._members = members
        self._end = end
        self._is_json = is_json

    def __repr__(self) -> str:
        return f"<LogLine {[before for before, _ in self._members]}>"

    def render(self, values: V) -> bytes:
        """Return the line with *values* filled in, and its line feed: ASCII, whatever a client sent."""
        text = ""
        for before, template in self._members:
            value = template.render(values)
            if self._is_json or _PLAIN.fullmatch(value) is None:
                value = quoted(value)
            text += before + value
        return (text + self._end).encode("ascii")


def json_line(fields: Mapping[str, str], placeholders: Placeholders[V]) -> LogLine[V]:
    """Make lines that are JSON objects, sorted by their members' names, with values that are strings."""
    members: list[tuple[str, Template[V]]] = []
    before = "{"
    for name in sorted(fields):
        members.append((f"{before}{quoted(name)}:", compile_template(fields[name], placeholders)))
        before = ","
    return LogLine(members, "}\n" if members else "{}\n", is_json=True)


def pairs_line(fields: Mapping[str, str], placeholders: Placeholders[V]) -> LogLine[V]:
    """Make lines of ``key=value`` pairs in the order of *fields*.

    Values that are empty, or hold anything but visible ASCII, or what has a meaning in such lines, are quoted like
    strings of JSON. What a key cannot hold becomes ``_``.
    """
    members: list[tuple[str, Template[V]]] = []
    before = ""
    for name, text in fields.items():
        members.append((f"{before}{_NO_KEY.sub('_', name)}=", compile_template(text, placeholders)))
        before = " "
    return LogLine(members, "\n", is_json=False)


def quoted(text: str) -> str:
    """Return *text* as a string of JSON in ASCII, so that nothing in it can move a terminal's cursor or end a line.

    Bytes that are not UTF-8, here surrogate escapes, become U+FFFD: a lone surrogate is nothing that readers must take.
    """
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return encode_basestring_ascii(text)
