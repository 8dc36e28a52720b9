"""Real servers of HTTP/2 as backends: nginx, which says goodbye every few requests, and grpcio."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.support import tls_upstream
from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.nginx import Nginx
from tests.support.ports import free_port

CLIENTS = 20
TURNS = 50

_SERVER = """
server {{
    listen 127.0.0.1:{port} {parameters};
    keepalive_requests {requests};
    location / {{ return 200 "$request_method $request_uri $server_protocol"; }}
}}
"""


@contextmanager
def nginx(directory: Path, requests: int, *, tls: bool = False) -> Iterator[Nginx]:
    """nginx with HTTP/2, whose connections serve so many *requests* each."""
    port = free_port()
    parameters = "http2"
    if tls:
        found = tls_upstream.certificate()
        cert, key = found.cert_file(directory / "cert.pem"), found.key_file(directory / "key.pem")
        parameters = f"ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}"
    with Nginx(directory, _SERVER.format(port=port, parameters=parameters, requests=requests), port=port) as server:
        yield server


async def apply(proxy: InProcessProxy, backend: Document, **others: Any) -> None:
    report = await proxy.apply(route("all", forward=forward("backend")), destinations=[backend], **others)
    assert not report.problems


@pytest.mark.parametrize("tls", [False, True])
@on_each_loop
async def test_goodbyes_of_nginx_lose_no_request(proxy: InProcessProxy, tmp_path: Path, tls: bool) -> None:
    with nginx(tmp_path, 7, tls=tls) as server:
        if tls:
            backend = tls_upstream.secured(server.port)
            backend["options"]["http2"] = True
        else:
            backend = destination("backend", server.port, http2=True)
        await apply(proxy, backend)

        async def ask(number: int) -> None:
            client = await proxy.connect()
            for turn in range(TURNS):
                # Not idempotent: what was not acted on is sent again all the same.
                response = await client.exchange(f"POST /{number}/{turn}", body=b"x" * turn)
                assert (response.status, response.body) == (200, b"POST /%d/%d HTTP/2.0" % (number, turn))

        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(ask(number))


class _Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no types
    """``/echo/unary`` and ``/echo/stream`` give back what they get; ``/echo/hang`` waits for the end of the call."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == "/echo/unary":
            return grpc.unary_unary_rpc_method_handler(lambda message, context: message)
        if details.method == "/echo/stream":
            return grpc.stream_stream_rpc_method_handler(lambda messages, context: messages)
        if details.method == "/echo/hang":
            return grpc.unary_stream_rpc_method_handler(self._hang)
        return None

    def _hang(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        yield message
        self.cancelled.wait(10)


@contextmanager
def grpc_server(echo: _Echo) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(8), [echo])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(10)


@on_each_loop
async def test_calls_of_grpc(proxy: InProcessProxy) -> None:
    echo = _Echo()
    with grpc_server(echo) as port:
        await apply(proxy, destination("backend", port, http2=True), listeners=[proxy.listener(http2=True)])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
            large = os.urandom(3_000_000)
            assert await channel.unary_unary("/echo/unary")(large) == large
            stream = channel.stream_stream("/echo/stream")()
            for number in range(200):
                await stream.write(b"%d" % number)
                assert await stream.read() == b"%d" % number
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
            many = [channel.unary_unary("/echo/unary")(b"%d" % number) for number in range(300)]
            assert [await each for each in many] == [b"%d" % number for number in range(300)]
            hanging = channel.unary_stream("/echo/hang")(b"x")
            assert await hanging.read() == b"x"
            hanging.cancel()
            assert await asyncio.get_running_loop().run_in_executor(None, echo.cancelled.wait, 10)
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary("/echo/nothing")(b"")
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
