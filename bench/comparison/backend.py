"""The backend of all proxies that speaks HTTP/1.1: an nginx on the core of the load, with answers of several sizes."""

from __future__ import annotations

from pathlib import Path

from bench.comparison.nginx_file import nginx
from bench.comparison.program import Program
from tests.support.ports import free_port

FORWARDED = {
    "for": "$http_x_forwarded_for",
    "proto": "$http_x_forwarded_proto",
    "host": "$http_x_forwarded_host",
}
"""What the answer to ``/forwarded`` tells, one ``name=value`` per line: the request's X-Forwarded fields."""

_SMALL = "x" * 128
_FILES = (10240, 1048576)


class Backend:
    """Answers ``/bytes/<size>`` (below any of the prefixes) and ``/forwarded``."""

    def __init__(self, directory: Path, core: int) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        files = directory / "files"
        (files / "bytes").mkdir(parents=True)
        for size in _FILES:
            (files / "bytes" / str(size)).write_bytes(b"x" * size)
        lines = "".join(f"{name}={variable}\\n" for name, variable in FORWARDED.items())
        content = f"""
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        root {files};
        location = /bytes/128 {{ return 200 "{_SMALL}"; }}
        location /service- {{ return 200 "{_SMALL}"; }}
        location = /forwarded {{ return 200 "{lines}"; }}
        location /bytes/ {{ }}
    }}"""
        self.program: Program = nginx("backend", content, directory, core)

    def start(self) -> None:
        self.program.start(self.port)

    def stop(self) -> None:
        self.program.stop()
