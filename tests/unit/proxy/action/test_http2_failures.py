"""What fails on a connection of HTTP/2 that has served: when that may be sent again without being asked to."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from tests.support.http2_backend import Http2Backend, Http2BackendConnection
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.unit.proxy.action.test_http2_upstream import begun, error, forward_to, next_request
from vrata.proxy.upstream import silence

FRAME_OF_THE_UPSTREAMS_STREAM = b"\x00\x00\x01\x00\x00\x00\x00\x00\x02x"


async def served(proxy: InProcessProxy, backend: Http2Backend) -> Http2BackendConnection:
    """A connection of the proxy to *backend* that has served one request."""
    await forward_to(proxy, backend.port)
    asking = begun(proxy, "GET /first")
    connection = await backend.accept()
    (await next_request(connection)).answer()
    assert (await asking).status == 200
    return connection


@pytest.mark.parametrize("how", ["reset", "malformed", "rule", "silence"])
@on_each_loop
async def test_what_an_upstream_that_is_there_has_failed_is_not_sent_again(proxy: InProcessProxy, how: str) -> None:
    async with Http2Backend() as backend:
        connection = await served(proxy, backend)
        with pytest.MonkeyPatch.context() as patch:
            if how == "silence":
                patch.setattr(silence, "PING_AFTER", 0.1)
                patch.setattr(silence, "PING_LIMIT", 0.1)
            asking = begun(proxy, "DELETE /x")
            request = await next_request(connection)
            if how == "reset":
                request.refuse(ErrorCodes.INTERNAL_ERROR)
            elif how == "malformed":
                connection.h2.config.normalize_outbound_headers = False
                connection.h2.config.validate_outbound_headers = False
                request.head([(":status", "200"), ("UPPER", "x")], end=True)
            elif how == "rule":
                connection.writer.write(FRAME_OF_THE_UPSTREAMS_STREAM)
            else:
                connection.hears.clear()
            assert error(await asking) == (502, "connection_reset")
            connection.hears.set()
        assert [each.path for each in connection.requests] == ["/first", "/x"]
        assert backend.connections == 1


@on_each_loop
async def test_what_may_have_met_the_end_of_an_idle_connection_is_sent_again_once(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        connection = await served(proxy, backend)
        asking = [begun(proxy, "DELETE /x") for _ in range(3)]
        for _ in asking:
            await next_request(connection)
        connection.close()
        connection = await backend.accept()
        for _ in asking:
            await next_request(connection)
        connection.close()
        for each in asking:
            assert error(await each) == (502, "connection_reset")
        assert backend.connections == 2


@on_each_loop
async def test_a_connection_that_has_answered_others_since_was_not_idle(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        connection = await served(proxy, backend)
        asking = begun(proxy, "DELETE /x")
        await next_request(connection)
        other = begun(proxy, "GET /other")
        (await next_request(connection)).answer()
        assert (await other).status == 200
        connection.close()
        assert error(await asking) == (502, "connection_reset")
        assert backend.connections == 1


@on_each_loop
async def test_what_cannot_be_repeated_is_not(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        connection = await served(proxy, backend)
        asking = begun(proxy, "POST /x", b"content")
        await next_request(connection)
        connection.close()
        assert error(await asking) == (502, "connection_reset")
        assert backend.connections == 1
