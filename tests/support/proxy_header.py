"""Headers of the PROXY protocol as a balancer writes them, apart from what reads them."""

from __future__ import annotations

import ipaddress
import struct

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
LOCAL, PROXY = 0, 1
UNSPECIFIED, TCP4, UDP4, TCP6, UDP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31
CRC32C = 3


def line(source: str, port: int = 4711, destination: str = "192.0.2.200") -> bytes:
    """Version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    if family == "TCP6":
        destination = "2001:db8::200"
    return f"PROXY {family} {source} {destination} {port} 443\r\n".encode()


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def block(family: int, payload: bytes, command: int = PROXY, version: int = 2) -> bytes:
    """Version 2 with whatever follows the fixed part."""
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family, len(payload)) + payload


def addresses(source: str, port: int = 4711, destination: str = "") -> bytes:
    """The address part of version 2."""
    found = ipaddress.ip_address(source)
    other = ipaddress.ip_address(destination or ("192.0.2.200" if found.version == 4 else "2001:db8::200"))
    return found.packed + other.packed + struct.pack("!HH", port, 443)


def binary(source: str, port: int = 4711, extensions: bytes = b"", *, checksum: bool = False) -> bytes:
    """Version 2, with a good checksum at the end if that is asked for."""
    payload = addresses(source, port) + extensions
    family = TCP6 if ":" in source else TCP4
    if not checksum:
        return block(family, payload)
    blank = block(family, payload + extension(CRC32C, bytes(4)))
    return blank[:-4] + struct.pack("!I", reflected_crc(blank))


def reflected_crc(data: bytes) -> int:
    """CRC-32C bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 * (value & 1))
    return value ^ 0xFFFFFFFF
