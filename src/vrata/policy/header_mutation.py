"""What becomes of header fields when another service asks for changes to them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from vrata.policy.header_rules import HeaderRules, is_untouchable

REPLACE: Final = 0
"""The value takes the place of all that are there."""
APPEND: Final = 1
"""The value comes beside those that are there."""
ADD_IF_ABSENT: Final = 2
"""The value is set where the field is not there."""
REPLACE_IF_PRESENT: Final = 3
"""The value takes the place of those that are there, and is dropped where there are none."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class InvalidMutation(ValueError):  # noqa: N818 - it names the thing that arrived
    """What is to be set is no header field (RFC 9110 §5.1, §5.5); ``args[0]`` says why, for people."""


# No dataclasses: the constructors that these generate are interpreted, and cost more than all that is done here.


class FieldEdit:
    """One header field that is to be set."""

    __slots__ = ("action", "name", "value")

    def __init__(self, name: bytes, value: bytes, action: int = REPLACE) -> None:
        self.name = name
        """In any spelling."""
        self.value = value
        self.action = action
        """One of the constants of this module."""

    def __repr__(self) -> str:
        return f"<FieldEdit {self.name!r}: {self.value!r} {self.action}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldEdit):
            return NotImplemented
        return self.name == other.name and self.value == other.value and self.action == other.action

    def __hash__(self) -> int:
        return hash((self.name, self.value, self.action))


class HeaderMutation:
    """Removals, and fields to be set after them."""

    __slots__ = ("edits", "removals")

    def __init__(self, removals: Sequence[bytes] = (), edits: Sequence[FieldEdit] = ()) -> None:
        self.removals = removals
        """Names, in any spelling."""
        self.edits = edits

    def __repr__(self) -> str:
        return f"<HeaderMutation without {self.removals!r}, with {self.edits!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HeaderMutation):
            return NotImplemented
        return self.removals == other.removals and self.edits == other.edits

    def __hash__(self) -> int:
        return hash((tuple(self.removals), tuple(self.edits)))

    @property
    def is_empty(self) -> bool:
        """True when nothing is asked for."""
        return not self.removals and not self.edits


NO_MUTATION: Final = HeaderMutation()


class SettledMutation:
    """What is done to a head."""

    __slots__ = ("added", "removed")

    def __init__(self, removed: set[bytes], added: bytes) -> None:
        self.removed = removed
        """Names, in lower case, of the fields whose lines go."""
        self.added = added
        """Lines that come, each with its CRLF."""

    def __repr__(self) -> str:
        return f"<SettledMutation without {self.removed!r}, with {self.added!r}>"


def settled(mutation: HeaderMutation, rules: HeaderRules, present: Collection[bytes]) -> SettledMutation:
    """Return what *mutation* comes to where fields with the names *present* (lower case) are there.

    What *rules* do not allow, and what only the proxy itself may write, stays as it is without a word. Raises
    :class:`InvalidMutation`.
    """
    removed = {name.lower() for name in mutation.removals}
    removed = {name for name in removed if _may_change(name, rules)}
    lines: dict[bytes, list[bytes]] = {}
    for edit in mutation.edits:
        name = edit.name.lower()
        if is_untouchable(name):
            continue
        line = field_line(name, edit.value)
        if not rules.allow(name):
            continue
        is_present = name in lines or (name in present and name not in removed)
        action = edit.action
        if action == APPEND:
            lines.setdefault(name, []).append(line)
        elif action == REPLACE or is_present == (action == REPLACE_IF_PRESENT):
            removed.add(name)
            lines[name] = [line]
    return SettledMutation(removed, b"".join(line for each in lines.values() for line in each))


def field_lines(edits: Iterable[FieldEdit]) -> bytes:
    """Return the lines, each with its CRLF, of a head that has no others; the proxy's own are left out.

    Raises :class:`InvalidMutation`.
    """
    return settled(HeaderMutation((), tuple(edits)), _ALL, ()).added


def field_line(name: bytes, value: bytes) -> bytes:
    """Return the line of one field, with its CRLF. Raises :class:`InvalidMutation`."""
    value = value.strip(b" \t")
    if not _TOKEN.fullmatch(name):
        raise InvalidMutation("a header whose name is none")
    if not _TEXT.fullmatch(value):
        raise InvalidMutation("a header value with control characters")
    return b"%s: %s\r\n" % (name, value)


_ALL = HeaderRules()


def _may_change(name: bytes, rules: HeaderRules) -> bool:
    return not is_untouchable(name) and rules.allow(name)
