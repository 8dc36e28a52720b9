"""One probe against real backends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from tests.support import tls_upstream
from tests.support.gateway import Document
from tests.support.judged import JudgedBackend
from tests.support.ports import free_port
from tests.support.probed_backend import ProbedBackend
from tests.support.scripted_backend import ScriptedBackend
from tests.support.watching import destination
from vrata import __version__
from vrata.model.destination import Destination
from vrata.net.resolver import Resolver
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.watch.probe import ProbeFailed, Target, probe, target


def aimed_at(port: int, host: str = "127.0.0.1", **members: object) -> Target:
    """The target of a health check on *host*:*port*."""
    check = {"path": "/health?deep=1", "timeout": "300ms", **members}
    found = destination("d", f"127.0.0.1:{port}", healthCheck=check)
    assert found.options.health_check is not None
    return target(found, found.options.health_check, host, port)


async def outcome(target: Target) -> str:
    """Why the probe failed; empty when it did not."""
    try:
        await probe(target, Resolver(TaskSupervisor()))
    except ProbeFailed as failure:
        return str(failure)
    return ""


def test_it_asks_on_a_connection_of_its_own() -> None:
    async def main() -> None:
        async with ProbedBackend() as backend:
            assert await outcome(aimed_at(backend.port)) == ""
            assert backend.heads == [
                (
                    f"GET /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:{backend.port}\r\n"
                    f"User-Agent: vrata-health-check/{__version__}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
                ).encode()
            ]

    asyncio.run(main())


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_a_status_from_200_to_399_is_a_success_and_no_redirect_is_followed(status: int) -> None:
    async def main() -> None:
        async with ProbedBackend(b"HTTP/1.1 %d x\r\nLocation: /elsewhere\r\n\r\n" % status) as backend:
            assert await outcome(aimed_at(backend.port)) == ""
            assert len(backend.heads) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "status 400"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed response head"),
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-", "connection closed without an answer"),
        (None, "no answer within 300ms"),
    ],
)
def test_anything_else_is_a_failure_with_its_reason(answer: bytes | None, reason: str) -> None:
    async def main() -> None:
        async with ProbedBackend(answer) as backend:
            assert await outcome(aimed_at(backend.port)) == reason

    asyncio.run(main())


def test_a_success_may_come_bit_by_bit() -> None:
    async def main() -> None:
        async with ScriptedBackend() as backend:
            probing = asyncio.get_running_loop().create_task(outcome(aimed_at(backend.port)))
            connection = await backend.accept()
            await connection.read_head()
            for byte in b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n":
                connection.send(bytes([byte]))
                await asyncio.sleep(0)
            assert await probing == ""

    asyncio.run(main())


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("path", "/{{secret:value:a}} HTTP/1.1\r\nHost: evil\r\n\r\nPOST /admin"),
        ("host", "{{secret:value:a}}\r\nX-Evil: 1"),
    ],
)
def test_nothing_is_sent_of_what_a_reference_hid_from_the_model(member: str, text: str) -> None:
    check = {"path": text if member == "path" else "/"}
    with pytest.raises(ValueError, match="must be"):
        aimed_at(80, text if member == "host" else "127.0.0.1", **check)


def test_nobody_listens() -> None:
    assert asyncio.run(outcome(aimed_at(free_port()))) == "connection refused"


def test_the_host_is_not_known() -> None:
    reason = asyncio.run(outcome(aimed_at(80, "nowhere.invalid", timeout="20s")))
    assert reason.startswith("host could not be resolved: ")


def test_a_reset_is_named() -> None:
    async def main() -> None:
        async with ScriptedBackend() as backend:
            probing = asyncio.get_running_loop().create_task(outcome(aimed_at(backend.port, timeout="5s")))
            connection = await backend.accept()
            await connection.read_head()
            connection.reset()
            assert await probing == "connection reset"

    asyncio.run(main())


def test_a_full_queue_of_connections_is_no_connection() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect(listening.getsockname())
            assert await outcome(aimed_at(listening.getsockname()[1])) == "not connected within 300ms"

    asyncio.run(main())


@pytest.mark.parametrize("kind", [{"path": "/health"}, {"path": "", "type": "tcp"}])
@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        ({}, ""),
        ({"sni": "other.test"}, "TLS handshake failed: hostname mismatch"),
        ({"ca": None}, "TLS handshake failed: "),
    ],
)
def test_the_destination_says_how_it_is_secured(kind: Document, tls: Document, reason: str) -> None:
    async def main() -> None:
        with JudgedBackend("secured", tls=tls_upstream.serving()) as backend:
            document = tls_upstream.secured(backend.port, **tls)
            document["options"]["healthCheck"] = {"timeout": "5s", **kind}
            found = Destination.parse(document)
            assert found.options.health_check is not None
            aim = target(found, found.options.health_check, "127.0.0.1", backend.port)
            failure = await outcome(aim)
            assert failure.startswith(reason) if reason else failure == ""
            assert backend.probes == (not reason and kind["path"] != "")

    asyncio.run(main())


def test_an_upstream_that_refuses_our_certificate_fails_its_probe() -> None:
    async def main() -> None:
        with JudgedBackend("choosy", tls=tls_upstream.asking_for_certificates()) as backend:
            document = tls_upstream.secured(backend.port)
            document["options"]["healthCheck"] = {"path": "/health"}
            found = Destination.parse(document)
            assert found.options.health_check is not None
            aim = target(found, found.options.health_check, "127.0.0.1", backend.port)
            assert await outcome(aim) != ""

    asyncio.run(main())


def test_an_upstream_without_tls_fails_the_probe_of_a_secured_destination() -> None:
    async def main() -> None:
        async with ProbedBackend() as backend:
            document = tls_upstream.secured(backend.port)
            document["options"]["healthCheck"] = {"path": "/health", "timeout": "300ms"}
            found = Destination.parse(document)
            assert found.options.health_check is not None
            aim = target(found, found.options.health_check, "127.0.0.1", backend.port)
            assert await outcome(aim) in (
                "TLS handshake failed: wrong version number",
                "no answer within 300ms",
                "not connected within 300ms",
            )

    asyncio.run(main())


def test_tcp_is_content_with_a_connection() -> None:
    async def main() -> None:
        async with ProbedBackend(b"SMTP, say") as backend:
            assert await outcome(aimed_at(backend.port, path="", type="tcp")) == ""
            assert backend.heads == []
        assert await outcome(aimed_at(backend.port, path="", type="tcp")) == "connection refused"

    asyncio.run(main())


def test_a_peer_that_speaks_first_and_then_resets_satisfies_tcp() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"not HTTP\r\n\r\n")
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            for _ in range(20):
                assert await outcome(aimed_at(port, path="", type="tcp")) in ("", "connection reset")

    asyncio.run(main())
