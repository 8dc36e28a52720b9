"""A server of the health checking protocol as everybody runs it: that of grpcio."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.support.certificates import Certificate


class GrpcHealthServer:
    """Listens on a loopback port, with TLS if there is a *certificate*; a context manager."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self._servicer: Any = health.HealthServicer()
        self._server: Any = grpc.server(ThreadPoolExecutor(4))
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        if certificate is None:
            self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        else:
            pair = (certificate.key_text.encode(), certificate.cert_text.encode())
            self.port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def be(self, status: str, service: str = "") -> None:
        """Say *status* of *service* from now on; empty = of the whole server."""
        self._servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.stop(0).wait()
