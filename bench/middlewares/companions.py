"""What the middlewares need beside the proxy: an issuer of tokens, Redis, an authorizer, a processor, a collector."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from bench.comparison.nginx_file import nginx
from bench.comparison.workload import Workload
from bench.middlewares.calls import REFUSED, Calls
from tests.support.ports import free_port
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
        self.redis = RedisServer(directory / "redis")
        issuer = Issuer("ES256")
        self.key_set = jwks(issuer.jwk).decode()
        self._issuer = issuer
        self._tokens: list[str] = []
        self._next: Counter[str] = Counter()
        self.port = free_port()
        files = directory / "nginx"
        files.mkdir()
        self.exports = files / "exports.log"
        self._nginx = nginx("services", services(self.port, self.exports), files, core)
        self._grpc: Any = grpc.server(ThreadPoolExecutor(64))
        self.calls = Calls()
        self._grpc.add_generic_rpc_handlers(self.calls.handlers())
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

    def fresh_tokens(self, proxy: str) -> Sequence[str]:
        """All others, the one that *proxy* has not seen for longest first."""
        tokens, first = self._all_tokens()[1:], self._next[proxy]
        return tokens[first:] + tokens[:first]

    def used(self, proxy: str, number: int) -> None:
        """So many of the last :meth:`fresh_tokens` have been sent to *proxy*."""
        self._next[proxy] = (self._next[proxy] + number) % (TOKENS - 1)

    def _all_tokens(self) -> list[str]:
        if not self._tokens:
            expiry = int(time.time()) + LIFETIME
            self._tokens = [
                self._issuer.token(live_claims(exp=expiry, jti=str(number))).decode() for number in range(TOKENS)
            ]
        return self._tokens


ECHO = "echo"
"""The query of requests that are answered with what the backend has got."""
ECHOED = ("user-agent", "authorization", "via", "x-env", "x-original", "x-user", "x-seen", "x-tenant", "traceparent")
"""The fields in that answer, one ``name=value`` per line."""
_SEEN = '{"action":"requestHeaders","setHeaders":[{"key":"X-Seen","value":"yes"}]}'
_SEEN_BY_ENVOY = json.dumps(
    {
        "requestHeaders": {
            "response": {
                "headerMutation": {
                    "setHeaders": [{"header": {"key": "x-seen", "rawValue": b64encode(b"yes").decode()}}],
                }
            }
        }
    }
)


def services(port: int, log: Path) -> str:
    """What is in the ``http`` block: the backend, the authorizer and the processors of HTTP, and the collector.

    *log* has a line for each request with spans that the collector has got: who sent it.
    """
    echoed = "".join(f"{name}=$http_{name.replace('-', '_')}\\n" for name in ECHOED)
    return f"""
    log_format spans "$http_user_agent";
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            if ($args = {ECHO}) {{ return 200 "{echoed}"; }}
            return 200 "{Workload("", "").answer.decode()}";
        }}
        location ^~ /check {{
            if ($http_user_agent = {REFUSED}) {{ return 403; }}
            add_header X-User ada;
            return 200;
        }}
        location = /process {{ return 200 '{_SEEN}'; }}
        location = /process-envoy {{ return 200 '{_SEEN_BY_ENVOY}'; }}
        location = /v1/traces {{ access_log {log} spans; return 200; }}
    }}"""
