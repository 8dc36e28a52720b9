"""Failures as clients see them, at the three levels of detail (docs/behaviour.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from vrata.proxy.contracts import CensusEntry, Failure, LocalResponse

_FIELDS = b"content-type: application/json\r\n"


MOST_ENTRIES = 50
"""Endpoints that a census names: who asks for details must not make every failure a large response."""


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
    if failure.reason:
        members["reason"] = failure.reason
    if failure.considered is not None:
        entries = list(islice(failure.considered.census(), MOST_ENTRIES + 1))
        members["endpoints"] = [_entry(entry) for entry in entries[:MOST_ENTRIES]]
        if len(entries) > MOST_ENTRIES:
            members["endpointsOmitted"] = True
    members["timestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return members


def _entry(entry: CensusEntry) -> dict[str, str]:
    return {name: value for name, value in asdict(entry).items() if value}


_LEVELS: dict[str, Callable[[Failure], dict[str, Any]]] = {"minimal": _minimal, "standard": _standard, "full": _full}


def renderer(detail: str) -> Callable[[Failure], LocalResponse]:
    """The function that turns a failure into the answer of level *detail* (``minimal``, ``standard`` or ``full``)."""
    members = _LEVELS[detail]

    def render(failure: Failure) -> LocalResponse:
        body = json.dumps(members(failure), separators=(",", ":")).encode() + b"\n"
        return LocalResponse(failure.failure_class.status, _FIELDS, body)

    return render
