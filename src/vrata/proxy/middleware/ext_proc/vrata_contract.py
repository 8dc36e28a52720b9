"""The messages of ``extproc.v1`` (``proto/extproc/v1/processor.proto``)."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import APPEND, REPLACE, FieldEdit, HeaderMutation
from vrata.proxy.middleware.ext_proc.message import (
    IN_MESSAGES,
    Answer,
    Contract,
    MalformedAnswer,
    Modes,
    Phase,
    Refusal,
    Said,
    Shown,
    as_utf8,
    checked_status,
)
from vrata.proxy.middleware.ext_proc.pairs import encode_pairs
from vrata.wire.protobuf import LENGTH, VARINT, MalformedProtobuf, MessageWriter, OneOf, read_fields, read_pair, tag

METHOD: Final = b"/extproc.v1.Processor/Process"

_FIRST_SHOWN: Final = 1
"""Number of the field for the first phase in ``ProcessingRequest``, and in ``ProcessingResponse`` as well."""
_OBSERVE_ONLY: Final = 5
_VALUE: Final = tag(2, LENGTH)
_END: Final = bytes((tag(2, VARINT), 1))
"""The field ``end_of_stream``, where it is true."""
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
        if shown.phase.is_of_headers:
            pairs = [*shown.fields, *shown.pseudo]
            part = encode_pairs([(name, as_utf8(value)) for name, value in pairs], _VALUE)
        else:
            body = MessageWriter()
            body.content(1, shown.body)
            part = body.finished()
        if shown.end:
            part += _END
        message = MessageWriter()
        message.message(_FIRST_SHOWN + shown.phase.place, part)
        message.integer(_OBSERVE_ONLY, shown.observed)
        return message.finished()

    def decode(self, message: bytes) -> Said:
        """Return what *message* says. Raises :class:`MalformedAnswer`."""
        try:
            return _read(message)
        except MalformedProtobuf as error:
            raise MalformedAnswer(str(error)) from None


def _read(message: bytes) -> Answer | Refusal:
    action = OneOf()
    for field in read_fields(message):
        if field.tag & 7 == LENGTH and field.tag <= _REJECT:
            action.take(field)
    last, content = action.tag, action.content
    if not last:
        raise MalformedAnswer("an answer without an action")
    return _refusal(content) if last == _REJECT else _answer(IN_MESSAGES[(last >> 3) - _FIRST_SHOWN], content)


def _answer(phase: Phase, content: bytes) -> Answer:
    status = 0
    edits: list[FieldEdit] = []
    removals: list[bytes] = []
    body: bytes | None = None
    is_of_headers = phase.is_of_headers
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
