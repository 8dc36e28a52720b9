"""What has become of a listener on the proxies: bound or not, its certificates, what is wrong with it."""

from __future__ import annotations

from fastapi import APIRouter, Path, Response

from vrata.controlplane.api.body import JsonResponse
from vrata.controlplane.api.collection import not_found
from vrata.controlplane.api.openapi import errors, returns
from vrata.controlplane.proxies import ProxyRegistry
from vrata.controlplane.store.base import Store
from vrata.model import Listener


def listener_status_router(store: Store, registry: ProxyRegistry) -> APIRouter:
    """The endpoint of listeners that the other kinds of entities do not have."""
    router = APIRouter(prefix=f"/{Listener.collection}", tags=[Listener.collection])
    path_id = Path(alias="listenerId")

    @router.get(
        "/{listenerId}/status",
        summary="Tell how a listener is on every proxy",
        openapi_extra=returns(200, "ListenerStatus") | errors(404),
    )
    async def status(id: str = path_id) -> Response:  # noqa: A002
        found = registry.listener_status(id)
        # Proxies may serve one that is not staged any more.
        is_served = any(proxy.state != "absent" for proxy in found.proxies)
        if not is_served and not await store.contains(Listener.collection, id):
            raise not_found(Listener.kind, id)
        return JsonResponse(found.model_dump(mode="json", by_alias=True))

    return router
