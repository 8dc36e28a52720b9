"""``google.protobuf.Struct``: an object of JSON as a message.

A ``Struct`` has in its field 1 an entry for each member: its name, and a ``Value``, of whose fields just one is there.
Merging two messages is putting one after the other, so that later members take the place of earlier ones.
"""

from __future__ import annotations

import struct
from typing import Final

from vrata.wire.protobuf import LENGTH, MessageWriter, OneOf, joined, read_fields, varint

_FIELDS: Final = 1
_NUMBER: Final = 2
_TEXT: Final = 3
_TRUTH: Final = 4
_STRUCT: Final = 5

_ENTRY: Final = _FIELDS << 3 | LENGTH
_KEY: Final = 1 << 3 | LENGTH
_VALUE: Final = 2 << 3 | LENGTH
_STRUCT_VALUE: Final = _STRUCT << 3 | LENGTH


class StructWriter:
    """Writes a ``Struct``, member by member."""

    __slots__ = ("_message",)

    def __init__(self) -> None:
        self._message = MessageWriter()

    def __repr__(self) -> str:
        return f"<StructWriter {self._message!r}>"

    def text(self, name: str, value: str) -> None:
        """A member that is a text; what is no text of Unicode in it is replaced."""
        encoded = value.encode("utf-8", "replace")
        self._member(name, _TEXT, encoded)

    def number(self, name: str, value: float) -> None:
        """A member that is a number."""
        self._put(name, b"\x11" + struct.pack("<d", value))

    def truth(self, name: str, value: bool) -> None:
        """A member that is true or false."""
        self._put(name, b"\x20\x01" if value else b"\x20\x00")

    def struct(self, name: str, value: bytes) -> None:
        """A member that is an object: the ``Struct`` *value*."""
        self._member(name, _STRUCT, value)

    def finished(self) -> bytes:
        """The message."""
        return self._message.finished()

    def _member(self, name: str, kind: int, value: bytes) -> None:
        # Written also where it is empty: that a value is there tells what it is.
        self._put(name, varint(kind << 3 | LENGTH) + varint(len(value)) + value)

    def _put(self, name: str, value: bytes) -> None:
        entry = MessageWriter()
        entry.text(1, name)
        entry.message(2, value)
        self._message.message(_FIELDS, entry.finished())


def read_objects(message: bytes) -> list[tuple[str, bytes]]:
    """Return the members of a ``Struct`` that are objects: their names, and a ``Struct`` each.

    Raises :class:`~vrata.wire.protobuf.MalformedProtobuf`.
    """
    objects: dict[str, bytes] = {}
    for entry in read_fields(message):
        if entry.tag != _ENTRY:
            continue
        name = ""
        fields = read_fields(entry.content)
        for field in fields:
            if field.tag == _KEY:
                name = field.text
        value = OneOf()
        for field in read_fields(joined(fields, _VALUE)):
            value.take(field)
        objects.pop(name, None)
        if value.tag == _STRUCT_VALUE:
            found = value.content
            check_struct(found)
            objects[name] = found
    return list(objects.items())


def check_struct(message: bytes) -> None:
    """See that *message* is a ``Struct`` on its surface. Raises :class:`~vrata.wire.protobuf.MalformedProtobuf`."""
    for entry in read_fields(message):
        if entry.tag == _ENTRY:
            for field in read_fields(entry.content):
                if field.tag == _VALUE:
                    read_fields(field.content)
