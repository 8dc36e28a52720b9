"""Headers of the PROXY protocol, by which a balancer says for whom a connection speaks (HAProxy's proxy-protocol.txt).

Version 1 is one line of text, version 2 binary. Sans-IO: bytes in, header out. What the specification leaves to the
receiver is read strictly: nothing that is not exactly a header is taken for one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

MAX_LINE: Final = 107
"""Bytes of a header of version 1, line end included (§2.1)."""
MAX_BLOCK: Final = 16384
"""Bytes that may follow the fixed part of a header of version 2. The specification allows 65535; what is in use, client
certificates included, is far below."""

_LINE_START: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
"""Bytes of version 2 up to the addresses."""

_LINE: Final = re.compile(rb"(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]{1,5}) ([0-9]{1,5})")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _INET, _INET6, _UNIX = range(4)
_STREAM, _DATAGRAM = 1, 2
_ADDRESS_BYTES: Final = {_INET: 4, _INET6: 16, _UNIX: 108}
_CRC32C = 3


class MalformedProxyHeader(Exception):  # noqa: N818 - the name says what was found
    """Bytes that are not the beginning of a header; the text says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A complete header."""

    size: int
    """Bytes that it takes."""
    source: str = ""
    """The IP address of the client. Empty where the connection speaks for itself (``LOCAL``), and where what it speaks
    for has none that is known (``UNKNOWN``) or is no TCP connection: then the peer is the client."""
    source_port: int = 0


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of *data*; None while it is unfinished.

    What is malformed is found out with the header's last byte at the latest. Raises :class:`MalformedProxyHeader`.
    """
    if data.startswith(_SIGNATURE):
        return _binary(data)
    if data.startswith(_LINE_START):
        return _text(data)
    if _SIGNATURE.startswith(data) or _LINE_START.startswith(data):
        return None
    raise MalformedProxyHeader("no PROXY protocol header")


def _text(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(data) >= MAX_LINE:
            raise MalformedProxyHeader(f"the header is longer than {MAX_LINE} bytes")
        return None
    line = data[len(_LINE_START) : end]
    size = end + 2
    if line == b"UNKNOWN" or line.startswith(b"UNKNOWN "):
        return ProxyHeader(size)
    found = _LINE.fullmatch(line)
    if found is None:
        raise MalformedProxyHeader("the header is not of the form PROXY TCP4|TCP6 <source> <destination> <port> <port>")
    version = 4 if found[1] == b"TCP4" else 6
    source, _ = _ip_address(found[2], version), _ip_address(found[3], version)
    source_port, _ = _port(found[4]), _port(found[5])
    return ProxyHeader(size, source, source_port)


def _binary(data: bytes) -> ProxyHeader | None:
    # Each is judged as soon as it is there.
    command = data[12] if len(data) > 12 else _LOCAL
    if command not in (_LOCAL, _PROXY):
        raise MalformedProxyHeader(f"version and command 0x{command:02x} are unknown")
    if len(data) < _FIXED:
        return None
    family, transport = data[13] >> 4, data[13] & 0xF
    length = int.from_bytes(data[14:16], "big")
    if length > MAX_BLOCK:
        raise MalformedProxyHeader(f"the header is longer than {_FIXED + MAX_BLOCK} bytes")
    if command == _PROXY and (family > _UNIX or transport > _DATAGRAM):
        raise MalformedProxyHeader(f"address family and protocol 0x{data[13]:02x} are unknown")
    size = _FIXED + length
    if len(data) < size:
        return None
    # §2.2: of LOCAL everything else is to be dropped; with no family, nothing else has a meaning.
    if command == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader(size)
    width = _ADDRESS_BYTES[family]
    addresses = 2 * width + (0 if family == _UNIX else 4)
    if length < addresses:
        raise MalformedProxyHeader("the header is too short for its addresses")
    _check_extensions(data[:size], _FIXED + addresses)
    if family == _UNIX or transport != _STREAM:
        return ProxyHeader(size)
    source = _in_text(ipaddress.ip_address(data[_FIXED : _FIXED + width]))
    at = _FIXED + 2 * width
    return ProxyHeader(size, source, int.from_bytes(data[at : at + 2], "big"))


def _check_extensions(header: bytes, at: int) -> None:
    """Walk over the extensions (TLVs), none of which is used; a checksum must hold (§2.2.4)."""
    is_checked = False
    while at < len(header):
        length = int.from_bytes(header[at + 1 : at + 3], "big")
        value = at + 3
        if value + length > len(header):
            raise MalformedProxyHeader("an extension of the header is cut off")
        if header[at] == _CRC32C:
            stated = header[value : value + length]
            blanked = header[:value] + bytes(4) + header[value + 4 :]
            # Only once: each takes time in proportion to the whole header.
            if is_checked or length != 4 or crc32c(blanked) != int.from_bytes(stated, "big"):
                raise MalformedProxyHeader("the checksum of the header is wrong")
            is_checked = True
        at = value + length


def _ip_address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise MalformedProxyHeader("an address in the header is none") from None
    if address.version != version:
        raise MalformedProxyHeader("an address in the header is of the other family")
    return _in_text(address)


def _in_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An IPv4 address in its IPv6 form is the IPv4 address (RFC 4291 §2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address if mapped is None else mapped)


def _port(text: bytes) -> int:
    port = int(text)
    # §2.1: leading zeros could be taken for octal numbers.
    if port > 65535 or (len(text) > 1 and text.startswith(b"0")):
        raise MalformedProxyHeader("a port in the header is none")
    return port


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """The CRC with Castagnoli's polynomial (RFC 3720 §12.1, appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
