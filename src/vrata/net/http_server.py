"""The HTTP server under the API and the admin port: uvicorn, with the deadlines and manners that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
IDLE_SECONDS = 75
STOP_SECONDS = 3

_log = structlog.get_logger("vrata.server")


class _Protocol(H11Protocol):
    """One connection. A client has :data:`HEADER_SECONDS` to send the head of a request once it has begun to."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            # The idle timer ended with the first byte; a head that comes in drops must not be waited for without end.
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets the API's own error shape."""
        body = b'{"error":"invalid HTTP request"}\n'
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        with contextlib.suppress(h11.LocalProtocolError):  # an answer is under way already: there is nothing to add
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpServer(uvicorn.Server):
    """Serves *app* on sockets that are bound already, until :meth:`stop`.

    Signals are left to the caller, who knows what else has to stop.
    """

    def __init__(self, app: ASGIApp, context: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # X-Forwarded-For would be believed from the machine itself, and addresses in the log be forged.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        config.load()
        config.ssl = context
        super().__init__(config)
        _forward_log()

    def stop(self) -> None:
        """Accept nothing more, let requests finish within :data:`STOP_SECONDS`, then return from ``serve``."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _StructuredLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("server", message=record.getMessage(), exc_info=record.exc_info or None)


def _forward_log() -> None:
    logger = logging.getLogger("uvicorn")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.handlers = [_StructuredLog()]
