"""The messages of ``extproc.v1`` (``proto/extproc/v1/processor.proto``)."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import APPEND, REPLACE, FieldEdit, HeaderMutation
from vrata.proxy.middleware.ext_proc.message import (
    Answer,
    Contract,
    MalformedAnswer,
    Modes,
    Phase,
    Refusal,
    Said,
    Shown,
    as_text,
    checked_status,
)
from vrata.wire.protobuf import LENGTH, VARINT, MalformedProtobuf, MessageWriter, read_fields, read_pair, tag, varint

METHOD: Final = b"/extproc.v1.Processor/Process"

_SHOWN = {Phase.REQUEST_HEADERS: 1, Phase.RESPONSE_HEADERS: 2, Phase.REQUEST_BODY: 3, Phase.RESPONSE_BODY: 4}
"""Numbers of the fields of ``ProcessingRequest``."""
_OBSERVE_ONLY: Final = 5
_ACTIONS = {
    tag(1, LENGTH): Phase.REQUEST_HEADERS,
    tag(2, LENGTH): Phase.RESPONSE_HEADERS,
    tag(3, LENGTH): Phase.REQUEST_BODY,
    tag(4, LENGTH): Phase.RESPONSE_BODY,
}
"""Tags of the fields of ``ProcessingResponse``."""
_REJECT: Final = tag(5, LENGTH)

# HeadersAction and BodyAction, which have their first four fields in common.
_STATUS: Final = tag(1, VARINT)
_SET_HEADERS: Final = tag(2, LENGTH)
_REMOVE_HEADERS: Final = tag(3, LENGTH)
_REPLACE_BODY: Final = tag(4, LENGTH)
_CLEAR_BODY: Final = tag(5, VARINT)

# RejectRequest.
_REJECT_STATUS: Final = tag(1, VARINT)
_REJECT_HEADERS: Final = tag(2, LENGTH)
_REJECT_BODY: Final = tag(3, LENGTH)


class VrataContract(Contract):
    """``ProcessingRequest`` there, ``ProcessingResponse`` back."""

    def __repr__(self) -> str:
        return "<VrataContract>"

    def encode(self, shown: Shown, opening: Modes | None) -> bytes:
        """Return the message that shows *shown*."""
        part = MessageWriter()
        if shown.phase is Phase.REQUEST_HEADERS or shown.phase is Phase.RESPONSE_HEADERS:
            for name, value in shown.fields + shown.pseudo:
                part.message(1, _pair(name, value))
        else:
            part.content(1, shown.body)
        part.integer(2, shown.end)
        message = MessageWriter()
        message.message(_SHOWN[shown.phase], part.finished())
        message.integer(_OBSERVE_ONLY, shown.observed)
        return message.finished()

    def decode(self, message: bytes) -> Said:
        """Return what *message* says. Raises :class:`MalformedAnswer`."""
        try:
            return _read(message)
        except MalformedProtobuf as error:
            raise MalformedAnswer(str(error)) from None


def _pair(name: bytes, value: bytes) -> bytes:
    """A ``HeaderPair``, written by hand since there are so many."""
    if not value.isascii():
        value = as_text(value).encode()
    return b"\x0a%s%s\x12%s%s" % (varint(len(name)), name, varint(len(value)), value)


def _read(message: bytes) -> Answer | Refusal:
    last, content = 0, b""
    for field in read_fields(message):
        if field.tag in _ACTIONS or field.tag == _REJECT:
            # Of a oneof the last member counts, and of one that comes twice both halves.
            content = content + field.content if field.tag == last else field.content
            last = field.tag
    if not last:
        raise MalformedAnswer("an answer without an action")
    return _refusal(content) if last == _REJECT else _answer(_ACTIONS[last], content)


def _answer(phase: Phase, content: bytes) -> Answer:
    status = 0
    edits: list[FieldEdit] = []
    removals: list[bytes] = []
    body: bytes | None = None
    is_of_headers = phase is Phase.REQUEST_HEADERS or phase is Phase.RESPONSE_HEADERS
    for field in read_fields(content):
        if field.tag == _STATUS:
            status = field.int32
        elif field.tag == _SET_HEADERS:
            edits.append(_edit(field.content, REPLACE))
        elif field.tag == _REMOVE_HEADERS:
            removals.append(field.text.encode())
        elif field.tag == _REPLACE_BODY:
            body = field.content
        elif field.tag == _CLEAR_BODY and not is_of_headers:
            body = b"" if field.is_true else None
    if status not in (0, 1):
        raise MalformedAnswer("an unknown status")
    if is_of_headers and (not status or not body):
        # Without presence, empty is absent. And a body is yet to come where the status does not say otherwise.
        body = None
    return Answer(phase, HeaderMutation(tuple(removals), tuple(edits)), body, status == 1)


def _refusal(content: bytes) -> Refusal:
    status, body = 0, b""
    fields: list[FieldEdit] = []
    for field in read_fields(content):
        if field.tag == _REJECT_STATUS:
            status = field.uint32
        elif field.tag == _REJECT_HEADERS:
            fields.append(_edit(field.content, APPEND))
        elif field.tag == _REJECT_BODY:
            body = field.content
    return Refusal(checked_status(status), fields=tuple(fields), body=body)


def _edit(pair: bytes, action: int) -> FieldEdit:
    name, value = read_pair(pair)
    return FieldEdit(name.encode(), value.encode(), action)
