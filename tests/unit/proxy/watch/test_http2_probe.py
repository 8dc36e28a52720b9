"""One probe over HTTP/2: health checks of gRPC against real servers, and GETs of endpoints that speak nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support import tls_upstream
from tests.support.gateway import Document, destination
from tests.support.grpc_health_server import GrpcHealthServer
from tests.support.judged import JudgedBackend
from tests.support.ports import free_port
from tests.support.probed_backend import ProbedBackend
from tests.unit.proxy.watch.test_probe import outcome
from vrata.model.destination import Destination
from vrata.proxy.watch.grpc_health import encode_request
from vrata.proxy.watch.probe import Target, target
from vrata.wire.http2.events import CONTENT, HEAD
from vrata.wire.http2.session import PREFACE, Session, SessionLimits, server_session

GRPC: Document = {"type": "grpc", "timeout": "5s"}
GET: Document = {"path": "/health?deep=1", "timeout": "5s"}
SERVING = b"\0\0\0\0\2\x08\1"


def aimed_at(document: Document, **check: object) -> Target:
    """The target of a health check of the destination *document*, over HTTP/2."""
    document["options"] = {**document.get("options", {}), "http2": True, "healthCheck": check}
    found = Destination.parse(document)
    assert found.options.health_check is not None
    return target(found, found.options.health_check, found.host, found.port)


@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize(
    ("service", "status", "reason"),
    [
        ("", "SERVING", ""),
        ("", "NOT_SERVING", "NOT_SERVING"),
        ("users.v1.Users", "SERVING", ""),
        ("users.v1.Users", "NOT_SERVING", "NOT_SERVING"),
        ("users.v1.Users", "UNKNOWN", "UNKNOWN"),
        ("users.v1.Unknown", "", "gRPC status NOT_FOUND"),
    ],
)
def test_a_server_of_grpc_says_how_its_services_are(secured: bool, service: str, status: str, reason: str) -> None:
    with GrpcHealthServer(tls_upstream.certificate() if secured else None) as server:
        if status:
            server.be(status, service)
        document = tls_upstream.secured(server.port) if secured else destination("d", server.port)
        assert asyncio.run(outcome(aimed_at(document, **GRPC, service=service))) == reason


def test_a_server_without_the_protocol() -> None:
    async def main() -> None:
        async with ServedOnce(answering(b"content-type: application/grpc", b"grpc-status: 12")) as port:
            assert await outcome(aimed_at(destination("d", port), **GRPC)) == "gRPC status UNIMPLEMENTED"

    asyncio.run(main())


class ServedOnce:
    """Serves one connection by *act*, which gets the session, the stream and what the request was, once that is whole.

    An asynchronous context manager of the port.
    """

    def __init__(self, act: Callable[[Session, int], object]) -> None:
        self.head = b""
        self.content = b""
        self._act = act

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = server_session(SessionLimits())
        try:
            while data := await reader.read(65536):
                for kind, stream, content, flag in session.receive(data):
                    if kind == HEAD:
                        self.head = content
                    elif kind == CONTENT:
                        self.content += content
                    if kind in (HEAD, CONTENT) and flag:
                        result = self._act(session, stream)
                        if isinstance(result, Awaitable):
                            await result
                while output := session.outgoing():
                    writer.write(output)
        finally:
            writer.close()


def answering(
    *fields: bytes, status: int = 200, content: bytes | None = None, trailers: bytes = b""
) -> Callable[[Session, int], None]:
    """Answer with a head of *fields*, then *content* and *trailers* if there is some."""
    head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 %d " % status, *fields)) + b"\r\n"

    def act(session: Session, stream: int) -> None:
        session.respond(stream, head, content is None)
        if content is not None:
            session.send(stream, content, True, trailers)

    return act


IS_GRPC = b"content-type: application/grpc"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(IS_GRPC, content=SERVING, trailers=b"grpc-status: 0\r\n"), ""),
        (answering(status=503), "status 503"),
        (answering(IS_GRPC, b"grpc-status: 14"), "gRPC status UNAVAILABLE"),
        (answering(IS_GRPC, b"grpc-status: 99"), "no answer of gRPC"),
        (answering(IS_GRPC), "no answer of gRPC"),
        (answering(IS_GRPC, content=SERVING), "no answer of gRPC"),
        (answering(b"content-type: text/html", content=b"<html>"), "no answer of gRPC"),
        (
            answering(IS_GRPC, content=SERVING, trailers=b"grpc-status: 5\r\n"),
            "gRPC status NOT_FOUND",
        ),
        (
            answering(IS_GRPC, content=b"", trailers=b"grpc-status: 0\r\n"),
            "malformed answer: not one whole message",
        ),
        (
            answering(IS_GRPC, content=b"\0\0\0\0\2\x08\3", trailers=b"grpc-status: 0\r\n"),
            "SERVICE_UNKNOWN",
        ),
        (
            answering(IS_GRPC, content=b"\0\0\0\0\2\x08\x07", trailers=b"grpc-status: 0\r\n"),
            "health status 7",
        ),
        (answering(IS_GRPC, content=b"x" * 65537, trailers=b"grpc-status: 0\r\n"), "the answer is too large"),
        (lambda session, stream: session.reset(stream, 2), "ended with error code 2"),
    ],
)
def test_what_a_call_may_come_to(answer: Callable[[Session, int], None], reason: str) -> None:
    async def main() -> None:
        served = ServedOnce(answer)
        async with served as port:
            assert await outcome(aimed_at(destination("d", port), **GRPC, service="a.B")) == reason
            assert served.content == encode_request("a.B")
            lines = served.head.split(b"\r\n")
            assert lines[0] == b"POST /grpc.health.v1.Health/Check HTTP/1.1"
            assert b"content-type: application/grpc" in lines
            assert b"host: 127.0.0.1:%d" % port in lines

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "reason"), [(200, ""), (204, ""), (302, ""), (404, "status 404"), (503, "status 503")]
)
def test_an_endpoint_that_speaks_nothing_but_http2_is_asked_in_it(status: int, reason: str) -> None:
    async def main() -> None:
        served = ServedOnce(answering(status=status))
        async with served as port:
            assert await outcome(aimed_at(destination("d", port), **GET)) == reason
            assert served.head.startswith(b"GET /health?deep=1 HTTP/1.1\r\n")
            assert b"connection:" not in served.head

    asyncio.run(main())


@pytest.mark.parametrize("check", [GET, GRPC])
def test_an_endpoint_of_http1_in_clear(check: Document) -> None:
    async def main() -> None:
        async with ProbedBackend(b"HTTP/1.1 400 Bad Request\r\n\r\n") as backend:
            assert await outcome(aimed_at(destination("d", backend.port), **check)) == "answered in HTTP/1"
            assert PREFACE.startswith(backend.heads[0])

    asyncio.run(main())


@pytest.mark.parametrize(("check", "reason"), [(GET, ""), (GRPC, "HTTP/2 was not agreed on")])
def test_an_endpoint_of_http1_over_tls_is_asked_in_that(check: Document, reason: str) -> None:
    async def main() -> None:
        with JudgedBackend("old", tls=tls_upstream.serving()) as backend:
            check_at = {**check, "path": "/health"} if "path" in check else check
            assert await outcome(aimed_at(tls_upstream.secured(backend.port), **check_at)) == reason
            assert backend.probes == (not reason)

    asyncio.run(main())


@pytest.mark.parametrize("secured", [False, True])
def test_an_endpoint_that_is_only_connected_to_is_told_nothing(secured: bool) -> None:
    async def main() -> None:
        context = tls_upstream.serving() if secured else None
        if context is not None:
            context.set_alpn_protocols(["h2"])
        received: list[bytes] = []
        over = asyncio.Event()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.read())
            writer.close()
            over.set()

        surprises: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
        async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
            port: int = server.sockets[0].getsockname()[1]
            document = tls_upstream.secured(port) if secured else destination("d", port)
            assert await outcome(aimed_at(document, type="tcp", timeout="5s")) == ""
            async with asyncio.timeout(30):
                await over.wait()
        assert (received, surprises) == ([b""], [])

    asyncio.run(main())


@pytest.mark.parametrize("check", [GET, GRPC])
def test_nobody_listens_or_answers(check: Document) -> None:
    async def main() -> None:
        assert await outcome(aimed_at(destination("d", free_port()), **check)) == "connection refused"
        limited = {**check, "timeout": "200ms"}
        async with ServedOnce(lambda session, stream: None) as port:
            assert await outcome(aimed_at(destination("d", port), **limited)) == "no answer within 200ms"

    asyncio.run(main())
