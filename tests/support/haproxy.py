"""A real HAProxy as a balancer that passes TCP connections on with headers of the PROXY protocol."""

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
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen balancer
    bind 127.0.0.1:{port}
    server upstream 127.0.0.1:{upstream} source 127.0.0.1 {options}
"""


def find_haproxy() -> str | None:
    """The haproxy program, if there is one; it lives where only root's PATH may look."""
    return shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Haproxy:
    """Passes connections to *port* on to *upstream*, both on the loopback address. *options* are of its server."""

    def __init__(self, directory: Path, options: str, *, port: int, upstream: int) -> None:
        self.port = port
        self._configuration = directory / "haproxy.cfg"
        text = _CONFIGURATION.format(port=port, upstream=upstream, options=options)
        self._configuration.write_text(text, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = find_haproxy()
        assert program is not None
        self._process = subprocess.Popen([program, "-db", "-f", str(self._configuration)], stdin=subprocess.DEVNULL)
        eventually(lambda: accepts(self.port), what="HAProxy accepts connections")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
