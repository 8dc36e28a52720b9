"""The messages of ``envoy.service.ext_proc.v3`` (``proto/envoy/service/ext_proc/v3/external_processor.proto``)."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import NO_MUTATION, FieldEdit, HeaderMutation
from vrata.proxy.middleware.envoy_edit import field_edit
from vrata.proxy.middleware.ext_proc.message import (
    DUPLEX,
    IN_MESSAGES,
    NONE,
    Answer,
    Contract,
    Fields,
    MalformedAnswer,
    ModeOverride,
    Modes,
    MoreTime,
    OwnResponse,
    Phase,
    Refusal,
    Said,
    Shown,
    Structs,
    checked_status,
)
from vrata.proxy.middleware.ext_proc.pairs import encode_pairs
from vrata.wire.envoy_headers import read_header, read_option
from vrata.wire.protobuf import LENGTH, VARINT, MalformedProtobuf, MessageWriter, OneOf, joined, read_fields, tag
from vrata.wire.protobuf_struct import read_objects

METHOD: Final = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"

_FIRST_SHOWN: Final = 2
"""Number of the field for the first phase in ``ProcessingRequest``."""
_FIRST_ANSWERED: Final = 1
"""The same in ``ProcessingResponse``."""
_METADATA_CONTEXT: Final = 8
_ATTRIBUTES: Final = 9
_OBSERVABILITY_MODE: Final = 10
_PROTOCOL_CONFIG: Final = 11

# ProcessingResponse.
_IMMEDIATE: Final = tag(7, LENGTH)
_DYNAMIC_METADATA: Final = tag(8, LENGTH)
_MODE_OVERRIDE: Final = tag(9, LENGTH)
_MORE_TIME: Final = tag(10, LENGTH)
_STREAMED_IMMEDIATE: Final = tag(11, LENGTH)

_FIRST_MESSAGE: Final = tag(1, LENGTH)
"""Field 1 where that is a message, as in ``HeadersResponse`` and ``HeaderValueOption``, or a text or bytes."""
_FIRST_NUMBER: Final = tag(1, VARINT)
_SECOND: Final = tag(2, LENGTH)
_THIRD: Final = tag(3, LENGTH)

_SECOND_NUMBER: Final = tag(2, VARINT)
_END_OF_STREAM: Final = tag(3, VARINT)
_GRPC_STATUS: Final = tag(4, LENGTH)
_DETAILS: Final = tag(5, LENGTH)

_STATUS_DIGITS: Final = 3
_NEGATIVE: Final = 1 << 63
"""From here on 64 bits without a sign are a negative number."""

ATTRIBUTES_KEY: Final = "envoy.filters.http.ext_proc"
"""Under which name Envoy's filter sends attributes."""


class EnvoyContract(Contract):
    """``ProcessingRequest`` there, ``ProcessingResponse`` back."""

    def __repr__(self) -> str:
        return "<EnvoyContract>"

    def encode(self, shown: Shown, opening: Modes | None) -> bytes:
        """Return the message that shows *shown*. Values of headers are ``raw_value``, as Envoy has them."""
        phase = shown.phase
        part = MessageWriter()
        if phase.is_body:
            part.content(1, shown.body)
            part.integer(2, shown.end)
        else:
            part.message(1, encode_pairs([*shown.pseudo, *shown.fields], _THIRD))
            if phase.is_of_headers:
                part.integer(3, shown.end)
        message = MessageWriter()
        message.message(_FIRST_SHOWN + phase.place, part.finished())
        if shown.metadata:
            message.message(_METADATA_CONTEXT, shown.metadata)
        if shown.attributes:
            entry = MessageWriter()
            entry.text(1, ATTRIBUTES_KEY)
            entry.message(2, shown.attributes)
            message.message(_ATTRIBUTES, entry.finished())
        message.integer(_OBSERVABILITY_MODE, shown.observed)
        if opening is not None:
            config = MessageWriter()
            config.integer(1, opening.request_body)
            config.integer(2, opening.response_body)
            message.message(_PROTOCOL_CONFIG, config.finished())
        return message.finished()

    def decode(self, message: bytes) -> Said:
        """Return what *message* says. Raises :class:`MalformedAnswer`."""
        try:
            return _read(message)
        except MalformedProtobuf as error:
            raise MalformedAnswer(str(error)) from None


def _read(message: bytes) -> Said:
    response = OneOf()
    has_override = has_metadata = False
    fields = read_fields(message)
    for field in fields:
        if (field.tag & 7 == LENGTH and field.tag <= _IMMEDIATE) or field.tag == _STREAMED_IMMEDIATE:
            response.take(field)
        elif field.tag == _MODE_OVERRIDE:
            has_override = True
        elif field.tag == _DYNAMIC_METADATA:
            has_metadata = True
        elif field.tag == _MORE_TIME:
            return MoreTime(_seconds(field.content))  # whatever else the message says is ignored
    last, content = response.tag, response.content
    if not last:
        raise MalformedAnswer("an answer without a response")
    structs: Structs = tuple(read_objects(joined(fields, _DYNAMIC_METADATA))) if has_metadata else ()
    if last == _IMMEDIATE:
        return _refusal(content, structs)
    if last == _STREAMED_IMMEDIATE:
        return _own_response(content)
    phase = IN_MESSAGES[(last >> 3) - _FIRST_ANSWERED]
    if not (phase.is_of_headers or phase.is_body):
        return Answer(phase, _mutation(joined(read_fields(content), _FIRST_MESSAGE)), metadata=structs)
    modes = _modes(joined(fields, _MODE_OVERRIDE)) if has_override else None
    return _answer(phase, joined(read_fields(content), _FIRST_MESSAGE), modes, structs)


def _answer(phase: Phase, common: bytes, override: ModeOverride | None, metadata: Structs) -> Answer:
    status = 0
    body: bytes | None = None
    is_streamed = ends = False
    fields = read_fields(common)
    for field in fields:
        if field.tag == _FIRST_NUMBER:
            status = field.int32
    mutation, body_mutation = joined(fields, _SECOND), joined(fields, _THIRD)
    if body_mutation:
        for field in read_fields(body_mutation):
            if field.tag == _FIRST_MESSAGE:
                body, is_streamed = field.content, False
            elif field.tag == _SECOND_NUMBER:
                body, is_streamed = b"" if field.is_true else None, False
            elif field.tag == _THIRD:
                body, ends = _piece(field.content)
                is_streamed = True
    if status not in (0, 1):
        raise MalformedAnswer("an unknown status")
    if phase.is_of_headers:
        if not status:
            body, is_streamed = None, False
    else:
        override = None
    edits = _mutation(mutation) if mutation else NO_MUTATION
    return Answer(phase, edits, body, status == 1, override, is_streamed, ends and is_streamed, metadata)


def _piece(message: bytes) -> tuple[bytes, bool]:
    """What a ``StreamedBodyResponse`` has, and whether it is the last."""
    body, ends = b"", False
    for field in read_fields(message):
        if field.tag == _FIRST_MESSAGE:
            body = field.content
        elif field.tag == _SECOND_NUMBER:
            ends = field.is_true
    return body, ends


def _own_response(message: bytes) -> OwnResponse:
    part = OneOf()
    for field in read_fields(message):
        if field.tag == _FIRST_MESSAGE or field.tag == _SECOND or field.tag == _THIRD:
            part.take(field)
    last, content = part.tag, part.content
    if last == _SECOND:
        body, ends = _piece(content)
        return OwnResponse(body=body, end=ends)
    if last == _THIRD:
        return OwnResponse(fields=_fields(content), end=True)
    if not last:
        raise MalformedAnswer("a streamed response without any part of one")
    ends = False
    for field in read_fields(content):
        if field.tag == _END_OF_STREAM:
            ends = field.is_true
    status = b""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in _fields(joined(read_fields(content), _FIRST_MESSAGE)):
        if name == b":status":
            status = value
        elif not name.startswith(b":"):
            fields.append((name, value))
    if not (len(status) == _STATUS_DIGITS and status.isdigit() and b"200" <= status < b"600"):
        raise MalformedAnswer("a streamed response whose :status is not that of a final response")
    return OwnResponse(int(status), tuple(fields), end=ends)


def _fields(header_map: bytes) -> Fields:
    fields: list[tuple[bytes, bytes]] = []
    for field in read_fields(header_map):
        if field.tag == _FIRST_MESSAGE:
            name, value = read_header(field.content)
            fields.append((name.encode().lower(), value))
    return tuple(fields)


def _seconds(duration: bytes) -> float:
    seconds = nanoseconds = 0
    for field in read_fields(duration):
        if field.tag == _FIRST_NUMBER:
            seconds = field.number if field.number < _NEGATIVE else 0
        elif field.tag == _SECOND_NUMBER:
            nanoseconds = field.int32
    return seconds + nanoseconds / 1e9


def _mutation(message: bytes) -> HeaderMutation:
    edits: list[FieldEdit] = []
    removals: list[bytes] = []
    for field in read_fields(message):
        if field.tag == _FIRST_MESSAGE:
            option = read_option(field.content)
            if option is not None:
                edits.append(field_edit(option))
        elif field.tag == _SECOND:
            removals.append(field.text.encode())
    return HeaderMutation(tuple(removals), tuple(edits))


def _modes(message: bytes) -> ModeOverride:
    numbers = dict.fromkeys(range(1, 7), 0)
    for field in read_fields(message):
        if field.tag & 7 == VARINT and field.tag >> 3 in numbers:
            numbers[field.tag >> 3] = field.int32
    if not all(NONE <= numbers[number] <= DUPLEX for number in (3, 4)):
        raise MalformedAnswer("an unknown body mode")
    sent = {0: None, 1: True, 2: False}
    if not all(numbers[number] in sent for number in (2, 5, 6)):
        raise MalformedAnswer("an unknown header mode")
    return ModeOverride(sent[numbers[2]], numbers[3], numbers[4], sent[numbers[5]], sent[numbers[6]])


def _refusal(message: bytes, metadata: Structs) -> Refusal:
    status = 0
    details = ""
    grpc_code: int | None = None
    body = b""
    for field in read_fields(message):
        if field.tag == _THIRD:
            body = field.content
        elif field.tag == _DETAILS:
            details = field.text
    for field in read_fields(joined(read_fields(message), _FIRST_MESSAGE)):
        if field.tag == _FIRST_NUMBER:
            status = field.int32
    if _present(message, _GRPC_STATUS):
        grpc_code = 0
        for field in read_fields(joined(read_fields(message), _GRPC_STATUS)):
            if field.tag == _FIRST_NUMBER:
                grpc_code = field.uint32
    fields = (FieldEdit(b"content-type", b"text/plain"),) if body else ()
    mutation = _mutation(joined(read_fields(message), _SECOND))
    return Refusal(checked_status(status), mutation, body, fields, grpc_code, details, metadata)


def _present(message: bytes, wanted: int) -> bool:
    return any(field.tag == wanted for field in read_fields(message))
