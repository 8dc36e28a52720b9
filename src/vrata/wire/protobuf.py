"""Fields of Protocol Buffers (proto3) in the binary format: how they are written, and how they are read.

The format is that of https://protobuf.dev/programming-guides/encoding. A *message* is a sequence of *fields*, each with
a *tag*: the number of the field, and the *wire type* that tells how long its value is. A message is its fields alone,
so that where it ends is its owner's business: the length before it, or the frame of gRPC
(:mod:`vrata.wire.grpc_frames`).
"""

from __future__ import annotations

from typing import Final

VARINT: Final = 0
"""Wire type of integers, truth values and members of an enumeration."""
FIXED64: Final = 1
LENGTH: Final = 2
"""Wire type of what has its length before it: text, bytes, messages."""
FIXED32: Final = 5

_TEXT_1: Final = b"\x0a"
_TEXT_2: Final = b"\x12"
"""Tags of the fields 1 and 2 where they are texts."""

_LONGEST_VARINT: Final = 10
_LONGEST_TAG: Final = 5
_LAST_FIELD: Final = (1 << 29) - 1
"""The greatest number of a field."""
_MASK32: Final = (1 << 32) - 1
_MASK64: Final = (1 << 64) - 1


class MalformedProtobuf(ValueError):  # noqa: N818 - it names the thing that arrived
    """What came is no message; ``args[0]`` says why, for people, without the peer's bytes."""


class MessageWriter:
    """Writes one message, field by field. Scalars that are empty or zero are left out, as proto3 takes what is absent
    for that."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def __repr__(self) -> str:
        return f"<MessageWriter {sum(map(len, self._parts))} bytes>"

    def text(self, number: int, value: str) -> None:
        """A field of type ``string``. Raises UnicodeEncodeError where *value* cannot be written as UTF-8."""
        if value:
            self.message(number, value.encode("utf-8"))

    def content(self, number: int, value: bytes) -> None:
        """A field of type ``bytes``."""
        if value:
            self.message(number, value)

    def integer(self, number: int, value: int) -> None:
        """A field of an integral type without zigzag, of ``bool`` or of an enumeration."""
        if value:
            self._parts.append(varint(number << 3 | VARINT) + varint(value & _MASK64))

    def message(self, number: int, value: bytes) -> None:
        """A field that is a message, or one of several in a repeated field: written also when it is empty."""
        self._parts.append(varint(number << 3 | LENGTH) + varint(len(value)))
        self._parts.append(value)

    def entry(self, number: int, key: str, value: str) -> None:
        """One entry of a ``map<string, string>``, or of whatever has a text as field 1 and one as field 2."""
        self.pair(number, key.encode("utf-8"), value.encode("utf-8"))

    def pair(self, number: int, key: bytes, value: bytes) -> None:
        """The same of texts that are UTF-8 already."""
        key_size, value_size = varint(len(key)), varint(len(value))
        size = 0
        if key:
            size = 1 + len(key_size) + len(key)
        if value:
            size += 1 + len(value_size) + len(value)
        parts = self._parts
        parts.append(varint(number << 3 | LENGTH))
        parts.append(varint(size))
        if key:
            parts.append(_TEXT_1)
            parts.append(key_size)
            parts.append(key)
        if value:
            parts.append(_TEXT_2)
            parts.append(value_size)
            parts.append(value)

    def finished(self) -> bytes:
        """The message."""
        return b"".join(self._parts)


class Field:
    """One field as it was read. Only one of :attr:`number` and :attr:`content` has a meaning, by its wire type."""

    __slots__ = ("content", "number", "tag")

    def __init__(self, tag: int, number: int, content: bytes) -> None:
        self.tag = tag
        """Field number and wire type, as :func:`tag` makes them."""
        self.number = number
        """The value of a ``VARINT``, of 64 bits without a sign."""
        self.content = content
        """The value of a ``LENGTH``, and the bytes of a ``FIXED32`` or ``FIXED64``."""

    def __repr__(self) -> str:
        return f"<Field {self.tag >> 3} of wire type {self.tag & 7}>"

    @property
    def text(self) -> str:
        """The value as a ``string``. Raises :class:`MalformedProtobuf`."""
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedProtobuf("a text that is not UTF-8") from None

    @property
    def is_true(self) -> bool:
        """The value as a ``bool``."""
        return self.number != 0

    @property
    def uint32(self) -> int:
        """The value as a ``uint32``: of a longer one the lower bits, as everywhere."""
        return self.number & _MASK32

    @property
    def int32(self) -> int:
        """The value as an ``int32`` or a member of an enumeration."""
        number = self.number & _MASK32
        return number - (1 << 32) if number >> 31 else number


class OneOf:
    """A ``oneof`` of messages as it is read: its last member counts, and of one that comes several times all parts.

    They are joined once. Whoever joined each to those before it would copy them as often as there are parts.
    """

    __slots__ = ("_parts", "tag")

    def __init__(self) -> None:
        self.tag = 0
        """That of the last member; 0 = there is none."""
        self._parts: list[bytes] = []

    def __repr__(self) -> str:
        return f"<OneOf {self.tag >> 3} of {len(self._parts)} parts>"

    def take(self, field: Field) -> None:
        """*field* is a member."""
        if field.tag != self.tag:
            self.tag = field.tag
            self._parts = []
        self._parts.append(field.content)

    @property
    def content(self) -> bytes:
        """The last member."""
        return b"".join(self._parts)


def joined(fields: list[Field], wanted: int) -> bytes:
    """Return the message whose tag is *wanted*; of one that comes several times all, as merging them would have it."""
    return b"".join([field.content for field in fields if field.tag == wanted])


def tag(number: int, wire_type: int) -> int:
    """Return what :attr:`Field.tag` is of the field *number* when it has the *wire_type*."""
    return number << 3 | wire_type


def read_fields(message: bytes) -> list[Field]:
    """Return the fields of *message* in the order in which they came. Raises :class:`MalformedProtobuf`."""
    fields: list[Field] = []
    at, size = 0, len(message)
    while at < size:
        began = at
        key, at = read_varint(message, at)
        wire_type = key & 7
        if not 0 < key >> 3 <= _LAST_FIELD or at - began > _LONGEST_TAG:
            raise MalformedProtobuf("a field whose number is none")
        number, content = 0, b""
        if wire_type == VARINT:
            number, at = read_varint(message, at)
        else:
            if wire_type == LENGTH:
                length, at = read_varint(message, at)
            elif wire_type == FIXED64:
                length = 8
            elif wire_type == FIXED32:
                length = 4
            else:
                raise MalformedProtobuf("a field of an unknown wire type")
            end = at + length
            if end > size:
                raise MalformedProtobuf("a field that is cut")
            content = message[at:end]
            at = end
        fields.append(Field(key, number, content))
    return fields


def read_pair(message: bytes) -> tuple[str, str]:
    """Return the texts of the fields 1 and 2 of *message*, as an entry of a map has them.

    Raises :class:`MalformedProtobuf`.
    """
    key = value = ""
    for field in read_fields(message):
        if field.tag == 1 << 3 | LENGTH:
            key = field.text
        elif field.tag == 2 << 3 | LENGTH:
            value = field.text
    return key, value


def varint(number: int) -> bytes:
    """Return *number*, which is not negative, in groups of seven bits, the lowest first."""
    if number < 0x80:
        return _SHORT[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at *at*, of 64 bits, and where it ends. Raises :class:`MalformedProtobuf`."""
    number = shift = 0
    end = len(message)
    for position in range(at, at + _LONGEST_VARINT):
        if position >= end:
            break
        byte = message[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number > _MASK64:
                break
            return number, position + 1
        shift += 7
    raise MalformedProtobuf("a number that is cut, or too long")


_SHORT: Final = [bytes([number]) for number in range(0x80)]
