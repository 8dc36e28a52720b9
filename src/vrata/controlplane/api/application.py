"""The API as one ASGI application."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from vrata.controlplane.api.collection import collection_router
from vrata.controlplane.api.debug import debug_router
from vrata.controlplane.api.docs import docs_router
from vrata.controlplane.api.endpoints import endpoints_router
from vrata.controlplane.api.errors import add_error_handlers
from vrata.controlplane.api.explain import explain_router
from vrata.controlplane.api.layers import Authentication, HeadRequests, Recovery, RequestLog
from vrata.controlplane.api.listener_status import listener_status_router
from vrata.controlplane.api.openapi import PREFIX
from vrata.controlplane.api.secrets import secrets_router
from vrata.controlplane.api.snapshots import snapshots_router
from vrata.controlplane.api.sync import sync_router
from vrata.controlplane.auth import Authenticator
from vrata.controlplane.explanations import Explainer, Explanations
from vrata.controlplane.proxies import ProxyRegistry
from vrata.controlplane.snapshots.capture import SnapshotCapturer
from vrata.controlplane.store.base import Store
from vrata.controlplane.sync import SnapshotFeed
from vrata.model import Destination, Listener, Middleware, Route, RouteGroup
from vrata.observability.tasks import TaskSupervisor

_COLLECTIONS = (Listener, Destination, Route, RouteGroup, Middleware)


def build(
    store: Store,
    capturer: SnapshotCapturer,
    feed: SnapshotFeed,
    registry: ProxyRegistry,
    authenticator: Authenticator,
    tasks: TaskSupervisor,
    explainer: Explainer,
) -> ASGIApp:
    """The application over these parts, which stay the caller's to close."""
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: "_".join([route.name, *map(str, route.tags)]),
    )
    add_error_handlers(app)
    routers: list[APIRouter] = [
        *(collection_router(entity, store) for entity in _COLLECTIONS),
        listener_status_router(store, registry),
        endpoints_router(store, registry),
        secrets_router(store),
        snapshots_router(store, capturer),
        sync_router(feed, registry, tasks),
        debug_router(store),
        explain_router(Explanations(store, capturer, explainer)),
        docs_router(app),
    ]
    for router in routers:
        app.include_router(router, prefix=PREFIX)
    return Recovery(RequestLog(Authentication(HeadRequests(app), authenticator)))
