"""The service of the public interop cases of gRPC, rebuilt on grpcio without generated code; and its process.

A request is a JSON object, perhaps padded with spaces, that says what is to come back: ``sizes`` of responses in zeros,
``pause`` before each in seconds, ``status`` and ``message`` to end with. An empty request asks for nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from tests.support.certificates import Certificate

SERVICE = "grpc.testing.TestService"
INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"

_ROOT = Path(__file__).resolve().parents[2]


def asking(*, pad: int = 0, **wanted: Any) -> bytes:
    """A request for what is *wanted*, of *pad* bytes at least."""
    return json.dumps(wanted).encode().ljust(pad)


class InteropService:
    """What the methods do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {"calls": 0, "cancelled": 0}

    def handlers(self) -> list[Any]:
        """The handlers of grpcio for all methods."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        methods = {
            "EmptyCall": unary(self._unary),
            "UnaryCall": unary(self._unary),
            "StreamingInputCall": grpc.stream_unary_rpc_method_handler(self._add_up),
            "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(self._stream_out),
            "FullDuplexCall": stream(self._full_duplex),
        }
        control = {"Counts": unary(self._tell)}
        return [
            grpc.method_handlers_generic_handler(SERVICE, methods),
            grpc.method_handlers_generic_handler("vrata.test.Control", control),
        ]

    def _tell(self, request: bytes, context: Any) -> bytes:
        with self._lock:
            return json.dumps(self._counts).encode()

    def _begin(self, context: Any) -> None:
        self._count("calls")
        # That a call was cancelled has no other name: to a handler it may look like the end of the requests.
        context.add_callback(lambda: self._count("cancelled") if context._state.client == "cancelled" else None)
        metadata = dict(context.invocation_metadata())
        if "x-compress" in metadata:
            context.set_compression(grpc.Compression.Gzip)
        if INITIAL in metadata:
            context.send_initial_metadata(((INITIAL, metadata[INITIAL]),))
        if TRAILING in metadata:
            context.set_trailing_metadata(((TRAILING, metadata[TRAILING]),))

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def _unary(self, request: bytes, context: Any) -> bytes:
        self._begin(context)
        wanted: dict[str, Any] = json.loads(request or b"{}")
        time.sleep(wanted.get("pause", 0))
        _end(wanted, context)
        return bytes(sum(wanted.get("sizes", [])))

    def _add_up(self, requests: Iterable[bytes], context: Any) -> bytes:
        self._begin(context)
        total: int = sum(len(each) for each in requests)
        return asking(total=total)

    def _stream_out(self, request: bytes, context: Any) -> Iterator[bytes]:
        self._begin(context)
        wanted = json.loads(request)
        yield from _responses(wanted)
        _end(wanted, context)

    def _full_duplex(self, requests: Iterable[bytes], context: Any) -> Iterator[bytes]:
        self._begin(context)
        for request in requests:
            wanted = json.loads(request)
            yield from _responses(wanted)
            if "status" in wanted:
                _end(wanted, context)


def _responses(wanted: dict[str, Any]) -> Iterator[bytes]:
    for size in wanted.get("sizes", []):
        time.sleep(wanted.get("pause", 0))
        yield bytes(size)


def _end(wanted: dict[str, Any], context: Any) -> None:
    if "status" in wanted:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[wanted["status"]], wanted.get("message", ""))


class InteropServer:
    """The service in a process of its own, with TLS if there is a *certificate*; a context manager."""

    def __init__(self, directory: Path, certificate: Certificate | None = None) -> None:
        self._arguments = [sys.executable, "-m", "tests.support.interop_service"]
        if certificate is not None:
            cert, key = directory / "interop.pem", directory / "interop.key"
            self._arguments += [str(certificate.cert_file(cert)), str(certificate.key_file(key))]
        self.port = 0
        self._control = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            self._arguments, cwd=_ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
        )
        assert self._process.stdout is not None
        self.port, self._control = map(int, self._process.stdout.readline().split())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once, with all its calls."""
        process = self._process
        if process is not None and process.stdout is not None:
            process.kill()
            process.wait()
            process.stdout.close()

    def counts(self) -> dict[str, int]:
        """What it has seen so far, asked for directly."""
        with grpc.insecure_channel(f"127.0.0.1:{self._control}") as channel:
            found: dict[str, int] = json.loads(channel.unary_unary("/vrata.test.Control/Counts")(b"", timeout=10))
            return found


def main(certificate: list[str]) -> None:
    """Serve until the process is killed; the first line of the output is the port, and one in clear beside it."""
    service = InteropService()
    options = [("grpc.max_concurrent_streams", 1000), ("grpc.so_reuseport", 0)]
    server: Any = grpc.server(ThreadPoolExecutor(256), handlers=service.handlers(), options=options)
    control = server.add_insecure_port("127.0.0.1:0")
    if certificate:
        chain, key = (Path(each).read_bytes() for each in certificate)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    else:
        port = control
    server.start()
    sys.stdout.write(f"{port} {control}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1:])
