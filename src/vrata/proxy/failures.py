"""Failures as clients see them, at the three levels of detail (docs/behaviour.md): JSON, or a status of gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from vrata.policy import grpc_status
from vrata.proxy.contracts import CensusEntry, Failure, LocalResponse

_FIELDS = b"content-type: application/json\r\n"


MOST_ENTRIES = 50
"""Endpoints that a census names: who asks for details must not make every failure a large response."""
_MOST_IN_MESSAGE = 10
"""Those that a status of gRPC names: clients take no more than 8 KiB of trailers as a rule."""


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


class FailureAnswers:
    """Implements :class:`vrata.proxy.contracts.OwnAnswers` at level *detail*: ``minimal``, ``standard`` or ``full``."""

    def __init__(self, detail: str) -> None:
        self._detail = detail
        self._members = _LEVELS[detail]

    def __repr__(self) -> str:
        return f"<FailureAnswers {self._detail}>"

    def failure(self, failure: Failure, *, grpc: bool) -> LocalResponse:
        """The answer to a request that has failed; *grpc* tells that it is one of gRPC."""
        if grpc:
            return _status_alone(failure.failure_class.grpc_code, self._message(failure))
        body = json.dumps(self._members(failure), separators=(",", ":")).encode() + b"\n"
        return LocalResponse(failure.failure_class.status, _FIELDS, body)

    def trailers(self, failure: Failure) -> bytes:
        """The trailer lines that end a response of gRPC which had begun when its request failed."""
        return grpc_status.status_lines(failure.failure_class.grpc_code, self._message(failure))

    def refusal(self, status: int, reason: str, *, grpc: bool) -> LocalResponse:
        """The answer to what is no acceptable request, with *status* and *reason* of plain HTTP."""
        if grpc:
            return _status_alone(grpc_status.of_http(status), f"bad_request: {reason}")
        members = {"error": "bad_request", "status": status, "message": reason}
        return LocalResponse(status, _FIELDS, json.dumps(members, separators=(",", ":")).encode() + b"\n")

    def _message(self, failure: Failure) -> str:
        """What the level has to say, in one line, since a status of gRPC has no other place for it."""
        members = self._members(failure)
        text = str(members.pop("error"))
        if "message" in members:
            text += f": {members.pop('message')}"
        del members["status"]  # that of HTTP, which is not sent
        endpoints = members.pop("endpoints", [])
        details = [f"{name} {value}" for name, value in members.items() if name != "endpointsOmitted"]
        details += [" ".join(entry.values()) for entry in endpoints[:_MOST_IN_MESSAGE]]
        if len(endpoints) > _MOST_IN_MESSAGE:
            details.append("further endpoints")
        return f"{text} ({'; '.join(details)})" if details else text


def _status_alone(code: int, message: str) -> LocalResponse:
    """A response without a message (Trailers-Only); its status of HTTP is always 200."""
    return LocalResponse(200, b"content-type: application/grpc\r\n" + grpc_status.status_lines(code, message), b"")
