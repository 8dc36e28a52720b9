"""The backend of all proxies: an nginx on the core of the load, with answers of several sizes."""

from __future__ import annotations

from pathlib import Path

from bench.comparison.nginx_file import nginx
from bench.comparison.program import Program
from bench.comparison.workload import Workload
from tests.support.ports import free_port

FORWARDED = {
    "for": "$http_x_forwarded_for",
    "proto": "$http_x_forwarded_proto",
    "host": "$http_x_forwarded_host",
}
"""What the answer to ``/forwarded`` tells, one ``name=value`` per line: the request's X-Forwarded fields."""

_SMALL = "x" * 128
_FILES = (10240, 1048576)
_MESSAGE = Workload("", "", grpc=True).answer


class Backend:
    """Answers ``/bytes/<size>`` (below any of the prefixes) and ``/forwarded``, and, when it has read the content that
    came with them, ``/posted`` and the unary call ``/grpc``.

    It speaks HTTP/1.1 on :attr:`port` and HTTP/2, with prior knowledge, on :attr:`http2_port`.
    """

    def __init__(self, directory: Path, core: int) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self.http2_port = free_port()
        files = directory / "files"
        (files / "bytes").mkdir(parents=True)
        for size in _FILES:
            (files / "bytes" / str(size)).write_bytes(b"x" * size)
        (files / "posted").write_text(_SMALL)
        (files / "grpc").write_bytes(_MESSAGE)
        lines = "".join(f"{name}={variable}\\n" for name, variable in FORWARDED.items())
        content = f"""
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    http2_max_concurrent_streams 1024;
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        listen 127.0.0.1:{self.http2_port} http2 backlog=4096;
        root {files};
        location = /bytes/128 {{ return 200 "{_SMALL}"; }}
        location /service- {{ return 200 "{_SMALL}"; }}
        location = /forwarded {{ return 200 "{lines}"; }}
        location /bytes/ {{ }}
        # A file is not for POST, as nginx has it, and is sent all the same. Without the mirror it would be sent before
        # the content has come, and the stream be reset then, which not every proxy takes for a success.
        location = /posted {{ mirror /nowhere; error_page 405 =200 $uri; }}
        location = /grpc {{
            mirror /nowhere; error_page 405 =200 $uri; default_type application/grpc; add_trailer grpc-status 0;
        }}
        location = /nowhere {{ internal; return 204; }}
    }}"""
        self.program: Program = nginx("backend", content, directory, core)

    def start(self) -> None:
        self.program.start(self.port)

    def stop(self) -> None:
        self.program.stop()
