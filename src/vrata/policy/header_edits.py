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

    __slots__ = ("_end", "_filled_in", "_names", "removed")

    def __init__(self, removed: tuple[bytes, ...], added: list[tuple[bytes, Template[V]]]) -> None:
        self.removed = removed
        """Names, in lower case."""
        self._names = [name for name, _ in added]
        # What is filled in, each with what stands before it, and what stands behind the last of them.
        self._filled_in: list[tuple[bytes, Template[V]]] = []
        text = b""
        for name, template in added:
            text += name + b": "
            if not template.is_constant:
                self._filled_in.append((text, template))
                text = b"\r\n"
            else:
                text += template.constant_field + b"\r\n"
        self._end = text

    def __repr__(self) -> str:
        return f"<HeaderEdits without {self.removed}, with {self._names}>"

    def lines(self, values: V) -> bytes:
        """Return the lines to be put in, each with its CRLF, filled in with *values*."""
        text = b""
        for before, template in self._filled_in:
            text += before + template.render_field(values)
        return text + self._end


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
