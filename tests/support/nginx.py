"""A real nginx as a backend, from a configuration of its own in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.conditions import accepts, eventually

_CONFIGURATION = """
daemon off;
master_process on;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
{servers}
}}
"""


def find_nginx() -> str:
    """The nginx program; it lives where only root's PATH may look."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("nginx is not installed; `make test` installs what .ci/apt-packages lists")
    return found


class Nginx:
    """Runs nginx in the foreground with *servers* (``server { ... }`` blocks) from :meth:`start` to :meth:`stop`."""

    def __init__(self, directory: Path, servers: str, *, port: int) -> None:
        self.port = port
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._configuration = directory / "nginx.conf"
        self._configuration.write_text(_CONFIGURATION.format(directory=directory, servers=servers), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when the port accepts connections."""
        self._process = subprocess.Popen(
            [find_nginx(), "-p", str(self._directory), "-c", str(self._configuration), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
        )
        eventually(lambda: accepts(self.port), what="nginx accepts connections")

    def stop(self) -> None:
        """End it at once, connections included."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        self._process = None
