"""Header fields in messages of Envoy: ``envoy.config.core.v3.HeaderValue`` and ``HeaderValueOption``."""

from __future__ import annotations

from typing import Final

from vrata.wire.protobuf import LENGTH, VARINT, MalformedProtobuf, joined, read_fields

APPEND: Final = 0
"""Add the value beside those that are there (``APPEND_IF_EXISTS_OR_ADD``)."""
ADD_IF_ABSENT: Final = 1
"""Add the value where there is none."""
OVERWRITE: Final = 2
"""Replace what is there, and add the value where there is none (``OVERWRITE_IF_EXISTS_OR_ADD``)."""
OVERWRITE_IF_EXISTS: Final = 3
"""Replace what is there; where there is nothing, do nothing."""

_HEADER: Final = 1 << 3 | LENGTH
_APPEND: Final = 2 << 3 | LENGTH
_ACTION: Final = 3 << 3 | VARINT
_KEY: Final = 1 << 3 | LENGTH
_VALUE: Final = 2 << 3 | LENGTH
_RAW_VALUE: Final = 3 << 3 | LENGTH
_BOOL: Final = 1 << 3 | VARINT


class HeaderOption:
    """A field, and what is to be done with it."""

    __slots__ = ("action", "name", "value")

    def __init__(self, name: str, value: bytes, action: int) -> None:
        self.name = name
        """As it came."""
        self.value = value
        self.action = action

    def __repr__(self) -> str:
        return f"<HeaderOption {self.name!r} {self.action}>"


def read_header(message: bytes) -> tuple[str, bytes]:
    """Return name and value of a ``HeaderValue``: its text, or its raw bytes; there must not be both.

    Raises :class:`~vrata.wire.protobuf.MalformedProtobuf`.
    """
    name = text = ""
    raw = b""
    for field in read_fields(message):
        if field.tag == _KEY:
            name = field.text
        elif field.tag == _VALUE:
            text = field.text
        elif field.tag == _RAW_VALUE:
            raw = field.content
    if text and raw:
        raise MalformedProtobuf("a header with two values")
    return name, text.encode("utf-8") if text else raw


def read_option(message: bytes) -> HeaderOption | None:
    """Return a ``HeaderValueOption``; None where it has no header. Raises
    :class:`~vrata.wire.protobuf.MalformedProtobuf`.

    Where neither ``append`` nor ``append_action`` says something else, the value replaces what is there. So say the
    definitions of the authorization and the processing service; for the rest of Envoy's configuration it is the
    other way round. ``APPEND_IF_EXISTS_OR_ADD`` is the zero of ``append_action``, which nobody can tell from its
    absence.
    """
    header = b""
    has_append = has_header = has_several = False
    action = APPEND
    fields = read_fields(message)
    for field in fields:
        if field.tag == _HEADER:
            header = field.content
            has_several = has_header
            has_header = True
        elif field.tag == _APPEND:
            has_append = True
        elif field.tag == _ACTION:
            action = field.int32
    if has_append:
        is_appended = False
        for field in read_fields(joined(fields, _APPEND)):
            if field.tag == _BOOL:
                is_appended = field.is_true
        action = APPEND if is_appended else OVERWRITE
    elif action == APPEND:
        action = OVERWRITE
    elif not ADD_IF_ABSENT <= action <= OVERWRITE_IF_EXISTS:
        raise MalformedProtobuf("an unknown append_action")
    if not has_header:
        return None
    name, value = read_header(joined(fields, _HEADER) if has_several else header)
    return HeaderOption(name, value, action)
