"""Headers of the PROXY protocol: how the bytes come makes no difference, and a header written again is the same."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterator

from tests.support.proxy_header import CRC32C, LOCAL, SIGNATURE, TCP4, UNIX, addresses, binary, block, extension, line
from vrata.wire.proxy_protocol import MAX_BLOCK, MAX_LINE, MalformedProxyHeader, ProxyHeader, parse_proxy_header

DICTIONARY = (
    *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b" 192.0.2.1", b" ::1", b" 65535", b"\r\n", SIGNATURE),
    *(b"\x20", b"\x21", b"\x11", b"\x31", extension(CRC32C, bytes(4)), extension(4, b"")),
)


def seeds() -> Iterator[bytes]:
    """Headers with something of everything."""
    for source in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"):
        yield line(source)
        yield binary(source, extensions=extension(1, b"h2"), checksum=True)
    yield b"PROXY UNKNOWN ::1 ::2 1 2\r\nGET"
    yield block(TCP4, addresses("192.0.2.1"), LOCAL)
    yield block(UNIX, bytes(216) + extension(5, b"id"))


def check(data: bytes) -> None:
    """Raise ``AssertionError`` where a beginning and the whole disagree, or what is found is not what is there."""
    found = _verdict(data)
    digest = zlib.crc32(data)
    for cut in (digest % (len(data) + 1), len(data) // 2, max(len(data) - 1, 0)):
        beginning = _verdict(data[:cut])
        assert beginning is None or beginning == found
    if found is None:
        assert len(data) < 16 + MAX_BLOCK
    if not isinstance(found, ProxyHeader):
        return
    assert 8 <= found.size <= min(len(data), 16 + MAX_BLOCK)
    assert data.startswith(SIGNATURE) or (found.size <= MAX_LINE and data[: found.size].endswith(b"\r\n"))
    if found.source:
        assert str(ipaddress.ip_address(found.source)) == found.source
        for again in (line(found.source, found.source_port), binary(found.source, found.source_port)):
            assert parse_proxy_header(again) == ProxyHeader(len(again), found.source, found.source_port)


def _verdict(data: bytes) -> ProxyHeader | str | None:
    try:
        return parse_proxy_header(data)
    except MalformedProxyHeader as error:
        return str(error)
