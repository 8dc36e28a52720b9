"""The endpoints of a destination as every proxy sees them: what stands against each, and what it carries."""

from __future__ import annotations

from fastapi import APIRouter, Path, Response

from vrata.controlplane.api.body import JsonResponse
from vrata.controlplane.api.collection import not_found
from vrata.controlplane.api.openapi import errors, returns
from vrata.controlplane.proxies import ProxyRegistry
from vrata.controlplane.store.base import Store
from vrata.model import Destination


def endpoints_router(store: Store, registry: ProxyRegistry) -> APIRouter:
    """The endpoint of destinations that the other kinds of entities do not have."""
    router = APIRouter(prefix=f"/{Destination.collection}", tags=[Destination.collection])
    path_id = Path(alias="destinationId")

    @router.get(
        "/{destinationId}/endpoints",
        summary="Tell how the endpoints of a destination are on every proxy",
        openapi_extra=returns(200, "DestinationEndpoints") | errors(404),
    )
    async def endpoints(id: str = path_id) -> Response:  # noqa: A002
        found = registry.destination_endpoints(id)
        # Proxies may serve one that is not staged any more.
        is_served = any(proxy.state != "absent" for proxy in found.proxies)
        if not is_served and not await store.contains(Destination.collection, id):
            raise not_found(Destination.kind, id)
        return JsonResponse(found.model_dump(mode="json", by_alias=True))

    return router
