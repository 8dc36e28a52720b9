"""The services of gRPC: an authorizer and a processor that let everything pass, by both contracts, and count."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from tests.support.authorizer_messages import message_class
from tests.support.processors import EnvoyProcessor, VrataProcessor

REFUSED = "refused"
"""Authorizers refuse this User-Agent."""

_AUTHORIZERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "ext-authz-grpc": ("extauthz.v1.Authorizer", {"allowed": True}, {"allowed": False}),
    "ext-authz-envoy": (
        "envoy.service.auth.v3.Authorization",
        {"ok_response": {}},
        {"status": {"code": grpc.StatusCode.PERMISSION_DENIED.value[0]}, "denied_response": {}},
    ),
}
"""By subject: the service, and the fields of both of its answers."""
_PROCESSORS = {"ext-proc-grpc": VrataProcessor, "ext-proc-envoy": EnvoyProcessor}


class Calls:
    """Counts the calls by the names of the subjects whose contracts they have."""

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __contains__(self, name: object) -> bool:
        return name in _AUTHORIZERS or name in _PROCESSORS

    def __getitem__(self, name: str) -> int:
        """How many there have been of subject *name*."""
        return self._counted[name]

    def handlers(self) -> list[Any]:
        """For a server of grpcio."""
        found = []
        for name, (service, on_allow, on_deny) in _AUTHORIZERS.items():
            response = message_class(f"{service.rpartition('.')[0]}.CheckResponse")
            allowed, denied = (bytes(response(**each).SerializeToString()) for each in (on_allow, on_deny))
            handler = grpc.unary_unary_rpc_method_handler(self._check(name, allowed, denied))
            found.append(grpc.method_handlers_generic_handler(service, {"Check": handler}))
        for name, processor in _PROCESSORS.items():
            passed = [processor.answer_to(phase) for phase in ("requestHeaders", "responseHeaders")]
            streamed = grpc.stream_stream_rpc_method_handler(self._process(name, passed))
            found.append(grpc.method_handlers_generic_handler(processor.service, {"Process": streamed}))
        return found

    def _check(self, name: str, allowed: bytes, denied: bytes) -> Callable[[bytes, Any], bytes]:
        mark = REFUSED.encode()

        def check(request: bytes, context: Any) -> bytes:
            self._count(name)
            return denied if mark in request else allowed

        return check

    def _process(self, name: str, passed: list[bytes]) -> Callable[[Iterator[bytes], Any], Iterator[bytes]]:
        def process(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            self._count(name)
            for _, answer in zip(requests, passed, strict=False):
                yield answer

        return process

    def _count(self, name: str) -> None:
        with self._lock:
            self._counted[name] += 1
