"""What the middlewares need beside the proxy: an issuer of tokens, Redis, an authorizer, a processor, a collector."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from bench.comparison.nginx_file import nginx
from bench.comparison.workload import Workload
from tests.support.authorizer_messages import message_class
from tests.support.ports import free_port
from tests.support.processors import VrataProcessor
from tests.support.redis_server import RedisServer
from tests.support.tokens import ISSUER, Issuer, jwks, live_claims

TOKENS = 12_000
"""More than a worker remembers, so that none is known when its turn comes again."""
LIFETIME = 3600
"""Seconds for which tokens are good."""

CLASSES = '''\
"""Users' classes: what the least of them would do."""

from vrata.middleware import Middleware, Request, Response


class Plain(Middleware):
    def on_request(self, request: Request) -> None:
        request.headers["X-Tenant"] = request.headers.get("User-Agent", "")

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["X-Served-By"] = "bench"


class Waiting(Middleware):
    async def on_request(self, request: Request) -> None:
        request.headers["X-Tenant"] = request.headers.get("User-Agent", "")

    async def on_response(self, request: Request, response: Response) -> None:
        response.headers["X-Served-By"] = "bench"
'''


class Companions:
    """Everything with which the proxy has to do; a context manager. Programs run on *core*."""

    issuer_name = ISSUER

    def __init__(self, directory: Path, core: int) -> None:
        self._running = ExitStack()
        self.classes = directory / "classes"
        self.classes.mkdir()
        (self.classes / "bench_classes.py").write_text(CLASSES)
        self.log = directory / "access.log"
        self.redis = RedisServer(directory / "redis")
        issuer = Issuer("ES256")
        self.key_set = jwks(issuer.jwk).decode()
        self._issuer = issuer
        self._tokens: list[str] = []
        self._next = 0
        self.port = free_port()
        files = directory / "nginx"
        files.mkdir()
        self._nginx = nginx(
            "services", _SERVER.format(port=self.port, answer=Workload("", "").answer.decode()), files, core
        )
        self._grpc: Any = grpc.server(ThreadPoolExecutor(64))
        self._grpc.add_generic_rpc_handlers(_handlers())
        self.grpc_port: int = self._grpc.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        with ExitStack() as running:
            running.enter_context(self.redis)
            running.callback(self._nginx.stop)
            self._nginx.start(self.port)
            self._grpc.start()
            running.callback(lambda: self._grpc.stop(0).wait())
            self._running = running.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def token(self) -> str:
        """One that is good, always the same."""
        return self._all_tokens()[0]

    def fresh_tokens(self) -> Sequence[str]:
        """All others, the one that has been unused for longest first."""
        tokens = self._all_tokens()[1:]
        return tokens[self._next :] + tokens[: self._next]

    def used(self, number: int) -> None:
        """So many of the last :meth:`fresh_tokens` have been sent."""
        self._next = (self._next + number) % (TOKENS - 1)

    def _all_tokens(self) -> list[str]:
        if not self._tokens:
            expiry = int(time.time()) + LIFETIME
            self._tokens = [
                self._issuer.token(live_claims(exp=expiry, jti=str(number))).decode() for number in range(TOKENS)
            ]
        return self._tokens


_SERVER = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "{answer}"; }}
        location = /check {{ add_header X-User ada; return 200; }}
        location = /process {{
            return 200 '{{"action":"requestHeaders","setHeaders":[{{"key":"X-Seen","value":"yes"}}]}}';
        }}
        location = /v1/traces {{ return 200; }}
    }}"""
"""The backend, the authorizer and the processor of HTTP, and the collector of spans."""


def _handlers() -> list[Any]:
    allowed = bytes(message_class("extauthz.v1.CheckResponse")(allowed=True).SerializeToString())
    passed = [VrataProcessor.answer_to(phase) for phase in ("requestHeaders", "responseHeaders")]

    def check(request: bytes, context: Any) -> bytes:
        return allowed

    def process(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for _, answer in zip(requests, passed, strict=False):
            yield answer

    return [
        grpc.method_handlers_generic_handler(
            "extauthz.v1.Authorizer", {"Check": grpc.unary_unary_rpc_method_handler(check)}
        ),
        grpc.method_handlers_generic_handler(
            "extproc.v1.Processor", {"Process": grpc.stream_stream_rpc_method_handler(process)}
        ),
    ]
