"""What every request passes on its way to a resource, outermost first: recovery, log, authentication, HEAD.

Plain ASGI: the framework's middleware base class would put a task and a queue between a stream and its client.
"""

from __future__ import annotations

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrata.controlplane.api.errors import UNEXPECTED, error_response
from vrata.controlplane.auth import Authenticator, RefusedError

IS_HEAD = "vrata.is_head"
"""Set in the scope of a HEAD request, which looks like GET to the resources."""

_log = structlog.get_logger("vrata.controlplane")


def _target(scope: Scope) -> str:
    # As it was sent, percent-encoded: decoded, it could carry control sequences into whoever reads the log.
    return str(scope["raw_path"].decode("ascii", "replace"))


class Recovery:
    """A crash ends one request, not the connection: it is logged and answered with 500 if nothing was sent yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watch(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # noqa: BLE001 - this is the last resort for every request
            _log.error("request crashed", method=scope["method"], path=_target(scope), exc_info=error)
            if not has_started:
                await error_response(500, UNEXPECTED)(scope, receive, send)


class RequestLog:
    """One line per request: method, path, status and duration. A stream's line is written when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            # Every proxy acknowledges every ten seconds: as information this would drown everything else.
            is_heartbeat = status == 204 and scope["path"].startswith("/api/v1/sync/")
            write = _log.debug if is_heartbeat else _log.info
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            write("request", method=scope["method"], path=_target(scope), status=status, ms=milliseconds)


class Authentication:
    """Lets in who presents a configured key; everybody, if none is configured."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or self._authenticator.is_open:
            await self._app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else ""
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        try:
            key_name = self._authenticator.authenticate(authorization)
        except RefusedError as error:
            # Never the credentials: a mistyped key is nearly a key.
            _log.warning("request refused", client=client, path=_target(scope), reason=str(error))
            await error_response(401, str(error), {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        _log.debug("request authenticated", client=client, key=key_name)
        await self._app(scope, receive, send)


class HeadRequests:
    """Answers HEAD wherever GET is answered: the same status and headers, without the body (RFC 9110 §9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", IS_HEAD: True}, receive, without_body)
