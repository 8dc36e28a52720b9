from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import tls_upstream as upstream
from tests.support.recording_backend import Exchange, RecordingBackend
from vrata.model.tls import DestinationTls
from vrata.net.dial import DialError, DialStage, dial
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


def connect(host: str, port: int, *, connect_timeout: float = 5, fallback_delay: float = 0.05) -> str:
    async def scenario() -> str:
        protocol = await dial(host, port, Hanging, connect_timeout=connect_timeout, fallback_delay=fallback_delay)
        protocol.transport.close()
        await asyncio.sleep(0)  # the transport closes its socket on the next turn
        return "connected"

    return asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connects_to_literals_and_names(host: str) -> None:
    with listening("127.0.0.1") as port:
        assert connect(host, port) == "connected"


def test_connects_over_ipv6() -> None:
    with listening("::1", socket.AF_INET6) as port:
        assert connect("::1", port) == "connected"


def test_a_refused_connection_names_its_stage() -> None:
    with listening("127.0.0.1") as port:
        pass
    with pytest.raises(DialError) as failed:
        connect("127.0.0.1", port)
    assert failed.value.stage is DialStage.CONNECT


@pytest.mark.parametrize("host", ["name.invalid", "bad..name", "x" * 300])
def test_a_name_that_does_not_resolve_names_its_stage(host: str) -> None:
    with pytest.raises(DialError) as failed:
        connect(host, 80)
    assert failed.value.stage is DialStage.RESOLVE


def test_a_connection_that_is_never_accepted_times_out() -> None:
    # A full accept queue makes Linux drop further SYNs, which is what an unreachable host looks like.
    with listening("127.0.0.1", backlog=0) as port:
        fillers = []
        try:
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            with pytest.raises(DialError) as failed:
                connect("127.0.0.1", port, connect_timeout=0.3)
            assert failed.value.stage is DialStage.TIMEOUT
        finally:
            for filler in fillers:
                filler.close()


def secure(port: int, host: str = "127.0.0.1", *, timeout: float = 5) -> Secured:
    tls = upstream_tls(DestinationTls(mode="tls", ca=upstream.authority().cert_text, sni=upstream.NAME), host)

    async def scenario() -> Secured:
        protocol = await dial(
            host, port, Secured, connect_timeout=5, fallback_delay=0.05, tls=tls, handshake_timeout=timeout
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
