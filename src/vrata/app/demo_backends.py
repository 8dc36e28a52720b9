"""The backends of the demo: two small HTTP servers that say what they were asked."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from vrata.app.demo import HOST
from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.observability import process

MAX_BYTES = 1 << 30
CHUNK = b"vrata demo bytes" * 4096
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def run(blue: int, green: int) -> int:
    """Serve both backends until SIGTERM, and return the exit code."""
    process.set_name("vrata-demo")
    names = {blue: "blue", green: "green"}
    sockets: list[socket.socket] = []
    for port, name in names.items():
        try:
            sockets.append(socket.create_server((HOST, port), backlog=1024))
        except OSError as error:
            sys.stderr.write(f"vrata: the demo's {name} backend cannot listen on port {port}: {error.strerror}\n")
            return EXIT_UNUSABLE
    config = uvicorn.Config(
        application(names), lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run(sockets)
    return 0


def application(names: dict[int, str]) -> Starlette:
    """Return the application behind the ports that *names* names."""

    def backend(request: Request) -> str:
        return names.get(request.scope["server"][1], "unknown")

    async def describe(request: Request) -> Response:
        body = await request.body()
        answer = {
            "backend": backend(request),
            "method": request.method,
            "path": request.scope["raw_path"].decode("latin-1"),
            "query": request.url.query,
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw},
            "bodyBytes": len(body),
        }
        return Response(json.dumps(answer, indent=2) + "\n", media_type="application/json")

    async def stream(request: Request) -> Response:
        count = request.path_params["count"]
        if count > MAX_BYTES:
            return Response(f"at most {MAX_BYTES} bytes\n", status_code=400)
        headers = {"Content-Length": str(count), "X-Backend": backend(request)}
        return StreamingResponse(_bytes(count), media_type="application/octet-stream", headers=headers)

    return Starlette(
        routes=[Route("/bytes/{count:int}", stream), Route("/{path:path}", describe, methods=METHODS)],
    )


async def _bytes(count: int) -> AsyncIterator[bytes]:
    while count > 0:
        yield CHUNK[:count]
        count -= len(CHUNK)
