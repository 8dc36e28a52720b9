"""nginx: a master and one worker."""

from __future__ import annotations

from typing import ClassVar

from bench.comparison.nginx_file import nginx
from bench.comparison.program import Program, UnavailableError, find, output_of
from bench.comparison.proxies.proxy import ProgramProxy
from bench.comparison.usage import children

FIELDS = " ".join(
    f"proxy_set_header {field};"
    for field in (
        'Connection ""',
        "Host $http_host",
        "X-Forwarded-For $proxy_add_x_forwarded_for",
        "X-Forwarded-Proto $scheme",
        "X-Forwarded-Host $http_host",
    )
)
"""What requests get on their way; a ``location`` that sets any itself has to repeat them."""


class Nginx(ProgramProxy):
    """One ``location`` per route."""

    name: ClassVar[str] = "nginx"

    @classmethod
    def version(cls) -> str:
        return output_of(find("nginx"), "-v").strip().rpartition("/")[2]

    def program(self) -> Program:
        if self.setup.site.upstream_http2:
            raise UnavailableError("it speaks no HTTP/2 to backends")
        return nginx(self.name, self._content(), self.directory, self.setup.cores.proxy)

    def _content(self) -> str:
        """What is in the ``http`` block."""
        site, certificate = self.setup.site, self.setup.certificate
        # Debian's nginx speaks TLS 1.3 only when asked to; the others do without.
        certificates = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
        tls = f"{certificates} ssl_protocols TLSv1.2 TLSv1.3;" if site.tls else ""
        # No temporary files: a body of 1 MB would otherwise go to disk whenever the client is slower than the backend.
        return f"""
    upstream backend {{
        {self._servers()}
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen 127.0.0.1:{self.port}{" ssl" if site.tls else ""}{" http2" if site.http2 else ""} backlog=4096;
        {tls}
        proxy_http_version 1.1;
        proxy_max_temp_file_size 0;
        {FIELDS}
        {self._policy()}
        {self._locations()}
    }}"""

    def _locations(self) -> str:
        """The routes."""
        return "\n        ".join(
            f"location {prefix} {{ proxy_pass http://backend; }}" for prefix in self.setup.site.prefixes()
        )

    def _servers(self) -> str:
        """The ``server`` lines of the upstream."""
        return f"server 127.0.0.1:{self.setup.backend_port};"

    def _policy(self) -> str:
        """What is to happen when a backend fails; as it comes."""
        return ""

    def data_path(self) -> tuple[int, ...]:
        return children(self.pid)

    def control_path(self) -> tuple[int, ...]:
        return (self.pid,)
