"""Conditions by which a guard can be walked around, since they ask for parts of paths that nobody has normalised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding

_GUARDS: Final = frozenset(("jwt", "extAuthz", "inlineAuthz"))
_PARTS: Final = re.compile(r"\brequest\s*\.\s*path\s*\.\s*(?:startsWith|endsWith|contains|matches)\b")
_SEES_DOTS: Final = re.compile(r"""(?:"\.\."|'\.\.')""")
"""Whoever asks for dot segments himself knows of them."""


def path_warnings(entities: Entities) -> Iterator[Finding]:
    """Everything of that kind in a snapshot."""
    listeners = [each for each in entities.of("listener") if each.get("pathNormalization", "none") == "none"]
    if not listeners:
        return
    guards = {middleware["id"] for middleware in entities.of("middleware") if middleware["type"] in _GUARDS}
    reason = (
        "asks for a part of the path, which clients can spell in other ways (/public/../admin), and listener "
        f'"{listeners[0]["name"]}" ({listeners[0]["id"]}) does not normalise (pathNormalization)'
    )
    for kind in ("route", "group"):
        for document in entities.of(kind):
            for path in _doubtful(document, guards):
                yield finding(kind, document, path, reason)


def _doubtful(document: Document, guards: set[str]) -> Iterator[str]:
    for middleware_id, override in document.get("middlewareOverrides", {}).items():
        if middleware_id in guards:
            for member in ("skipWhen", "onlyWhen"):
                for index, text in enumerate(override.get(member, ())):
                    if _PARTS.search(text) is not None and _SEES_DOTS.search(text) is None:
                        yield f"middlewareOverrides.{middleware_id}.{member}[{index}]"
