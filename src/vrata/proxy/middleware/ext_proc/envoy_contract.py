"""The messages of ``envoy.service.ext_proc.v3`` (``proto/envoy/service/ext_proc/v3/external_processor.proto``)."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import ADD_IF_ABSENT, APPEND, REPLACE, REPLACE_IF_PRESENT, FieldEdit, HeaderMutation
from vrata.proxy.middleware.ext_proc.message import (
    NONE,
    PARTIAL,
    Answer,
    Contract,
    Fields,
    MalformedAnswer,
    ModeOverride,
    Modes,
    Phase,
    Refusal,
    Shown,
    checked_status,
)
from vrata.wire.protobuf import LENGTH, VARINT, Field, MalformedProtobuf, MessageWriter, read_fields, tag, varint

METHOD: Final = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"

_SHOWN = {
    Phase.REQUEST_HEADERS: 2,
    Phase.RESPONSE_HEADERS: 3,
    Phase.REQUEST_BODY: 4,
    Phase.RESPONSE_BODY: 5,
    Phase.REQUEST_TRAILERS: 6,
    Phase.RESPONSE_TRAILERS: 7,
}
"""Numbers of the fields of ``ProcessingRequest``."""
_OBSERVABILITY_MODE: Final = 10
_PROTOCOL_CONFIG: Final = 11

# ProcessingResponse.
_RESPONSES = {
    tag(1, LENGTH): Phase.REQUEST_HEADERS,
    tag(2, LENGTH): Phase.RESPONSE_HEADERS,
    tag(3, LENGTH): Phase.REQUEST_BODY,
    tag(4, LENGTH): Phase.RESPONSE_BODY,
    tag(5, LENGTH): Phase.REQUEST_TRAILERS,
    tag(6, LENGTH): Phase.RESPONSE_TRAILERS,
}
_IMMEDIATE: Final = tag(7, LENGTH)
_MODE_OVERRIDE: Final = tag(9, LENGTH)
_MORE_TIME: Final = tag(10, LENGTH)

_FIRST_MESSAGE: Final = tag(1, LENGTH)
"""Field 1 where that is a message, as in ``HeadersResponse`` and ``HeaderValueOption``, or a text or bytes."""
_FIRST_NUMBER: Final = tag(1, VARINT)
_SECOND: Final = tag(2, LENGTH)
_THIRD: Final = tag(3, LENGTH)

_CLEAR_BODY: Final = tag(2, VARINT)
_APPEND_ACTION: Final = tag(3, VARINT)
_GRPC_STATUS: Final = tag(4, LENGTH)

_ACTIONS = {1: ADD_IF_ABSENT, 2: REPLACE, 3: REPLACE_IF_PRESENT}
"""By ``append_action``. Of 0, which is also its absence, the older ``append`` decides, and in this service that is
false where it is absent, too."""


class EnvoyContract(Contract):
    """``ProcessingRequest`` there, ``ProcessingResponse`` back."""

    def __repr__(self) -> str:
        return "<EnvoyContract>"

    def encode(self, shown: Shown, opening: Modes | None) -> bytes:
        """Return the message that shows *shown*. Values of headers are ``raw_value``, as Envoy has them."""
        part = MessageWriter()
        match shown.phase:
            case Phase.REQUEST_HEADERS | Phase.RESPONSE_HEADERS:
                part.message(1, _header_map(shown.pseudo + shown.fields))
                part.integer(3, shown.end)
            case Phase.REQUEST_BODY | Phase.RESPONSE_BODY:
                part.content(1, shown.body)
                part.integer(2, shown.end)
            case Phase.REQUEST_TRAILERS | Phase.RESPONSE_TRAILERS:
                part.message(1, _header_map(shown.fields))
        message = MessageWriter()
        message.message(_SHOWN[shown.phase], part.finished())
        message.integer(_OBSERVABILITY_MODE, shown.observed)
        if opening is not None:
            config = MessageWriter()
            config.integer(1, opening.request_body)
            config.integer(2, opening.response_body)
            message.message(_PROTOCOL_CONFIG, config.finished())
        return message.finished()

    def decode(self, message: bytes) -> Answer | Refusal | None:
        """Return what *message* says. Raises :class:`MalformedAnswer`."""
        try:
            return _read(message)
        except MalformedProtobuf as error:
            raise MalformedAnswer(str(error)) from None


def _header_map(fields: Fields) -> bytes:
    headers = MessageWriter()
    for name, value in fields:
        # A HeaderValue with `key` and `raw_value`, written by hand since there are so many.
        headers.message(1, b"\x0a%s%s\x1a%s%s" % (varint(len(name)), name, varint(len(value)), value))
    return headers.finished()


def _read(message: bytes) -> Answer | Refusal | None:
    last, content = 0, b""
    override: bytes | None = None
    for field in read_fields(message):
        if field.tag in _RESPONSES or field.tag == _IMMEDIATE:
            content = content + field.content if field.tag == last else field.content
            last = field.tag
        elif field.tag == _MODE_OVERRIDE:
            override = (override or b"") + field.content
        elif field.tag == _MORE_TIME:
            return None  # Envoy grants it where its configuration allows for that, and acts on nothing else beside
    if not last:
        raise MalformedAnswer("an answer without a response")
    if last == _IMMEDIATE:
        return _refusal(content)
    phase = _RESPONSES[last]
    if phase is Phase.REQUEST_TRAILERS or phase is Phase.RESPONSE_TRAILERS:
        return Answer(phase, _mutation(_joined(content, _FIRST_MESSAGE)))
    return _answer(phase, _joined(content, _FIRST_MESSAGE), None if override is None else _modes(override))


def _answer(phase: Phase, common: bytes, override: ModeOverride | None) -> Answer:
    status = 0
    body: bytes | None = None
    for field in read_fields(common):
        if field.tag == _FIRST_NUMBER:
            status = field.int32
    for field in read_fields(_joined(common, _THIRD)):
        if field.tag == _FIRST_MESSAGE:
            body = field.content
        elif field.tag == _CLEAR_BODY:
            body = b"" if field.is_true else None
        elif field.tag == _THIRD:
            raise MalformedAnswer("a streamed response, which was not asked for")
    if status not in (0, 1):
        raise MalformedAnswer("an unknown status")
    if phase is Phase.REQUEST_HEADERS or phase is Phase.RESPONSE_HEADERS:
        if not status:
            body = None
    else:
        override = None
    return Answer(phase, _mutation(_joined(common, _SECOND)), body, status == 1, override)


def _mutation(message: bytes) -> HeaderMutation:
    edits: list[FieldEdit] = []
    removals: list[bytes] = []
    for field in read_fields(message):
        if field.tag == _FIRST_MESSAGE:
            edit = _edit(field.content)
            if edit is not None:
                edits.append(edit)
        elif field.tag == _SECOND:
            removals.append(field.text.encode())
    return HeaderMutation(tuple(removals), tuple(edits))


def _edit(option: bytes) -> FieldEdit | None:
    header: bytes | None = None
    appends = False
    action = 0
    for field in read_fields(option):
        if field.tag == _FIRST_MESSAGE:
            header = (header or b"") + field.content
        elif field.tag == _SECOND:
            appends = any(each.is_true for each in read_fields(field.content) if each.tag == _FIRST_NUMBER)
        elif field.tag == _APPEND_ACTION:
            action = field.int32
    if header is None:
        return None
    name = value = raw = b""
    for field in read_fields(header):
        if field.tag == _FIRST_MESSAGE:
            name = field.text.encode()
        elif field.tag == _SECOND:
            value = field.text.encode()
        elif field.tag == _THIRD:
            raw = field.content
    if value and raw:
        raise MalformedAnswer("a header with two values")
    if not action:
        return FieldEdit(name, raw or value, APPEND if appends else REPLACE)
    if action not in _ACTIONS:
        raise MalformedAnswer("an unknown append action")
    return FieldEdit(name, raw or value, _ACTIONS[action])


def _modes(message: bytes) -> ModeOverride:
    numbers = dict.fromkeys(range(1, 7), 0)
    for field in read_fields(message):
        if field.tag & 7 == VARINT and field.tag >> 3 in numbers:
            numbers[field.tag >> 3] = field.int32
    if not all(NONE <= numbers[number] <= PARTIAL for number in (3, 4)):
        raise MalformedAnswer("an unknown body mode")
    sent = {0: None, 1: True, 2: False}
    if not all(numbers[number] in sent for number in (2, 5, 6)):
        raise MalformedAnswer("an unknown header mode")
    return ModeOverride(sent[numbers[2]], numbers[3], numbers[4], sent[numbers[5]], sent[numbers[6]])


def _refusal(message: bytes) -> Refusal:
    status = 0
    grpc_code: int | None = None
    body = b""
    for field in read_fields(message):
        if field.tag == _THIRD:
            body = field.content
    for field in read_fields(_joined(message, _FIRST_MESSAGE)):
        if field.tag == _FIRST_NUMBER:
            status = field.int32
    if _present(message, _GRPC_STATUS):
        grpc_code = 0
        for field in read_fields(_joined(message, _GRPC_STATUS)):
            if field.tag == _FIRST_NUMBER:
                grpc_code = field.uint32
    fields = (FieldEdit(b"content-type", b"text/plain"),) if body else ()
    return Refusal(checked_status(status), _mutation(_joined(message, _SECOND)), body, fields, grpc_code)


def _present(message: bytes, wanted: int) -> bool:
    return any(field.tag == wanted for field in read_fields(message))


def _joined(message: bytes, wanted: int) -> bytes:
    """The message in the field *wanted*; of one that comes several times all, as merging them would have it."""
    found: list[Field] = [field for field in read_fields(message) if field.tag == wanted]
    return found[0].content if len(found) == 1 else b"".join(field.content for field in found)
