"""What proxies ask for and say: the stream of the active snapshot, acknowledgements, and the list of proxies."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.types import Receive, Scope, Send

from vrata.controlplane.api.body import JsonResponse, read_json
from vrata.controlplane.api.errors import ApiError
from vrata.controlplane.api.layers import IS_HEAD
from vrata.controlplane.api.openapi import errors, returns, returns_event_stream, takes
from vrata.controlplane.proxies import Acknowledgement, ProxyId, ProxyRegistry, TooManyProxiesError
from vrata.controlplane.sync import SnapshotFeed, Subscription
from vrata.observability.tasks import TaskSupervisor

_STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "Connection": "keep-alive",
    # Reverse proxies of the nginx family would collect events before passing them on.
    "X-Accel-Buffering": "no",
}

_proxy_id: TypeAdapter[str] = TypeAdapter(ProxyId)
_log = structlog.get_logger("vrata.controlplane")


class EventStream(Response):
    """Sends the feed's events to one client until the client leaves or the feed closes."""

    def __init__(
        self, feed: SnapshotFeed, registry: ProxyRegistry, proxy_id: str | None, tasks: TaskSupervisor
    ) -> None:
        super().__init__(headers=_STREAM_HEADERS)
        del self.headers["content-length"]
        self._feed = feed
        self._registry = registry
        self._proxy_id = proxy_id
        self._tasks = tasks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        with contextlib.ExitStack() as presence:
            if self._proxy_id is not None:
                try:
                    presence.enter_context(self._registry.stream_open(self._proxy_id))
                except TooManyProxiesError as error:
                    await JsonResponse({"error": str(error)}, 503)(scope, receive, send)
                    return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if not scope.get(IS_HEAD):
                await self._send_events(receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, receive: Receive, send: Send) -> None:
        with self._feed.subscribe() as subscription:
            departure = self._tasks.start(_end_with_client(receive, subscription), name="stream departure")
            try:
                async for piece in self._feed.stream(subscription):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            finally:
                departure.cancel()


async def _end_with_client(receive: Receive, subscription: Subscription) -> None:
    # Without this a stream would learn of its client's end only at the next keepalive.
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.end()


def sync_router(feed: SnapshotFeed, registry: ProxyRegistry, tasks: TaskSupervisor) -> APIRouter:
    """The endpoints between control plane and proxies."""
    router = APIRouter(tags=["sync"])

    @router.get(
        "/sync/snapshot",
        summary="Stream the active snapshot, now and after each activation",
        openapi_extra=returns_event_stream() | errors(400, 503),
    )
    async def stream(x_vrata_proxy: Annotated[str | None, Header()] = None) -> Response:
        proxy_id = None if x_vrata_proxy is None else _checked_proxy_id(x_vrata_proxy, "X-Vrata-Proxy")
        _log.info("stream opened", proxy=proxy_id or "")
        return EventStream(feed, registry, proxy_id, tasks)

    @router.put(
        "/sync/proxies/{proxyId}",
        summary="Acknowledge what a proxy runs",
        openapi_extra=takes("Acknowledgement") | returns(204) | errors(400, 413, 503),
    )
    async def acknowledge(proxy_id: Annotated[str, Path(alias="proxyId")], request: Request) -> Response:
        proxy_id = _checked_proxy_id(proxy_id, "proxyId")
        acknowledgement = _acknowledgement_in(await read_json(request))
        try:
            registry.acknowledge(proxy_id, acknowledgement)
        except TooManyProxiesError as error:
            raise ApiError(503, str(error)) from None
        return Response(status_code=204)

    @router.post("/sync/raft", summary="Apply a command of another node", openapi_extra=errors(503))
    async def raft() -> Response:
        raise ApiError(503, "cluster mode not active")

    @router.get("/proxies", summary="List the proxies", openapi_extra=returns(200, ["ProxyStatus"]))
    async def proxies() -> Response:
        return JsonResponse(registry.documents())

    return router


def _checked_proxy_id(text: str, where: str) -> str:
    try:
        return _proxy_id.validate_python(text)
    except ValidationError as error:
        raise ApiError(400, f"{where}: {error.errors()[0]['ctx']['error']}") from None


def _acknowledgement_in(document: Any) -> Acknowledgement:
    try:
        return Acknowledgement.model_validate(document)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, details['loc'])) or 'the body'}: {details['msg']}"
            for details in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise ApiError(400, "; ".join(problems)) from None
