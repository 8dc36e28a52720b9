"""The API described: an OpenAPI document for machines and an explorer for people, without the Internet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Response
from starlette.responses import HTMLResponse, RedirectResponse

from vrata.controlplane import json_text
from vrata.controlplane.api.openapi import PREFIX, TITLE, document

# Nothing from elsewhere and no inline script. Swagger UI sets styles inline and draws its icons from data: URLs.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
<div id="explorer"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="explorer.js"></script>
</body>
</html>
"""

_SCRIPT = """SwaggerUIBundle({
  url: "doc.json",
  dom_id: "#explorer",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: true,
});
"""

_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


def docs_router(app: FastAPI) -> APIRouter:
    """The endpoints below ``/docs/``, which describe *app*."""
    router = APIRouter(prefix="/docs", include_in_schema=False)

    # Made on first demand, as only then all endpoints exist.
    @lru_cache(maxsize=1)
    def described() -> bytes:
        return json_text.encode(document(app)) + b"\n"

    @router.get("/doc.json")
    async def machine_readable() -> Response:
        return Response(described(), media_type="application/json; charset=utf-8")

    @router.get("")
    async def without_slash() -> Response:
        return RedirectResponse(f"{PREFIX}/docs/")

    @router.get("/")
    @router.get("/index.html")
    async def explorer() -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @router.get("/explorer.js")
    async def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript")

    for name, media_type in _ASSETS.items():
        router.add_api_route(f"/{name}", _asset_endpoint(name, media_type), name=name)
    return router


def _asset_endpoint(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def asset() -> Response:
        return Response(_asset(name), media_type=media_type, headers={"Cache-Control": "max-age=86400"})

    return asset


@lru_cache(maxsize=len(_ASSETS))
def _asset(name: str) -> bytes:
    # The package is used for the files of Swagger UI that it carries, not for its code.
    return (files("fastapi_offline") / "static" / name).read_bytes()
