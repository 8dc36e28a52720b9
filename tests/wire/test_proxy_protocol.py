"""Headers of the PROXY protocol: what is one, what is none, and that it makes no difference how the bytes come."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.proxy_header import (
    CRC32C,
    LOCAL,
    SIGNATURE,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    UNIX,
    UNSPECIFIED,
    addresses,
    binary,
    block,
    extension,
    line,
    reflected_crc,
)
from vrata.wire.proxy_protocol import (
    MAX_BLOCK,
    MAX_LINE,
    MalformedProxyHeader,
    ProxyHeader,
    crc32c,
    parse_proxy_header,
)

REST = b"GET / HTTP/1.1\r\n"
V4 = addresses("192.0.2.1")
V6 = addresses("2001:db8::1")

GOOD: list[tuple[bytes, str, int]] = [
    (line("192.0.2.1"), "192.0.2.1", 4711),
    (line("2001:db8::1", 0), "2001:db8::1", 0),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535),
    (
        b"PROXY TCP6 FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:DB8:0:0::1 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        65535,
    ),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1", 1),
    (b"PROXY UNKNOWN\r\n", "", 0),
    (b"PROXY UNKNOWN ::1 whatever 1\r\n", "", 0),
    (b"PROXY UNKNOWN " + b"f" * (MAX_LINE - 16) + b"\r\n", "", 0),
    (binary("192.0.2.1", 65535), "192.0.2.1", 65535),
    (binary("2001:db8::1"), "2001:db8::1", 4711),
    (binary("::ffff:192.0.2.1"), "192.0.2.1", 4711),
    (binary("192.0.2.1", checksum=True), "192.0.2.1", 4711),
    (binary("2001:db8::1", extensions=extension(2, b"a.test"), checksum=True), "2001:db8::1", 4711),
    (binary("192.0.2.1", extensions=extension(1, b"h2") + extension(0xEA, b"")), "192.0.2.1", 4711),
    (binary("192.0.2.1", extensions=extension(0x20, bytes(MAX_BLOCK - 15))), "192.0.2.1", 4711),
    (block(UNSPECIFIED, b"", LOCAL), "", 0),
    (block(TCP4, V4, LOCAL), "", 0),
    (block(TCP4, b"too short", LOCAL), "", 0),
    (block(0xFF, b"", LOCAL), "", 0),
    (block(UNSPECIFIED, b""), "", 0),
    (block(UNSPECIFIED, b"\x03\xff"), "", 0),
    (block(UDP4, V4), "", 0),
    (block(UDP6, V6), "", 0),
    (block(UNIX, bytes(216)), "", 0),
    (block(UNIX, bytes(216) + extension(5, b"id")), "", 0),
    (block(0x10, V4), "", 0),
]  # fmt: skip

BAD: list[tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n", "no PROXY protocol header"),
    (b"\x16\x03\x01\x02\x00", "no PROXY protocol header"),
    (b"proxy TCP4 ", "no PROXY protocol header"),
    (b"PROXY\r\n", "no PROXY protocol header"),
    (b"PROXY\tTCP4 ", "no PROXY protocol header"),
    (b"\r\n\r\nGET", "no PROXY protocol header"),
    (SIGNATURE[:-1] + b"\r", "no PROXY protocol header"),
    *(
        (b"PROXY " + rest + b"\r\n", "not of the form")
        for rest in (
            b"",
            b"UNKNOWNX",
            b"TCP4",
            b"TCP5 192.0.2.1 192.0.2.2 1 2",
            b"tcp4 192.0.2.1 192.0.2.2 1 2",
            b"TCP4 192.0.2.1 192.0.2.2 1",
            b"TCP4 192.0.2.1 192.0.2.2 1 2 3",
            b"TCP4  192.0.2.1 192.0.2.2 1 2",
            b"TCP4 192.0.2.1 192.0.2.2 1 2 ",
            b"TCP4 192.0.2.1 192.0.2.2 -1 2",
            b"TCP4 192.0.2.1 192.0.2.2 +1 2",
            b"TCP4 192.0.2.1 192.0.2.2 1 2\n",
            b"TCP4 192.0.2.1\t192.0.2.2 1 2",
            b"TCP4 192.0.2.1 192.0.2.2 123456 2",
            b"TCP4 host.test 192.0.2.2 1 2",
            b"TCP6 fe80::1%eth0 ::1 1 2",
        )
    ),
    (b"PROXY TCP4 192.0.2.1.5 192.0.2.2 1 2\r\n", "an address in the header is none"),
    (b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n", "an address in the header is none"),
    (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "an address in the header is none"),
    (b"PROXY TCP4 256.0.2.1 192.0.2.2 1 2\r\n", "an address in the header is none"),
    (b"PROXY TCP6 :::1 ::1 1 2\r\n", "an address in the header is none"),
    (b"PROXY TCP4 ::1 192.0.2.2 1 2\r\n", "of the other family"),
    (b"PROXY TCP6 ::1 192.0.2.2 1 2\r\n", "of the other family"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "a port in the header is none"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "a port in the header is none"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "a port in the header is none"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2" + b" " * 200, "longer than 107 bytes"),
    (b"PROXY UNKNOWN " + b"f" * (MAX_LINE - 15) + b"\r\n", "longer than 107 bytes"),
    (block(TCP4, V4, 2), "version and command 0x22 are unknown"),
    (block(TCP4, V4, version=1), "version and command 0x11 are unknown"),
    (block(TCP4, V4, version=3), "version and command 0x31 are unknown"),
    (block(0x41, V4), "address family and protocol 0x41 are unknown"),
    (block(0x13, V4), "address family and protocol 0x13 are unknown"),
    (block(TCP4, V4[:-1]), "too short for its addresses"),
    (block(TCP6, V4), "too short for its addresses"),
    (block(UNIX, bytes(215)), "too short for its addresses"),
    (block(TCP4, bytes(MAX_BLOCK + 1)), "longer than 16400 bytes"),
    (block(TCP4, V4 + b"\x04"), "an extension of the header is cut off"),
    (block(TCP4, V4 + b"\x04\x00"), "an extension of the header is cut off"),
    (block(UDP6, V6 + b"\x04\x00\x02a"), "an extension of the header is cut off"),
    (block(UNIX, bytes(216) + b"\x04\xff\xff"), "an extension of the header is cut off"),
    (block(TCP4, V4 + extension(CRC32C, bytes(4))), "the checksum of the header is wrong"),
    (block(TCP4, V4 + extension(CRC32C, b"")), "the checksum of the header is wrong"),
    (binary("192.0.2.1", checksum=True)[:-1] + b"\x00", "the checksum of the header is wrong"),
    (binary("192.0.2.1", extensions=extension(CRC32C, bytes(4)), checksum=True), "the checksum of the header is wrong"),
]


@pytest.mark.parametrize(("data", "source", "port"), GOOD)
def test_what_is_a_header(data: bytes, source: str, port: int) -> None:
    expected = ProxyHeader(len(data), source, port)
    assert parse_proxy_header(data) == expected
    assert parse_proxy_header(data + REST) == expected
    step = max(1, len(data) // 300)
    for end in [*range(0, len(data), step), len(data) - 1]:
        assert parse_proxy_header(data[:end]) is None, end


@pytest.mark.parametrize(("data", "reason"), BAD)
def test_what_is_none(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedProxyHeader, match=reason):
        parse_proxy_header(data)
    # Once it is refused, more bytes make it no better; before, it may still have become a header.
    refused = [end for end in range(len(data) + 1) if is_refused(data[:end])]
    assert refused == list(range(refused[0], len(data) + 1))


def is_refused(data: bytes) -> bool:
    try:
        parse_proxy_header(data)
    except MalformedProxyHeader:
        return True
    return False


def test_the_checksum_is_the_one_that_is_published() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4
    assert crc32c(bytes(range(32))) == reflected_crc(bytes(range(32))) == 0x46DD794E


def test_many_checksums_cost_no_more_than_one() -> None:
    wrong = binary("192.0.2.1", extensions=extension(CRC32C, bytes(4)) * (MAX_BLOCK // 7 - 2))
    began = time.process_time()
    assert is_refused(wrong)
    assert time.process_time() - began < 1


EXTENSIONS = st.lists(
    st.builds(extension, st.integers(0, 255).filter(lambda kind: kind != CRC32C), st.binary(max_size=40)), max_size=5
).map(b"".join)
ADDRESSES = st.ip_addresses().map(str)
PORTS = st.integers(0, 65535)


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, str, int]:
    source, port = draw(ADDRESSES), draw(PORTS)
    if draw(st.booleans()):
        return line(source, port), source, port
    return binary(source, port, draw(EXTENSIONS), checksum=draw(st.booleans())), source, port


def canonical(source: str) -> str:
    found = ipaddress.ip_address(source)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(found if mapped is None else mapped)


@settings(max_examples=300)
@given(headers(), st.binary(max_size=20))
def test_what_is_written_is_read_again(written: tuple[bytes, str, int], rest: bytes) -> None:
    data, source, port = written
    assert parse_proxy_header(data + rest) == ProxyHeader(len(data), canonical(source), port)
    for end in range(len(data)):
        assert parse_proxy_header(data[:end]) is None


@settings(max_examples=500)
@given(headers(), st.data())
def test_a_changed_header_is_read_the_same_however_it_comes(
    written: tuple[bytes, str, int], data: st.DataObject
) -> None:
    message = written[0]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message)))
        cut = data.draw(st.integers(0, 3))
        message = message[:at] + data.draw(st.binary(max_size=3)) + message[at + cut :]
    verdicts = [verdict(message[:end]) for end in range(len(message) + 1)]
    settled = next((index for index, found in enumerate(verdicts) if found is not None), len(verdicts))
    assert set(verdicts[settled:]) <= {verdicts[settled] if settled < len(verdicts) else None}
    if settled < len(verdicts) and isinstance(verdicts[settled], ProxyHeader):
        assert verdicts[settled].size == settled  # type: ignore[union-attr]


def verdict(data: bytes) -> ProxyHeader | str | None:
    try:
        return parse_proxy_header(data)
    except MalformedProxyHeader as error:
        return str(error)


@settings(max_examples=300)
@given(st.binary(max_size=64), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c"]))
def test_any_bytes_are_a_header_or_none_or_its_beginning(data: bytes, beginning: bytes) -> None:
    found = verdict(beginning + data)
    if isinstance(found, ProxyHeader):
        assert 0 < found.size <= len(beginning + data)
        if found.source:
            ipaddress.ip_address(found.source)
