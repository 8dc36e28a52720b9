"""Callouts of a data plane in the process of the test, and what was told of them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.in_process_proxy import InProcessProxy
from vrata.proxy.callout.answer import Answer, CalloutFailure, GrpcAnswer
from vrata.proxy.callout.services import Services

LIMIT = 30.0
"""Seconds within which a callout ends that is to end by itself."""


def services(proxy: InProcessProxy) -> Services:
    """The services of *proxy*."""
    return proxy.data_plane._registry.services


async def call(
    proxy: InProcessProxy, target: bytes = b"/", *, to: str = "d", limit: float = LIMIT, **settings: Any
) -> Answer | CalloutFailure:
    """The outcome of a POST to the destination *to*."""
    found: asyncio.Queue[Answer | CalloutFailure] = asyncio.Queue()
    fields, body = settings.pop("fields", b""), settings.pop("body", b"")
    method = settings.pop("method", b"POST")
    services(proxy).call(to, method, target, fields, body, limit, found.put_nowait, **settings)
    assert found.empty(), "told before the call has returned"
    outcome = await asyncio.wait_for(found.get(), LIMIT)
    assert services(proxy).under_way == 0
    return outcome


async def answer(proxy: InProcessProxy, target: bytes = b"/", **settings: Any) -> Answer:
    """The answer to a POST."""
    outcome = await call(proxy, target, **settings)
    assert isinstance(outcome, Answer), outcome
    return outcome


async def failure(proxy: InProcessProxy, **settings: Any) -> tuple[str, str]:
    """The class of the failure of a POST, and the reason."""
    outcome = await call(proxy, **settings)
    assert isinstance(outcome, CalloutFailure), outcome
    return outcome.failure_class.label, outcome.reason


async def grpc_answer(
    proxy: InProcessProxy, path: str, message: bytes, *, to: str = "d", limit: float = LIMIT, **settings: Any
) -> GrpcAnswer:
    """The result of a call of gRPC."""
    found: asyncio.Queue[GrpcAnswer] = asyncio.Queue()
    services(proxy).call_grpc(to, path.encode(), message, limit, found.put_nowait, **settings)
    assert found.empty(), "told before the call has returned"
    outcome = await asyncio.wait_for(found.get(), LIMIT)
    assert services(proxy).under_way == 0
    return outcome
