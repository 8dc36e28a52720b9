"""What a middleware of your own inherits."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from vrata.middleware.request import Request
from vrata.middleware.response import Response


class Middleware:
    """A middleware of your own: override what you need, as a plain method or as ``async def``.

    Each worker process of a proxy makes one object for each middleware entity that names the class, when it first needs
    it, and keeps it over changes of the configuration, until the entity itself changes. All requests of the
    worker use it, in one thread: a plain method that blocks keeps every other request of that worker waiting.

    An exception is an error of the middleware: it is counted and logged, and the request is answered with 500, or goes
    on where ``failureMode`` is ``allow``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """*settings* is what the entity says under ``settings``, with secrets resolved.

        Whatever is raised here makes the middleware unavailable: its requests are answered with 500, and the proxy's
        status names the reason.
        """
        self.settings = settings

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Look at *request*, and change its headers, before it goes on.

        Returns a response to answer it there and then, or None to let it go on.
        """
        return None

    def on_response(self, request: Request, response: Response) -> Response | Awaitable[Response | None] | None:
        """Look at *response*, and change it, before it goes to the client.

        Called for everything that answers a request which went on: the upstream's response, that of an inner
        middleware, and an error of the proxy; not for one that ``on_request`` has answered, and not for an upgrade to
        WebSocket. Returns a response to send instead, or None to go on with *response*.
        """
        return None

    def close(self) -> Awaitable[None] | None:
        """Release what the object holds: nothing of the configuration names it any more, and no request is in it."""
        return None
