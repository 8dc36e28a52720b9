"""A dump of what is staged: references to secrets as they are, no secrets, no snapshots."""

from __future__ import annotations

from fastapi import APIRouter, Response

from vrata.controlplane import json_text
from vrata.controlplane.api.body import EncodedResponse
from vrata.controlplane.api.openapi import returns
from vrata.controlplane.store.base import Store

_COLLECTIONS = ("listeners", "destinations", "routes", "groups", "middlewares")


def debug_router(store: Store) -> APIRouter:
    """The endpoint ``/debug/config``."""
    router = APIRouter(prefix="/debug", tags=["debug"])

    @router.get("/config", summary="Dump everything staged", openapi_extra=returns(200, "StagedEntities"))
    async def config() -> Response:
        staged = await store.bodies(*_COLLECTIONS)
        members = (json_text.encode(name) + b":" + json_text.join(staged[name]) for name in _COLLECTIONS)
        return EncodedResponse(b"{" + b",".join(members) + b"}")

    return router
