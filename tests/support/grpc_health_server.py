"""A server of the health checking protocol as everybody runs it: that of grpcio."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.support.certificates import Certificate
from tests.support.grpc_service import GrpcServer


class GrpcHealthServer(GrpcServer):
    """Says of each service what the test wants."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(certificate)
        self._servicer: Any = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)

    def be(self, status: str, service: str = "") -> None:
        """Say *status* of *service* from now on; empty = of the whole server."""
        self._servicer.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
