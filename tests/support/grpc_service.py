"""Servers of grpcio for tests."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc

from tests.support.certificates import Certificate


class GrpcServer:
    """Listens on a loopback port, with TLS if there is a *certificate*; a context manager."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self._server: Any = grpc.server(ThreadPoolExecutor(4))
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

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.stop(0).wait()


class GrpcService(GrpcServer):
    """Methods that take and give bytes, unless their handlers say otherwise."""

    def __init__(self, methods: Mapping[str, Mapping[str, Any]], certificate: Certificate | None = None) -> None:
        """*methods* are handlers of grpcio, by service and then by name of the method."""
        super().__init__(certificate)
        handlers = [grpc.method_handlers_generic_handler(service, found) for service, found in methods.items()]
        self._server.add_generic_rpc_handlers(handlers)
