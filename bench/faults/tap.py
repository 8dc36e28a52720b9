"""A tap: what is sent to one port of loopback, seen from outside, whether anybody takes it or not."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from bench.faults.server import HEALTH

_IPV4 = 0x0800
_TO_US = 0
"""PACKET_HOST; on loopback every packet passes a second time as outgoing."""
_ATTACH_FILTER = 26
_SYN, _ACK = 0x02, 0x10
_PROBE = f"GET {HEALTH} ".encode()
_TAKEN = 256
"""Bytes of a packet that are looked at."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Something new on the connection from *source*: it begins, asks, or asks for the health."""

    at: float
    """On the monotonic clock."""
    source: int
    kind: Literal["connect", "request", "probe"]


def attempts(sights: Iterable[Sight]) -> list[float]:
    """When requests were sent, or a connection for one: each connection counts by its requests, or once without any.

    A probe whose connection is not even accepted cannot be told from a request: it counts as well.
    """
    seen = list(sights)
    spoken = {sight.source for sight in seen if sight.kind != "connect"}
    return [
        sight.at
        for sight in seen
        if sight.kind == "request" or (sight.kind == "connect" and sight.source not in spoken)
    ]


class Tap:
    """Watches *port* on the running event loop; a context manager. Raises ``PermissionError`` without CAP_NET_RAW."""

    def __init__(self, port: int) -> None:
        self.sights: list[Sight] = []
        self._seen: set[tuple[int, int, bool]] = set()
        self._program = ctypes.create_string_buffer(_only(port))
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IPV4))
        program = struct.pack("HL", len(self._program.raw) // 8, ctypes.addressof(self._program))
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        self._socket.bind(("lo", _IPV4))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        for _ in range(256):
            try:
                packet, (_, _, direction, *_) = self._socket.recvfrom(_TAKEN)
            except BlockingIOError:
                return
            if direction == _TO_US:
                self._see(packet)

    def _see(self, packet: bytes) -> None:
        tcp = packet[(packet[0] & 15) * 4 :]
        source, _, sequence = struct.unpack_from("!HHI", tcp)
        payload, flags = tcp[(tcp[12] >> 4) * 4 :], tcp[13]
        begins = bool(flags & _SYN)
        if not payload and not begins:
            return
        if begins:
            # The port may have been that of another connection, whose numbers say nothing of this one's.
            self._seen -= {found for found in self._seen if found[0] == source and found[1] != sequence}
        if (source, sequence, begins) in self._seen:
            return  # sent again by the kernel
        self._seen.add((source, sequence, begins))
        kind: Literal["connect", "request", "probe"] = "connect" if begins else "request"
        if payload.startswith(_PROBE):
            kind = "probe"
        self.sights.append(Sight(time.monotonic(), source, kind))


def _only(port: int) -> bytes:
    """A packet filter (classic BPF, from the IP header on) for TCP to *port*."""
    instructions = (
        (0x30, 0, 0, 9),  # the protocol
        (0x15, 0, 4, socket.IPPROTO_TCP),
        (0xB1, 0, 0, 0),  # the length of the header
        (0x48, 0, 0, 2),  # the port behind it
        (0x15, 0, 1, port),
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    )
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
