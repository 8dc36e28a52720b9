"""Warnings about fields that ``headers`` middlewares are to edit and cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.wire.http1.fields import is_settable_in_requests, is_settable_in_responses

_MEMBERS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("requestHeadersToAdd", "requestHeadersToRemove", is_settable_in_requests),
    ("responseHeadersToAdd", "responseHeadersToRemove", is_settable_in_responses),
)


def header_warnings(entities: Entities) -> Iterator[Finding]:
    """Everything of that kind in a snapshot, overrides included."""
    for middleware in entities.of("middleware"):
        if middleware["type"] == "headers":
            yield from _of_settings("middleware", middleware, "headers", middleware["headers"])
    for kind in ("route", "group"):
        for document in entities.of(kind):
            for middleware_id, override in (document.get("middlewareOverrides") or {}).items():
                path = f"middlewareOverrides.{middleware_id}.headers"
                yield from _of_settings(kind, document, path, override.get("headers") or {})


def _of_settings(kind: str, document: Document, path: str, settings: dict[str, Any]) -> Iterator[Finding]:
    for to_add, to_remove, is_settable in _MEMBERS:
        added = [(f"{to_add}[{index}].key", edit["key"]) for index, edit in enumerate(settings.get(to_add, ()))]
        removed = [(f"{to_remove}[{index}]", name) for index, name in enumerate(settings.get(to_remove, ()))]
        for member, name in added + removed:
            if not is_settable(name):
                reason = f"{name} has no effect: it frames the message, is for one hop, or is the proxy's own to say"
                yield finding(kind, document, f"{path}.{member}", reason)
