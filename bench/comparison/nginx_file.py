"""What every nginx.conf of the comparison begins with; the backend and one of the peers are nginx."""

from __future__ import annotations

import os
from pathlib import Path

from bench.comparison.program import Program, find

_FILE = """
daemon off;
master_process on;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
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
{content}
}}
"""


def nginx(name: str, content: str, directory: Path, core: int) -> Program:
    """An nginx of one worker with *content* in its ``http`` block; its files are in *directory*."""
    # As root nginx would change to a user who cannot read the directory.
    user = "user root;" if os.geteuid() == 0 else ""
    path = directory / "nginx.conf"
    path.write_text(_FILE.format(user=user, directory=directory, content=content))
    return Program(name, [find("nginx"), "-p", str(directory), "-c", str(path), "-e", "stderr"], directory, core)
