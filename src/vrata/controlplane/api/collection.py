"""Listeners, destinations, routes, groups and middlewares: five collections with the same behaviour."""

from __future__ import annotations

from fastapi import APIRouter, Path, Request, Response

from vrata.controlplane import json_text
from vrata.controlplane.api.body import EncodedResponse, read_json
from vrata.controlplane.api.errors import ApiError
from vrata.controlplane.api.openapi import errors, returns, takes
from vrata.controlplane.identity import new_id
from vrata.controlplane.store.base import Record, Store
from vrata.controlplane.store.errors import NameTakenError, RecordExistsError, RecordNotFoundError
from vrata.model import Entity


def collection_router(entity_class: type[Entity], store: Store) -> APIRouter:
    """The endpoints of one kind of entity."""
    kind, collection, schema = entity_class.kind, entity_class.collection, entity_class.__name__
    router = APIRouter(prefix=f"/{collection}", tags=[collection])
    one = f"/{{{kind}Id}}"
    # As a default and not in the annotation: the framework evaluates annotations outside of this function.
    path_id = Path(alias=f"{kind}Id")

    @router.get("", summary=f"List all {collection}", openapi_extra=returns(200, [schema]))
    async def list_all() -> Response:
        return EncodedResponse(json_text.join((await store.bodies(collection))[collection]))

    @router.post(
        "", summary=f"Create a {kind}", openapi_extra=takes(schema) | returns(201, schema) | errors(400, 409, 413)
    )
    async def create(request: Request) -> Response:
        entity = entity_class.parse(await read_json(request))
        record = entity_record(entity, entity.id or new_id())
        try:
            await store.create(collection, record)
        except RecordExistsError:
            raise already_exists(kind, record.id) from None
        except NameTakenError:
            raise name_taken(kind) from None
        return EncodedResponse(record.body, 201)

    @router.get(one, summary=f"Read a {kind}", openapi_extra=returns(200, schema) | errors(404))
    async def read(id: str = path_id) -> Response:  # noqa: A002
        body = await store.read(collection, id)
        if body is None:
            raise not_found(kind, id)
        return EncodedResponse(body)

    @router.put(
        one,
        summary=f"Replace a {kind} wholly",
        openapi_extra=takes(schema) | returns(200, schema) | errors(400, 404, 409, 413),
    )
    async def replace(request: Request, id: str = path_id) -> Response:  # noqa: A002
        if not await store.contains(collection, id):
            raise not_found(kind, id)
        entity = entity_class.parse(await read_json(request))
        record = entity_record(entity, id)
        try:
            await store.replace(collection, record)
        except RecordNotFoundError:
            raise not_found(kind, id) from None
        except NameTakenError:
            raise name_taken(kind) from None
        return EncodedResponse(record.body)

    @router.delete(one, summary=f"Delete a {kind}", openapi_extra=returns(204) | errors(404))
    async def delete(id: str = path_id) -> Response:  # noqa: A002
        try:
            await store.delete(collection, id)
        except RecordNotFoundError:
            raise not_found(kind, id) from None
        return Response(status_code=204)

    return router


def entity_record(entity: Entity, id: str, summary: bytes = b"") -> Record:  # noqa: A002
    """What the store keeps of *entity* under *id*, whatever id the entity itself brought."""
    return Record(id, entity.name, json_text.encode(entity.with_id(id).document()), summary)


def not_found(kind: str, id: str) -> ApiError:  # noqa: A002
    """The 404 for an entity or snapshot."""
    return ApiError(404, f'{kind} "{id}": resource not found')


def already_exists(kind: str, id: str) -> ApiError:  # noqa: A002
    """The 409 for a client-chosen id that is taken."""
    return ApiError(409, f'{kind} "{id}" already exists')


def name_taken(kind: str) -> ApiError:
    """The 409 for a name that is taken."""
    return ApiError(409, f"a {kind} with the same name already exists")
