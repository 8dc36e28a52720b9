"""A name server whose answers are the test's: over UDP and TCP, on a free port of this machine.

For what a real one cannot be made to do: fail, be late, be cut short, lie, change its mind. Where that is not needed
there is :func:`dnsmasq`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.support.conditions import eventually
from tests.support.ports import free_port


@dataclass
class Reply:
    """How queries for one name and type are answered."""

    records: tuple[str, ...] = ()
    ttl: int = 60
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    silent: bool = False
    """There is no answer."""
    truncated: bool = False
    """The answer over UDP is cut short."""
    alias: str = ""
    """The records are those of this name, which the one asked for is an alias (CNAME) of."""
    negative_ttl: int | None = None
    """What the SOA record in a negative answer says; None = there is none."""
    forged: bool = False
    """An answer with another number comes before the right one."""
    together: bool = False
    """There is no answer before both types have been asked for."""


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """``async with NameServer() as server``: :attr:`address` is where to ask it. Unknown names do not exist."""

    zone: dict[tuple[str, str], Reply] = field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        self.queries: Counter[tuple[str, str]] = Counter()
        self.over_tcp: Counter[tuple[str, str]] = Counter()
        self._held: list[tuple[dns.message.Message, Reply, Any]] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def put(self, name: str, *addresses: str, **how: Any) -> None:
        """*name* has these addresses, of both families, and no others."""
        v6 = tuple(address for address in addresses if ":" in address)
        v4 = tuple(address for address in addresses if ":" not in address)
        self.zone[name, "AAAA"] = Reply(v6, **how)
        self.zone[name, "A"] = Reply(v4, **how)

    def remove(self, name: str, **how: Any) -> None:
        """*name* does not exist."""
        self.put(name, rcode=dns.rcode.NXDOMAIN, **how)

    def fail(self, name: str, rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> None:
        self.put(name, rcode=rcode)

    def asked(self, name: str) -> int:
        """Queries about *name*, of both types."""
        return self.queries[name, "A"] + self.queries[name, "AAAA"]

    async def __aenter__(self) -> NameServer:
        loop = asyncio.get_running_loop()
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._serve, *self.address)
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.address)
        self._transport = transport
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._transport is not None
        assert self._server is not None
        self._transport.close()
        self._server.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        reply = self._reply(query)
        self.queries[_key(query)] += 1
        if reply.silent:
            return
        if reply.together:
            self._held.append((query, reply, addr))
            name, _ = _key(query)
            if not (self.queries[name, "A"] and self.queries[name, "AAAA"]):
                return
            for held in self._held:
                self._answer(*held)
            self._held.clear()
            return
        self._answer(query, reply, addr)

    def _answer(self, query: dns.message.Message, reply: Reply, addr: Any) -> None:
        assert self._transport is not None
        if reply.forged:
            response = self._response(query, Reply(("192.0.2.66",) * bool(reply.records), ttl=60))
            response.id ^= 1
            self._transport.sendto(response.to_wire(), addr)
            self._transport.sendto(b"\x00garbage", addr)
        response = self._response(query, reply)
        if reply.truncated:
            response.answer.clear()
            response.flags |= dns.flags.TC
        self._transport.sendto(response.to_wire(), addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        query = dns.message.from_wire(await reader.readexactly(length))
        self.over_tcp[_key(query)] += 1
        wire = self._response(query, self._reply(query)).to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        await writer.drain()
        writer.close()

    def _reply(self, query: dns.message.Message) -> Reply:
        return self.zone.get(_key(query)) or Reply(rcode=dns.rcode.NXDOMAIN)

    def _response(self, query: dns.message.Message, reply: Reply) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(reply.rcode)
        question = query.question[0]
        owner = question.name
        if reply.alias:
            owner = dns.name.from_text(reply.alias)
            response.answer.append(dns.rrset.from_text(question.name, reply.ttl, "IN", "CNAME", owner.to_text()))
        if reply.records:
            kind = dns.rdatatype.to_text(question.rdtype)
            response.answer.append(dns.rrset.from_text(owner, reply.ttl, "IN", kind, *reply.records))
        elif reply.negative_ttl is not None:
            soa = f"ns.test. root.test. 1 2 3 4 {reply.negative_ttl}"
            zone = owner.parent()
            response.authority.append(dns.rrset.from_text(zone, reply.negative_ttl, "IN", "SOA", soa))
        return response


class NameServerInThread:
    """A :class:`NameServer` for tests without an event loop; a context manager that can be entered again."""

    def __init__(self) -> None:
        self.server = NameServer(port=free_port())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> NameServer:
        started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(started),))
        self._thread.start()
        assert started.wait(10)
        return self.server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with self.server:
            started.set()
            await self._stopping.wait()


def _key(query: dns.message.Message) -> tuple[str, str]:
    question = query.question[0]
    return question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)


@contextmanager
def dnsmasq(*options: str) -> Iterator[tuple[str, int]]:
    """A real name server with these options; where to ask it."""
    port = free_port()
    command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts"]
    command += ["--user=", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        _wait_until_it_answers(process, port)
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.communicate()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    def answers() -> bool:
        assert process.poll() is None, process.communicate()[1].decode()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(answers, what="dnsmasq answers")
