"""Every answer that is not a success: one shape, one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from vrata.controlplane.api.body import (
    BODY_SECONDS,
    MOST_BODY_BYTES,
    BodyTooLargeError,
    BodyTooSlowError,
    JsonResponse,
)
from vrata.controlplane.json_text import InvalidJsonError
from vrata.controlplane.store.errors import StoreFailedError
from vrata.model import InvalidEntity

UNEXPECTED = "an unexpected error occurred"

Handler = Callable[[Request, Any], Awaitable[Response]]

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")

_log = structlog.get_logger("vrata.controlplane")


class ApiError(Exception):
    """A request that gets no success: *status* and *text* are the answer."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


def error_response(status: int, text: str, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """The answer for an error."""
    return JsonResponse({"error": text}, status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Let *app* answer everything that its resources raise."""

    async def api_error(_: Request, error: ApiError) -> Response:
        return error_response(error.status, error.text, error.headers)

    async def http_exception(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allowed = ", ".join(_allowed_methods(app, request.scope))
            return error_response(405, f"{request.url.path} allows {allowed}", {"Allow": allowed})
        if error.status_code == 404:
            return error_response(404, f"{request.url.path} does not exist")
        return error_response(error.status_code, str(error.detail), error.headers)

    async def store_failure(_: Request, error: StoreFailedError) -> Response:
        _log.error("store failed", reason=str(error))
        return error_response(500, f"the store failed: {error}")

    def answers(status: int, template: str) -> Handler:
        async def handler(_: Request, error: Exception) -> Response:
            return error_response(status, template.format(error))

        return handler

    handlers: dict[type[Exception], Handler] = {
        ApiError: api_error,
        HTTPException: http_exception,
        InvalidJsonError: answers(400, "invalid request body: {}"),
        InvalidEntity: answers(400, "{}"),
        BodyTooLargeError: answers(413, f"the request body is larger than {MOST_BODY_BYTES} bytes"),
        BodyTooSlowError: answers(408, f"the request body did not arrive within {BODY_SECONDS:g} s"),
        ClientDisconnect: answers(400, "the client closed the connection"),
        StoreFailedError: store_failure,
        Exception: answers(500, UNEXPECTED),
    }
    for exception, handler in handlers.items():
        app.add_exception_handler(exception, handler)


def _allowed_methods(app: FastAPI, scope: Mapping[str, Any]) -> list[str]:
    # The framework's own Allow names the methods of the first route on this path only.
    def is_allowed(method: str) -> bool:
        asked = {**scope, "method": "GET" if method == "HEAD" else method}
        return any(route.matches(asked)[0] is Match.FULL for route in app.router.routes)

    return [method for method in _METHODS if is_allowed(method)]
