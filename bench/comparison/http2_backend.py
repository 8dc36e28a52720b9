"""The backend of all proxies that speaks HTTP/2: nghttpd on the core of the load.

nginx would not do. It answers before the content of a request has come, and then resets the stream, which not every
proxy takes for a success; and a request costs it the more, the more have come on the connection before.
"""

from __future__ import annotations

from pathlib import Path

from bench.comparison.program import Program, find
from bench.comparison.workload import GRPC_PATH, Site, Workload
from tests.support.ports import free_port

_STREAMS = 128
"""That may be under way on a connection; nginx allows as many."""


class Http2Backend:
    """Answers ``/bytes/128``, and with *grpc* the unary call instead, over HTTP/2 with prior knowledge."""

    def __init__(self, directory: Path, core: int, *, grpc: bool) -> None:
        files = directory / "files"
        (files / "bytes").mkdir(parents=True)
        self.port = free_port()
        arguments = [
            find("nghttpd"),
            *("--no-tls", "--address", "127.0.0.1", "--htdocs", str(files)),
            *("--max-concurrent-streams", str(_STREAMS)),
        ]
        if grpc:
            types = directory / "mime.types"
            types.write_text("application/grpc grpc\n")
            arguments += ["--mime-types-file", str(types), "--trailer", "grpc-status: 0"]
            (files / GRPC_PATH.strip("/")).write_bytes(Workload("", "", site=Site(grpc=True)).answer)
        else:
            (files / "bytes" / "128").write_bytes(Workload("", "").answer)
        self._program = Program("grpc-backend" if grpc else "http2-backend", [*arguments, str(self.port)], files, core)

    def start(self) -> None:
        self._program.start(self.port)

    def stop(self) -> None:
        self._program.stop()
