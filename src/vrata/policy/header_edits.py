"""What a configuration wants changed about the fields of a message, worked out once for all messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from vrata.model.middleware.headers import HeaderEdit
from vrata.policy.template import Placeholders, Template, compile_template

V = TypeVar("V")

SINGULAR: Final = frozenset({"x-request-id", "server", "date"})
"""Fields of which a message has one at most: a value beside another one would be none."""


class HeaderEdits(Generic[V]):
    """Fields to be taken out of a head, and lines to be put in then; made by :func:`compile_edits`."""

    __slots__ = ("_added", "_lines", "removed")

    def __init__(self, removed: tuple[bytes, ...], added: list[tuple[bytes, Template[V]]]) -> None:
        self.removed = removed
        """Names, in lower case."""
        self._added = added
        self._lines: bytes | None = None
        for _, template in added:
            if not template.is_constant:
                break
        else:
            self._lines = b"".join([name + b": " + template.constant_field + b"\r\n" for name, template in added])

    def __repr__(self) -> str:
        return f"<HeaderEdits without {self.removed}, with {[name for name, _ in self._added]}>"

    def lines(self, values: V) -> bytes:
        """Return the lines to be put in, each with its CRLF, filled in with *values*."""
        if self._lines is not None:
            return self._lines
        lines: list[bytes] = []
        for name, template in self._added:
            lines += (name, b": ", template.render_field(values), b"\r\n")
        return b"".join(lines)


def compile_edits(
    add: Sequence[HeaderEdit], remove: Sequence[str], placeholders: Placeholders[V], acts_on: Callable[[str], bool]
) -> HeaderEdits[V] | None:
    """Work out what *add*, and *remove* after it, come to; None when nothing is to be done.

    A field whose name *acts_on* says no to is none that can be edited, and is left out.
    """
    removed: set[bytes] = set()
    added: list[tuple[bytes, str, Template[V]]] = []
    for edit in add:
        name = edit.key.lower()
        if not acts_on(name):
            continue
        if not edit.append or name in SINGULAR:
            added = [each for each in added if each[1] != name]
            removed.add(name.encode("ascii"))
        added.append((edit.key.encode("ascii"), name, compile_template(edit.value, placeholders)))
    for key in remove:
        name = key.lower()
        if acts_on(name):
            added = [each for each in added if each[1] != name]
            removed.add(name.encode("ascii"))
    if not removed and not added:
        return None
    return HeaderEdits(tuple(sorted(removed)), [(key, template) for key, _, template in added])
