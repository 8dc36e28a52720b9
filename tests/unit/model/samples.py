"""Small valid documents, and a way to change one member of them."""

from __future__ import annotations

import copy
from typing import Any

MINIMAL: dict[str, dict[str, Any]] = {
    "listener": {"name": "web", "port": 8080},
    "destination": {"name": "backend", "host": "backend.internal", "port": 80},
    "route": {"name": "all", "directResponse": {"status": 200}},
    "group": {"name": "api"},
    "middleware": {"name": "edit", "type": "headers", "headers": {}},
    "secret": {"name": "token", "value": "hidden"},
}

ABSENT = object()
"""As a value: leave the member out."""


def with_member(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the document with one member set; objects on the way are made where there are none."""
    changed = copy.deepcopy(document)
    at = changed
    *parents, last = path.split(".")
    for parent in parents:
        at = at.setdefault(parent, {})
    if value is ABSENT:
        at.pop(last, None)
    else:
        at[last] = value
    return changed


def forwarding(**members: Any) -> dict[str, Any]:
    """A route that forwards."""
    return {"name": "all", "forward": {"destinations": [{"destinationId": "backend"}], **members}}


def middleware(type_: str, settings: Any) -> dict[str, Any]:
    """A middleware of one type."""
    return {"name": "m", "type": type_, type_: settings}
