"""A client of the interop service on its way through a gateway, by grpcio."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.support import tls_listener, tls_upstream
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.interop_service import SERVICE, InteropServer

SOON = 20
"""Seconds after which a call that does not end fails its test."""


def http2_destination(port: int, *, secured: bool = False, **options: Any) -> dict[str, Any]:
    document = tls_upstream.secured(port) if secured else destination("backend", port)
    document["options"] = {**document.get("options", {}), "http2": True, **options}
    return document


def configure(gateway: Gateway, port: int, document: dict[str, Any], *, tls: bool = False, **settings: Any) -> None:
    """Forward all calls to the destination in *document*; *settings* are those of the forward action."""
    members: dict[str, Any] = {"tls": tls_listener.terminating()} if tls else {}
    gateway.configure(
        listeners=[listener(port, http2=True, **members)],
        destinations=[document],
        routes=[route("calls", {"grpc": True}, forward=forward("backend", **settings))],
    )


def channel(port: int, *, tls: bool = False, **options: Any) -> Any:
    """A channel of its own connection to *port*."""
    arguments = [("grpc.use_local_subchannel_pool", 1), *options.items()]
    address = f"127.0.0.1:{port}"
    if not tls:
        return grpc.insecure_channel(address, options=arguments)
    credentials = grpc.ssl_channel_credentials(tls_listener.authority().cert_text.encode())
    return grpc.secure_channel(address, credentials, [*arguments, ("grpc.ssl_target_name_override", "proxy.test")])


class Client:
    """The methods of the service, and the server that is behind them."""

    def __init__(self, opened: Any, server: InteropServer) -> None:
        self.channel = opened
        self.server = server

    def unary(self, request: bytes = b"", method: str = "UnaryCall", service: str = SERVICE, **settings: Any) -> Any:
        """The result of a call with one message each way, and the call."""
        found = self.channel.unary_unary(f"/{service}/{method}")
        return found.with_call(request, **{"timeout": SOON, **settings})

    def stream_in(self, requests: Iterator[bytes], **settings: Any) -> Any:
        return self.channel.stream_unary(f"/{SERVICE}/StreamingInputCall").future(
            requests, **{"timeout": SOON, **settings}
        )

    def stream_out(self, request: bytes, **settings: Any) -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/StreamingOutputCall")(request, **{"timeout": SOON, **settings})

    def full_duplex(self, requests: Iterator[bytes], **settings: Any) -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/FullDuplexCall")(requests, **{"timeout": SOON, **settings})


def failure(call: Callable[[], Any]) -> tuple[str, str]:
    """The status of a *call* that has to fail: name of the code, and message."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value.code().name, failed.value.details()


class Requests:
    """The requests of a client that goes on when it wants to."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._queue.get, None)

    def send(self, request: bytes) -> None:
        self._queue.put(request)

    def end(self) -> None:
        self._queue.put(None)
