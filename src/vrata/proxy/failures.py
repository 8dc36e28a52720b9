"""Failures as clients see them, at the three levels of detail (docs/behaviour.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vrata.proxy.contracts import Failure, LocalResponse

_FIELDS = b"content-type: application/json\r\n"


def _minimal(failure: Failure) -> dict[str, Any]:
    return {"error": failure.failure_class.label, "status": failure.failure_class.status}


def _standard(failure: Failure) -> dict[str, Any]:
    return {**_minimal(failure), "message": failure.failure_class.message}


def _full(failure: Failure) -> dict[str, Any]:
    members = _standard(failure)
    if failure.destination:
        members["destination"] = failure.destination
    if failure.endpoint:
        members["endpoint"] = failure.endpoint
    members["timestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return members


_LEVELS: dict[str, Callable[[Failure], dict[str, Any]]] = {"minimal": _minimal, "standard": _standard, "full": _full}


def renderer(detail: str) -> Callable[[Failure], LocalResponse]:
    """The function that turns a failure into the answer of level *detail* (``minimal``, ``standard`` or ``full``)."""
    members = _LEVELS[detail]

    def render(failure: Failure) -> LocalResponse:
        body = json.dumps(members(failure), separators=(",", ":")).encode() + b"\n"
        return LocalResponse(failure.failure_class.status, _FIELDS, body)

    return render
