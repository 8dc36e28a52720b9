"""What differs between two explanations of one request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vrata.proxy.explain.entry import Document

MOST_DIFFERENCES = 200

_COMPARED = ("outcome", "request", "route", "group", "match", "matchedPath", "assumptions", "middlewares", "action")
"""What a request meets with; the entries that were passed over on the way do not count."""


def differences(before: Document, after: Document) -> list[Document]:
    """Return the members that differ: path, value *before* and *after*; null where there is none."""
    found: list[Document] = []
    for name in _COMPARED:
        differing = _differing_middlewares if name == "middlewares" else _differing
        for path, old, new in differing(before.get(name), after.get(name), name):
            if len(found) == MOST_DIFFERENCES:
                return found
            found.append({"path": path, "before": old, "after": new})
    return found


def _differing_middlewares(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Compare each middleware with itself, wherever in the chain it is; then their order."""
    if old is None or new is None:
        yield from _differing(old, new, path)
        return
    earlier, later = ({each["id"]: each for each in chain} for chain in (old, new))
    for identity in [*earlier, *(identity for identity in later if identity not in earlier)]:
        yield from _differing(earlier.get(identity), later.get(identity), f"{path}[{identity}]")
    if [each for each in earlier if each in later] != [each for each in later if each in earlier]:
        yield f"{path} in order", list(earlier), list(later)


def _differing(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _differing(old.get(name), new.get(name), f"{path}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differing(one, other, f"{path}[{at}]")
    elif old != new:
        yield path, old, new
