"""Snapshots: capture, read, activate, delete. Creating never activates; rolling back is activating an older one."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request, Response

from vrata.controlplane import json_text
from vrata.controlplane.api.body import EncodedResponse, JsonResponse, read_json
from vrata.controlplane.api.collection import not_found
from vrata.controlplane.api.errors import ApiError
from vrata.controlplane.api.openapi import errors, returns, takes
from vrata.controlplane.snapshots.capture import SnapshotCapturer, SnapshotRefusedError
from vrata.controlplane.snapshots.resolution import UnresolvedSecretsError
from vrata.controlplane.store.base import SNAPSHOTS, Store
from vrata.controlplane.store.errors import RecordNotFoundError, StoreFailedError
from vrata.model import InvalidEntity, Problem

SnapshotId = Annotated[str, Path(alias="snapshotId")]

_log = structlog.get_logger("vrata.controlplane")


def snapshots_router(store: Store, capturer: SnapshotCapturer) -> APIRouter:
    """The endpoints of snapshots."""
    router = APIRouter(prefix="/snapshots", tags=[SNAPSHOTS])

    @router.get("", summary="List all snapshots", openapi_extra=returns(200, ["SnapshotSummary"]))
    async def list_all() -> Response:
        catalogue = await store.catalogue()
        summaries = [json_text.load(summary) for summary in catalogue.summaries]
        return JsonResponse([summary | {"active": summary["id"] == catalogue.active_id} for summary in summaries])

    @router.post(
        "",
        summary="Capture everything staged in a new snapshot",
        openapi_extra=takes("SnapshotRequest") | returns(201, "Snapshot") | errors(400, 413),
    )
    async def create(request: Request) -> Response:
        name = _name_in(await read_json(request))
        try:
            snapshot = await capturer.create(name)
        except (UnresolvedSecretsError, SnapshotRefusedError) as error:
            raise ApiError(400, str(error)) from None
        except StoreFailedError as error:
            _log.error("store failed", doing="building snapshot", reason=str(error))
            raise ApiError(500, f"building snapshot: the store failed: {error}") from error
        _log.info("snapshot created", id=snapshot.id, name=name, size=len(snapshot.body))
        for warning in snapshot.warnings[:20]:
            _log.warning("snapshot warning", id=snapshot.id, about=str(warning))
        return EncodedResponse(snapshot.body, 201)

    @router.get("/{snapshotId}", summary="Read a snapshot", openapi_extra=returns(200, "Snapshot") | errors(404))
    async def read(snapshot_id: SnapshotId) -> Response:
        body = await store.read(SNAPSHOTS, snapshot_id)
        if body is None:
            raise not_found("snapshot", snapshot_id)
        return EncodedResponse(body)

    @router.delete("/{snapshotId}", summary="Delete a snapshot", openapi_extra=returns(204) | errors(404))
    async def delete(snapshot_id: SnapshotId) -> Response:
        try:
            was_active = await store.delete(SNAPSHOTS, snapshot_id)
        except RecordNotFoundError:
            raise not_found("snapshot", snapshot_id) from None
        if was_active:
            _log.warning("active snapshot deleted: proxies keep it, new proxies get none", id=snapshot_id)
        return Response(status_code=204)

    @router.post(
        "/{snapshotId}/activate",
        summary="Send this snapshot to every proxy",
        openapi_extra=returns(200, "SnapshotSummary") | errors(404),
    )
    async def activate(snapshot_id: SnapshotId) -> Response:
        try:
            summary = json_text.load(await store.activate(snapshot_id))
        except RecordNotFoundError:
            raise not_found("snapshot", snapshot_id) from None
        _log.info("snapshot activated", id=snapshot_id, name=summary["name"])
        return JsonResponse(summary | {"active": True})

    return router


def _name_in(document: Any) -> str:
    """The name asked for. Raises ``InvalidEntity``, or ``ApiError`` with the fixed text for a missing name."""
    if not isinstance(document, dict):
        raise InvalidEntity([Problem("", "must be an object")])
    name = document.get("name")
    if name is None or (isinstance(name, str) and not name.strip()):
        raise ApiError(400, "name is required")
    problems = [Problem(key, "unknown field") for key in document if key != "name"]
    if not isinstance(name, str):
        problems.insert(0, Problem("name", "must be a string"))
    elif not name.isprintable():
        problems.insert(0, Problem("name", "must not contain control characters"))
    if problems:
        raise InvalidEntity(problems)
    return str(name)
