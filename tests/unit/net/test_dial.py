from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support import tls_upstream as upstream
from tests.support.ports import free_port
from tests.support.recording_backend import Exchange, RecordingBackend
from tests.support.simulated_loop import SimulatedLoop
from vrata.model.tls import DestinationTls
from vrata.net.dial import DialError, DialStage, dial
from vrata.net.resolver import NameNotResolved, ResolvesNames
from vrata.net.upstream_tls import upstream_tls


@contextmanager
def listening(address: str, family: int = socket.AF_INET, backlog: int = 16) -> Iterator[int]:
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        sock.listen(backlog)
        yield sock.getsockname()[1]


class Hanging(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


class Names(ResolvesNames):
    """Stands for a resolver: names have these addresses, and others none."""

    def __init__(self, **addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str) -> list[str]:
        if host not in self._addresses:
            raise NameNotResolved("no such name")
        return self._addresses[host]


class NoAnswer(ResolvesNames):
    """Stands for a resolver whose name servers do not answer."""

    async def resolve(self, host: str) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError


def connect(
    host: str,
    port: int,
    *,
    connect_timeout: float = 30,
    fallback_delay: float = 0.05,
    resolver: ResolvesNames | None = None,
) -> str:
    """The address that a connection came about with."""

    async def scenario() -> str:
        protocol = await dial(
            host,
            port,
            lambda _: Hanging(),
            resolver=resolver if resolver is not None else Names(localhost=["127.0.0.1"]),
            connect_timeout=connect_timeout,
            fallback_delay=fallback_delay,
        )
        peer: str = protocol.transport.get_extra_info("peername")[0]
        protocol.transport.close()
        await asyncio.sleep(0)  # the transport closes its socket on the next turn
        return peer

    return asyncio.run(scenario())


@contextmanager
def black_hole(address: str, family: int, port: int = 0) -> Iterator[int]:
    """A port that answers nobody: a full accept queue makes Linux drop further SYNs, like an unreachable host."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname()[:2])
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connects_to_literals_and_names(host: str) -> None:
    with listening("127.0.0.1") as port:
        assert connect(host, port) == "127.0.0.1"


def test_connects_over_ipv6() -> None:
    with listening("::1", socket.AF_INET6) as port:
        assert connect("::1", port) == "::1"


def test_a_refused_connection_names_its_stage() -> None:
    with pytest.raises(DialError) as failed:
        connect("127.0.0.1", free_port())
    assert failed.value.stage is DialStage.CONNECT


def test_a_name_that_does_not_resolve_names_its_stage() -> None:
    with pytest.raises(DialError, match="no such name") as failed:
        connect("name.test", 80)
    assert failed.value.stage is DialStage.RESOLVE


@pytest.mark.parametrize("addresses", [[], ["fe80::1%eth0"]])
def test_a_name_without_an_address_that_can_be_dialled_is_not_resolved(addresses: list[str]) -> None:
    with pytest.raises(DialError, match="no addresses") as failed:
        connect("local", 80, resolver=Names(local=addresses))
    assert failed.value.stage is DialStage.RESOLVE


def test_name_servers_that_do_not_answer_within_the_limit_are_the_cause() -> None:
    with pytest.raises(DialError, match="not resolved within") as failed:
        connect("name.test", 80, connect_timeout=0.05, resolver=NoAnswer())
    assert failed.value.stage is DialStage.RESOLVE


def test_a_connection_that_is_never_accepted_times_out() -> None:
    with black_hole("127.0.0.1", socket.AF_INET) as port, pytest.raises(DialError) as failed:
        connect("127.0.0.1", port, connect_timeout=0.3)
    assert failed.value.stage is DialStage.TIMEOUT


@pytest.mark.parametrize("delay", [0.05, 0.3])
@pytest.mark.parametrize(
    ("dead", "dead_family", "alive", "alive_family"),
    [
        ("::1", socket.AF_INET6, "127.0.0.1", socket.AF_INET),
        ("127.0.0.1", socket.AF_INET, "::1", socket.AF_INET6),
    ],
    ids=["IPv6 is dead", "IPv4 is dead"],
)
def test_a_dead_family_costs_the_fallback_delay(
    dead: str, dead_family: int, alive: str, alive_family: int, delay: float
) -> None:
    with listening(alive, alive_family) as port, black_hole(dead, dead_family, port):
        began = time.monotonic()
        found = connect("name", port, connect_timeout=60, fallback_delay=delay, resolver=Names(name=[dead, alive]))
        assert found == alive
        assert delay <= time.monotonic() - began < 30


def test_an_address_that_refuses_costs_nothing() -> None:
    with listening("127.0.0.1") as port:
        began = time.monotonic()
        resolver = Names(name=["::1", "127.0.0.1"])
        assert connect("name", port, connect_timeout=90, fallback_delay=60, resolver=resolver) == "127.0.0.1"
        assert time.monotonic() - began < 30


class Recording(SimulatedLoop):
    """Connections never come about; what was tried is kept, with the time since the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self._began = self.time()
        self.tried: list[tuple[float, str]] = []

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.tried.append((round(self.time() - self._began, 3), address[0]))
        await self.create_future()


def test_families_take_turns_and_each_address_has_its_head_start() -> None:
    loop = Recording()  # type: ignore[abstract] # nobody asks it for the rest
    resolver = Names(name=["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"])
    dialling = loop.create_task(
        dial("name", 80, lambda _: Hanging(), resolver=resolver, connect_timeout=5, fallback_delay=0.3)
    )
    loop.advance(4.9)
    assert not dialling.done()
    assert loop.tried == [
        (0.0, "2001:db8::1"),
        (0.3, "192.0.2.1"),
        (0.6, "2001:db8::2"),
        (0.9, "192.0.2.2"),
        (1.2, "2001:db8::3"),
    ]
    loop.advance(0.2)
    error = dialling.exception()
    assert isinstance(error, DialError)
    assert error.stage is DialStage.TIMEOUT


def secure(port: int, host: str = "127.0.0.1", *, timeout: float = 30) -> Secured:
    tls = upstream_tls(DestinationTls(mode="tls", ca=upstream.authority().cert_text, sni=upstream.NAME), host)

    async def scenario() -> Secured:
        protocol = await dial(
            host,
            port,
            lambda _: Secured(),
            resolver=Names(),
            connect_timeout=30,
            fallback_delay=0.05,
            tls=tls,
            handshake_timeout=timeout,
        )
        await protocol.ended
        return protocol

    return asyncio.run(scenario())


class Secured:
    """Says hello over TLS, and takes what comes."""

    def __init__(self) -> None:
        self.content = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(b"GET / HTTP/1.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self.content += data

    def eof_received(self) -> bool:
        self.content += b"<goodbye>"
        return False

    def input_cut(self, reason: str) -> None:
        raise AssertionError(reason)

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


def test_with_tls_the_protocol_is_made_after_the_handshake() -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"hello")
        exchange.say_goodbye()

    with RecordingBackend(script=script, tls=upstream.serving()) as backend:
        assert secure(backend.port).content == b"hello<goodbye>"


def test_a_handshake_that_fails_names_its_stage() -> None:
    with RecordingBackend(tls=upstream.serving(upstream.authority().issue("other.test"))) as backend:
        with pytest.raises(DialError, match="hostname mismatch") as failed:
            secure(backend.port)
        assert failed.value.stage is DialStage.TLS_HANDSHAKE


def test_a_handshake_that_does_not_end_names_its_stage() -> None:
    with listening("127.0.0.1") as port:
        with pytest.raises(DialError, match="not completed within") as failed:
            secure(port, timeout=0.2)
        assert failed.value.stage is DialStage.TLS_HANDSHAKE


def test_a_server_that_closes_within_the_handshake_names_its_stage() -> None:
    with RecordingBackend(script=lambda exchange: exchange.close()) as backend:
        with pytest.raises(DialError) as failed:
            secure(backend.port)
        assert failed.value.stage is DialStage.TLS_HANDSHAKE
