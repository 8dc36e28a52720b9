"""The cap of ``grpc-timeout`` on the way to a backend."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import ReceivedRequest, StagedBackend

CALL = ("Content-Type: application/grpc", "TE: trailers")


async def forwarded(proxy: InProcessProxy, settings: dict[str, Any], *fields: str) -> ReceivedRequest:
    """Send a call with *fields*, and return what the backend gets."""
    async with StagedBackend() as backend:
        await proxy.apply(
            route("r", {"grpc": True}, forward=forward("b", **settings)), destinations=[destination("b", backend.port)]
        )
        client = await proxy.connect()
        assert (await client.exchange("POST /a.B/C", *CALL, *fields, body=b"\0\0\0\0\0")).body == b"ok"
        (found,) = backend.requests
        return found


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        ("5s", "1H", "5000m"),
        ("5s", "5001m", "5000m"),
        ("5s", "5S", "5S"),
        ("5s", "4999m", "4999m"),
        ("12345678us", "99S", "12345m"),
        ("100000s", "99H", "100000S"),
        ("5s", "123456789S", "5000m"),
        (None, "123456789S", "123456789S"),
        ("5s", "soon", "soon"),
        ("0s", "1H", "1H"),
        (None, "1H", "1H"),
    ],
)
@on_each_loop
async def test_the_backend_gets_the_capped_value(
    proxy: InProcessProxy, limit: str | None, value: str, expected: str
) -> None:
    settings = {} if limit is None else {"maxGrpcTimeout": limit}
    found = await forwarded(proxy, settings, f"Grpc-Timeout: {value}", "X-After: 1")
    assert found.all("grpc-timeout") == [expected]
    assert found.all("x-after") == ["1"]


@on_each_loop
async def test_a_call_without_one_gets_none(proxy: InProcessProxy) -> None:
    plain = await forwarded(proxy, {}, "X-Request-Id: same")
    capped = await forwarded(proxy, {"maxGrpcTimeout": "5s"}, "X-Request-Id: same")
    assert capped == plain


@on_each_loop
async def test_beside_a_rewrite(proxy: InProcessProxy) -> None:
    settings = {"maxGrpcTimeout": "5s", "rewrite": {"host": "inside.test"}}
    found = await forwarded(proxy, settings, "grpc-timeout: 1H")
    assert (found.all("grpc-timeout"), found.all("host")) == (["5000m"], ["inside.test"])
