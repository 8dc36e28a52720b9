"""Secrets: like the other entities, but the value is shown only to who asks for one of them by id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request, Response

from vrata.controlplane import json_text
from vrata.controlplane.api.body import EncodedResponse, read_json
from vrata.controlplane.api.collection import already_exists, entity_record, name_taken
from vrata.controlplane.api.errors import ApiError
from vrata.controlplane.api.openapi import errors, returns, takes
from vrata.controlplane.identity import new_id
from vrata.controlplane.json_text import InvalidJsonError
from vrata.controlplane.store.base import SECRETS, Record, Store
from vrata.controlplane.store.errors import NameTakenError, RecordExistsError, RecordNotFoundError, StoreFailedError
from vrata.model import Secret

SecretId = Annotated[str, Path(alias="secretId")]

_log = structlog.get_logger("vrata.controlplane")


def secrets_router(store: Store) -> APIRouter:
    """The endpoints of secrets."""
    router = APIRouter(prefix="/secrets", tags=[SECRETS])

    @router.get("", summary="List all secrets, without values", openapi_extra=returns(200, ["SecretSummary"]))
    async def list_all() -> Response:
        with _failing_as("listing secrets"):
            return EncodedResponse(json_text.join(await store.summaries(SECRETS)))

    @router.post(
        "",
        summary="Create a secret",
        openapi_extra=takes("Secret") | returns(201, "SecretSummary") | errors(400, 409, 413),
    )
    async def create(request: Request) -> Response:
        secret = await _read_secret(request)
        record = _record(secret, secret.id or new_id())
        try:
            with _failing_as("saving secret"):
                await store.create(SECRETS, record)
        except RecordExistsError:
            raise already_exists("secret", record.id) from None
        except NameTakenError:
            raise name_taken("secret") from None
        return EncodedResponse(record.summary, 201)

    @router.get(
        "/{secretId}", summary="Read a secret with its value", openapi_extra=returns(200, "Secret") | errors(404)
    )
    async def read(secret_id: SecretId) -> Response:
        with _failing_as("reading secret"):
            body = await store.read(SECRETS, secret_id)
        if body is None:
            raise _not_found()
        return EncodedResponse(body)

    @router.put(
        "/{secretId}",
        summary="Replace a secret",
        openapi_extra=takes("Secret") | returns(200, "SecretSummary") | errors(400, 404, 409, 413),
    )
    async def replace(secret_id: SecretId, request: Request) -> Response:
        with _failing_as("reading secret"):
            exists = await store.contains(SECRETS, secret_id)
        if not exists:
            raise _not_found()
        record = _record(await _read_secret(request), secret_id)
        try:
            with _failing_as("saving secret"):
                await store.replace(SECRETS, record)
        except RecordNotFoundError:
            raise _not_found() from None
        except NameTakenError:
            raise name_taken("secret") from None
        return EncodedResponse(record.summary)

    @router.delete("/{secretId}", summary="Delete a secret", openapi_extra=returns(204) | errors(404))
    async def delete(secret_id: SecretId) -> Response:
        try:
            with _failing_as("deleting secret"):
                await store.delete(SECRETS, secret_id)
        except RecordNotFoundError:
            raise _not_found() from None
        return Response(status_code=204)

    return router


async def _read_secret(request: Request) -> Secret:
    try:
        document: Any = await read_json(request)
    except InvalidJsonError:
        # Without the detail: nothing of what should have been a secret is repeated.
        raise ApiError(400, "invalid request body") from None
    return Secret.parse(document)


def _record(secret: Secret, id: str) -> Record:  # noqa: A002
    return entity_record(secret, id, summary=json_text.encode({"id": id, "name": secret.name}))


def _not_found() -> ApiError:
    return ApiError(404, "secret not found")


@contextlib.contextmanager
def _failing_as(text: str) -> Iterator[None]:
    try:
        yield
    except StoreFailedError as error:
        _log.error("store failed", doing=text, reason=str(error))
        raise ApiError(500, text) from error
