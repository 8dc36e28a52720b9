"""What spans consist of, as fields of their messages: attributes, most of which are the same each time.

An attribute is a ``KeyValue`` of ``opentelemetry/proto/common/v1/common.proto``. Of texts that come again the fields
are kept, up to a bound.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from vrata.wire.protobuf import FIXED64, LENGTH, VARINT, tag, varint

RESOURCE: Final = 1
"""Number of the field that has the attributes of a resource."""
SPAN: Final = 9
"""Of a span."""
EVENT: Final = 3
"""Of an event in a span."""

MOST_KEPT: Final = 512
"""Texts of one kind whose fields are kept. Where there are more, all of them are forgotten now and then."""

_MASK64: Final = (1 << 64) - 1
_TRUE: Final = varint(tag(2, VARINT)) + b"\x01"
_INT: Final = varint(tag(3, VARINT))
_DOUBLE: Final = varint(tag(4, FIXED64))
_pack_double: Final = Struct("<d").pack


class TextField:
    """A text that is a field of its own. An empty one is left out."""

    __slots__ = ("_kept", "_number")

    def __init__(self, number: int) -> None:
        self._number = number
        self._kept: dict[str, bytes] = {}

    def encoded(self, text: str) -> bytes:
        """Return the field."""
        return length_and(self._number, text.encode("utf-8", "replace")) if text else b""

    def kept(self, text: str) -> bytes:
        """Return the same, for a text that will come again."""
        found = self._kept.get(text)
        if found is None:
            found = self.encoded(text)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[text] = found
        return found


class TextAttribute(TextField):
    """An attribute whose value is a text."""

    __slots__ = ("_key",)

    def __init__(self, name: str, owner: int) -> None:
        """*owner* is the number of the field that has the attributes."""
        super().__init__(owner)
        self._key = key_of(name)

    def encoded(self, text: str) -> bytes:
        """Return the attribute."""
        if not text:
            return b""
        value = length_and(1, text.encode("utf-8", "replace"))
        return length_and(self._number, self._key + length_and(2, value))


class AddressAttributes(TextField):
    """The attributes that an authority comes to: ``server.address``, and ``server.port`` where it has one."""

    __slots__ = ("_host", "_port")

    def __init__(self, owner: int) -> None:
        super().__init__(owner)
        self._host = TextAttribute("server.address", owner)
        self._port = IntegerAttribute("server.port", owner)

    def encoded(self, text: str) -> bytes:
        """Return the attributes of the authority *text*."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or "]" in port:
            return self._host.encoded(text.strip("[]"))
        number = int(port)
        return self._host.encoded(host.strip("[]")) + (self._port.encoded(number) if number else b"")


class CallAttributes(TextField):
    """The attributes that the path of a call comes to: ``rpc.system``, ``rpc.service`` and ``rpc.method``."""

    __slots__ = ("_method", "_service", "_system")

    def __init__(self, owner: int) -> None:
        super().__init__(owner)
        self._system = TextAttribute("rpc.system", owner).encoded("grpc")
        self._service = TextAttribute("rpc.service", owner)
        self._method = TextAttribute("rpc.method", owner)

    def encoded(self, text: str) -> bytes:
        """Return the attributes of a call to the path *text*, ``/<service>/<method>``."""
        service, _, method = text.removeprefix("/").rpartition("/")
        return self._system + self._service.encoded(service) + self._method.encoded(method)


class IntegerAttribute:
    """An attribute whose value is an integer, of which a zero is told as well."""

    __slots__ = ("_key", "_number")

    def __init__(self, name: str, owner: int) -> None:
        self._number = owner
        self._key = key_of(name)

    def encoded(self, value: int) -> bytes:
        """Return the attribute."""
        return length_and(self._number, self._key + length_and(2, _INT + varint(value & _MASK64)))


class DoubleAttribute:
    """An attribute whose value is a floating-point number."""

    __slots__ = ("_beginning",)

    def __init__(self, name: str, owner: int) -> None:
        # All of them are equally long.
        whole = length_and(owner, key_of(name) + length_and(2, _DOUBLE + _pack_double(0.0)))
        self._beginning = whole[:-8]

    def encoded(self, value: float) -> bytes:
        """Return the attribute."""
        return self._beginning + _pack_double(value)


def true_attribute(name: str, owner: int) -> bytes:
    """Return the attribute *name* that is true."""
    return length_and(owner, key_of(name) + length_and(2, _TRUE))


def key_of(name: str) -> bytes:
    """Return what an attribute begins with that has the *name*."""
    return length_and(1, name.encode("ascii"))


def length_and(number: int, content: bytes) -> bytes:
    """Return a field with its length before it; *number* is a small one."""
    size = len(content)
    if size < 0x80:
        return bytes((number << 3 | LENGTH, size)) + content
    return bytes((number << 3 | LENGTH,)) + varint(size) + content
