"""The messages of a processor that is spoken to by HTTP: JSON objects, with bodies in base64."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, TypeVar

from vrata.policy.header_mutation import APPEND, REPLACE, FieldEdit, HeaderMutation
from vrata.proxy.middleware.ext_proc.message import (
    IN_MESSAGES,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    Answer,
    Contract,
    MalformedAnswer,
    Modes,
    Refusal,
    Said,
    Shown,
    as_text,
    checked_status,
)

T = TypeVar("T")

_PHASES = {phase.label: phase for phase in IN_MESSAGES if phase.is_of_headers or phase.is_body}
_STATUSES = {"continue": False, "continueAndReplace": True}


class JsonContract(Contract):
    """One object each way."""

    def __repr__(self) -> str:
        return "<JsonContract>"

    def encode(self, shown: Shown, opening: Modes | None) -> bytes:
        """Return the object that shows *shown*."""
        members: dict[str, Any] = {"phase": shown.phase.label}
        if shown.phase.is_of_headers:
            pairs = [*shown.fields, *shown.pseudo]
            members["headers"] = [{"key": as_text(name), "value": as_text(value)} for name, value in pairs]
        else:
            members["body"] = b64encode(shown.body).decode("ascii")
        members["endOfStream"] = shown.end
        if shown.observed:
            members["observeOnly"] = True
        return json.dumps(members, separators=(",", ":")).encode()

    def decode(self, message: bytes) -> Said:
        """Return what the object *message* says. Raises :class:`MalformedAnswer`."""
        try:
            members = json.loads(message)
        except (ValueError, RecursionError):
            raise MalformedAnswer("no JSON") from None
        if not isinstance(members, dict):
            raise MalformedAnswer("no JSON object")
        action = _member(members, "action", str, "")
        if action == "reject":
            return _refusal(members)
        phase = _PHASES.get(action)
        if phase is None:
            raise MalformedAnswer("an unknown action")
        status = _member(members, "status", str, "continue")
        if status not in _STATUSES:
            raise MalformedAnswer("an unknown status")
        is_last = _STATUSES[status]
        body = _content(members, "replaceBody")
        if _member(members, "clearBody", bool, False):
            body = b""
        if phase in (REQUEST_HEADERS, RESPONSE_HEADERS) and not is_last:
            body = None  # the body is yet to come, and will be asked about if anybody wants to
        names = _member(members, "removeHeaders", list, [])
        if not all(isinstance(name, str) for name in names):
            raise MalformedAnswer("removeHeaders that are no names")
        removals = tuple(_bytes(name) for name in names)
        return Answer(phase, HeaderMutation(removals, _edits(members, "setHeaders", REPLACE)), body, is_last)


def _refusal(members: Mapping[str, Any]) -> Refusal:
    status = _member(members, "rejectStatus", int, 0)
    fields = _edits(members, "rejectHeaders", APPEND)
    return Refusal(checked_status(status), fields=fields, body=_content(members, "rejectBody") or b"")


def _edits(members: Mapping[str, Any], name: str, action: int) -> tuple[FieldEdit, ...]:
    edits: list[FieldEdit] = []
    for pair in _member(members, name, list, []):
        if not isinstance(pair, dict):
            raise MalformedAnswer(f"{name} that are no pairs")
        key, value = _member(pair, "key", str, ""), _member(pair, "value", str, "")
        edits.append(FieldEdit(_bytes(key), _bytes(value), action))
    return tuple(edits)


def _content(members: Mapping[str, Any], name: str) -> bytes | None:
    if members.get(name) is None:
        return None
    text = _member(members, name, str, "")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedAnswer(f"{name} that is no base64") from None


def _member(members: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    value = members.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise MalformedAnswer(f"{name} of the wrong type")
    return value


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise MalformedAnswer("a text that is none") from None
