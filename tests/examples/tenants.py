"""Tenants: who may use the API, what the upstream is told of them, and how long it takes to answer."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from vrata.middleware import Middleware, Request, Response

log = logging.getLogger(__name__)


class Tenants(Middleware):
    """Lets in the tenants that the settings name, and tells the upstream their plans."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.plans: dict[str, str] = dict(settings["plans"])

    def on_request(self, request: Request) -> Response | None:
        tenant = request.headers.get("X-Tenant", "")
        plan = self.plans.get(tenant)
        if plan is None:
            log.info("no such tenant: %r from %s", tenant, request.client_ip)
            return Response.json({"error": "unknown tenant"}, status=403)
        request.headers["X-Plan"] = plan
        request.state["began"] = time.perf_counter()
        return None

    def on_response(self, request: Request, response: Response) -> None:
        took = time.perf_counter() - request.state["began"]
        response.headers["Server-Timing"] = f"upstream;dur={took * 1000:.1f}"
