"""HAProxy: one process with one thread."""

from __future__ import annotations

from typing import ClassVar

from bench.comparison.program import Program, find, output_of
from bench.comparison.proxies.proxy import ProgramProxy


class Haproxy(ProgramProxy):
    """Routes are the lines of a map from path prefixes to backends, which is how HAProxy does many of them."""

    name: ClassVar[str] = "haproxy"

    @classmethod
    def version(cls) -> str:
        return output_of(find("haproxy"), "-v").split()[2]

    def program(self) -> Program:
        site = self.setup.site
        tls = f" ssl crt {self.setup.certificate.combined}" if site.tls else ""
        if site.http2:
            tls += " alpn h2,http/1.1" if site.tls else " proto h2"
        routing = "default_backend main"
        if site.routes > 1:
            prefixes = self.directory / "prefixes.map"
            prefixes.write_text("".join(f"{prefix} main\n" for prefix in site.prefixes()))
            routing = f"use_backend %[path,map_beg({prefixes})]"
        path = self.directory / "haproxy.cfg"
        path.write_text(
            f"""
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    option forwardfor
    http-reuse always
frontend main
    bind 127.0.0.1:{self.port} backlog 4096{tls}
    http-request set-header X-Forwarded-Proto {site.scheme}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    {routing}
backend main
    {self._servers()}
"""
        )
        return Program(self.name, [find("haproxy"), "-db", "-f", str(path)], self.directory, self.setup.cores.proxy)

    def _servers(self) -> str:
        """What is in the section of the backend."""
        http2 = " proto h2" if self.setup.site.upstream_http2 else ""
        return f"server backend 127.0.0.1:{self.setup.backend_port}{http2}"
