"""What the two engines of HTTP/2 cost: processor time per request of a server that does nothing else.

    python -m bench.http2_engines [--requests 200000]

A server on each engine answers h2load with 128 bytes, in cleartext, on a core of its own. hyper-h2 gets a twentieth of
the requests. The guard that every listener has is in it. Needs h2load.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from importlib import import_module
from time import perf_counter
from typing import cast

import uvloop

from bench.comparison import cores
from bench.processes import usage
from vrata.wire.http1.head import parse_request_head
from vrata.wire.http2 import events
from vrata.wire.http2.contract import Session, SessionLimits
from vrata.wire.http2.guard import FrameGuard
from vrata.wire.http2.interpreted_session import InterpretedSession

ENGINES = ("nghttp2", "hyper-h2")
SLOWER = 20
"""hyper-h2 gets so many times fewer requests."""
CONNECTIONS = 16
STREAMS = 10
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 128\r\nserver: bench\r\n\r\n"
BODY = 128 * b"x"
FINISHED = re.compile(r"finished in [0-9.]+m?s, ([0-9.]+) req/s")
SUCCEEDED = re.compile(r"(\d+) succeeded")


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self, engine: str) -> None:
        if engine == "nghttp2":
            make = import_module("vrata.wire.http2.compiled_session").CompiledSession
        else:
            make = InterpretedSession
        self._session: Session = make(SessionLimits(), is_client=False)
        self._guard = FrameGuard()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        session = self._session
        reason = self._guard.feed(data, perf_counter())
        assert not reason, reason
        for kind, stream, text, _ in session.receive(data):
            if kind == events.HEAD:
                assert parse_request_head(text) is not None
                session.respond(stream, RESPONSE, False)
                session.send(stream, BODY, True)
        while output := session.outgoing():
            self._guard.sent(len(output))
            self._transport.write(output)


async def serve(engine: str) -> None:
    """Serve until killed; the first line of output is the port."""
    server = await asyncio.get_running_loop().create_server(lambda: Server(engine), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def load(port: int, requests: int) -> float:
    """Requests per second. Raises ``RuntimeError`` when not all have succeeded."""
    command = ["h2load", "-n", str(requests), "-c", str(CONNECTIONS), "-m", str(STREAMS), f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finished, succeeded = FINISHED.search(output), SUCCEEDED.search(output)
    if finished is None or succeeded is None or int(succeeded[1]) != requests:
        raise RuntimeError(output)
    return float(finished[1])


def measure(engine: str, requests: int) -> tuple[float, float]:
    """Requests per second, and microseconds of processor time per request."""
    places = cores.choose()
    with cores.running_on(places.proxy):
        command = [sys.executable, "-m", "bench.http2_engines", "--serve", engine]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with cores.running_on(places.load):
            load(port, requests // 10)
            before = usage(server.pid).processor
            rate = load(port, requests)
            return rate, (usage(server.pid).processor - before) / requests * 1e6
    finally:
        server.kill()
        server.communicate()


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--serve", choices=ENGINES)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve))
        return
    print(f"{'engine':10} {'requests/s':>11} {'µs of processor per request':>28}")
    for engine in ENGINES:
        requests = arguments.requests // (SLOWER if engine == "hyper-h2" else 1)
        rate, cost = measure(engine, requests)
        print(f"{engine:10} {rate:>11.0f} {cost:>28.1f}")


if __name__ == "__main__":
    main()
