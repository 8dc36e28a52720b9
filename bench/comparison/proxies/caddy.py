"""Caddy: one process; Go runs its code on one core at a time."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from bench.comparison.program import Program, UnavailableError, find, output_of
from bench.comparison.proxies.proxy import ProgramProxy


class Caddy(ProgramProxy):
    """Routes that name the one taken, then one reverse proxy for all: a proxy per route would be a pool per route."""

    name: ClassVar[str] = "caddy"

    @classmethod
    def version(cls) -> str:
        return output_of(find("caddy"), "version").split()[0]

    def program(self) -> Program:
        path = self.directory / "caddy.json"
        path.write_text(json.dumps(self._configuration()))
        home = str(self.directory)
        return Program(
            self.name,
            [find("caddy"), "run", "--config", str(path)],
            self.directory,
            self.setup.cores.proxy,
            {"GOMAXPROCS": "1", "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home},
        )

    def _configuration(self) -> dict[str, Any]:
        site, certificate = self.setup.site, self.setup.certificate
        if site.http2 or site.upstream_http2:
            raise UnavailableError("its HTTP/2 is not part of the comparison")
        routes: list[dict[str, Any]] = []
        if site.routes > 1:
            routes = [
                {
                    "group": "routes",
                    "match": [{"path": [f"{prefix}/*"]}],
                    "handle": [{"handler": "vars", "route": prefix}],
                }
                for prefix in site.prefixes()
            ]
        routes.append({"handle": [self._reverse_proxy()]})
        server: dict[str, Any] = {
            "listen": [f"127.0.0.1:{self.port}"],
            "protocols": ["h1"],
            "automatic_https": {"disable": True},
            "routes": routes,
        }
        apps: dict[str, Any] = {"http": {"servers": {"main": server}}}
        if site.tls:
            server["tls_connection_policies"] = [{}]
            files = [{"certificate": str(certificate.chain), "key": str(certificate.key)}]
            apps["tls"] = {"certificates": {"load_files": files}}
        return {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "storage": {"module": "file_system", "root": str(self.directory)},
            "apps": apps,
        }

    def _reverse_proxy(self) -> dict[str, Any]:
        # It sets the X-Forwarded fields by itself. With compression it would ask the backend for gzip, which the others
        # do not.
        transport = {
            "protocol": "http",
            "compression": False,
            "keep_alive": {"enabled": True, "max_idle_conns_per_host": 256, "idle_timeout": "300s"},
        }
        upstreams = [{"dial": f"127.0.0.1:{self.setup.backend_port}"}]
        return {"handler": "reverse_proxy", "transport": transport, "upstreams": upstreams}
