"""Applying snapshots to a data plane that serves, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest

from tests.support.conditions import accepts, eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.held_response import Held, begin, says
from tests.support.in_process_proxy import Document, InProcessProxy, on_each_loop, snapshot_document
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request
from vrata.proxy.listener.time_limits import DRAIN_IDLE_GRACE
from vrata.proxy.reading import SnapshotRejected

# -- swapping ---------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_nothing_is_served_before_the_first_apply(proxy: InProcessProxy) -> None:
    client = await proxy.connect()
    client.send(request("GET /"))
    assert await client.is_silent(0.1)
    report = await proxy.apply(says("one"))
    assert (report.snapshot_id, report.problems) == ("snapshot-1", ())
    assert report.seconds > 0
    assert (await client.read_response()).body == b"one"


@on_each_loop
async def test_a_second_snapshot_replaces_the_first(proxy: InProcessProxy) -> None:
    await proxy.apply(says("one"))
    client = await proxy.connect()
    assert (await client.exchange("GET /")).body == b"one"
    await proxy.apply(says("two", path="/two"))
    assert (await client.exchange("GET /two")).body == b"two"
    response = await client.exchange("GET /")
    assert (response.status, json.loads(response.body)["error"]) == (404, "no_route")
    assert repr(proxy.data_plane).startswith("<DataPlane snapshot snapshot-2, ")


@on_each_loop
async def test_a_request_in_flight_finishes_on_its_plan(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        await proxy.apply(route("held", forward=forward("b")), destinations=[destination("b", backend.port)])
        client, other = await proxy.connect(), await proxy.connect()
        await begin(client)
        await proxy.apply(says("new"))  # neither its route nor its destination is there any more
        assert (await other.exchange("GET /held")).body == b"new"
        script.release.set()
        assert await client.read_exactly(2) == b"cd"
        assert (await client.exchange("GET /held")).body == b"new"
        await eventually_async(lambda: backend.open == 0, what="the removed destination's connection is closed")


@on_each_loop
async def test_a_request_that_is_being_read_finishes_on_its_plan(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(route("up", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 4") + b"ab")
        await eventually_async(lambda: bool(backend.requests), what="the request reaches the backend")
        await proxy.apply(says("new"))
        client.send(b"cd")
        assert (await client.read_response()).body == b"ok"
        assert backend.requests[0].body == b"abcd"


@on_each_loop
async def test_an_unchanged_destination_keeps_its_connection(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        client = await proxy.connect()
        for count in range(1, 5):
            # Settings of the destination may change; the connection belongs to the endpoint.
            document = destination("b", backend.port, timeouts={"request": f"{count}s"})
            await proxy.apply(route(f"r{count}", forward=forward("b")), destinations=[document])
            assert (await client.exchange("GET /")).body == b"ok"
            assert [found.connection for found in backend.requests] == [0] * count


@on_each_loop
async def test_two_destinations_never_share_a_connection(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(
            route("a", {"path": "/a"}, forward=forward("a")),
            route("b", {"path": "/b"}, forward=forward("b")),
            destinations=[destination("a", backend.port), destination("b", backend.port)],
        )
        client = await proxy.connect()
        for path in ("/a", "/b", "/a", "/b"):
            await client.exchange(f"GET {path}")
        assert [found.connection for found in backend.requests] == [0, 1, 0, 1]


@on_each_loop
async def test_round_robin_goes_on_where_it_was(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.respond(str(connection.writer.get_extra_info("sockname")[1]).encode())

    async with StagedBackend(script) as one, StagedBackend(script) as two, StagedBackend(script) as three:
        ports = [one.port, two.port, three.port]
        endpoints = [{"host": "127.0.0.1", "port": port} for port in ports]
        options = {"endpointBalancing": {"algorithm": "ROUND_ROBIN"}}
        document = {**destination("b", 1), "endpoints": endpoints, "options": options}
        client = await proxy.connect()
        seen = []
        for count in range(7):
            await proxy.apply(route(f"r{count}", forward=forward("b")), destinations=[document])
            seen.append(int((await client.exchange("GET /")).body))
        assert seen == (ports * 3)[:7]
        assert [len(backend.connections) for backend in (one, two, three)] == [1, 1, 1]


@on_each_loop
async def test_an_endpoint_that_is_removed_loses_its_idle_connections(proxy: InProcessProxy) -> None:
    async with StagedBackend() as kept, StagedBackend() as removed:
        routes = [route("k", {"path": "/k"}, forward=forward("k")), route("r", forward=forward("r"))]
        await proxy.apply(*routes, destinations=[destination("k", kept.port), destination("r", removed.port)])
        client = await proxy.connect()
        assert (await client.exchange("GET /k")).body == (await client.exchange("GET /")).body == b"ok"
        await proxy.apply(*routes, destinations=[destination("k", kept.port), destination("r", kept.port)])
        await eventually_async(lambda: removed.open == 0, what="the idle connection is closed")
        assert (await client.exchange("GET /")).body == b"ok"
        assert (len(removed.requests), kept.open) == (1, 2)


@on_each_loop
async def test_a_destination_that_comes_back_is_dialled_anew(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        client = await proxy.connect()
        for count in (1, 2):
            await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
            assert (await client.exchange("GET /")).body == b"ok"
            await proxy.apply()
            await eventually_async(lambda: backend.open == 0, what="the idle connection is closed")
            assert len(backend.connections) == count


# -- listeners --------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_settings_of_a_listener_change_on_open_connections(proxy: InProcessProxy) -> None:
    await proxy.apply(says("x", path="/x"), listeners=[proxy.listener(serverName="one")])
    client = await proxy.connect()
    assert (await client.exchange("GET /x"))["server"] == "one"
    settings: Document = {"serverName": "two", "maxRequestHeadersKB": 1, "proxyErrors": {"detail": "minimal"}}
    await proxy.apply(says("x", path="/x"), listeners=[proxy.listener(**settings)])
    assert (await client.exchange("GET /x"))["server"] == "two"
    assert json.loads((await client.exchange("GET /")).body) == {"error": "no_route", "status": 404}
    await proxy.apply(says("x"), listeners=[proxy.listener()])
    assert "server" not in await client.exchange("GET /x", "X-Large: " + "x" * 2000)


@on_each_loop
async def test_a_response_in_flight_keeps_the_listener_settings_it_began_with(proxy: InProcessProxy) -> None:
    release = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        await release.wait()
        connection.respond(b"ok")
        await connection.gone()

    async with StagedBackend(script) as backend:
        routes, destinations = [route("r", forward=forward("b"))], [destination("b", backend.port)]
        await proxy.apply(*routes, listeners=[proxy.listener(serverName="one")], destinations=destinations)
        client = await proxy.connect()
        client.send(request("GET /"))
        await eventually_async(lambda: bool(backend.requests), what="the request reaches the backend")
        await proxy.apply(*routes, listeners=[proxy.listener(serverName="two")], destinations=destinations)
        release.set()
        assert (await client.read_response())["server"] == "one"


@on_each_loop
async def test_a_listener_is_added(proxy: InProcessProxy) -> None:
    await proxy.apply(says("x"))
    first = await proxy.connect()
    port = proxy.listen()
    await proxy.apply(says("y"), listeners=[proxy.listener(), proxy.listener(port)])
    second = await proxy.connect(port)
    assert (await first.exchange("GET /")).body == (await second.exchange("GET /")).body == b"y"


@on_each_loop
async def test_a_listener_without_a_socket_waits_for_one(proxy: InProcessProxy) -> None:
    # The supervisor could not bind it; when it can, it hands the socket over and applies the same document again.
    lacking = {"id": "z", "name": "z", "address": "127.0.0.1", "port": 1}
    report = await proxy.apply(says("x"), listeners=[proxy.listener(), lacking])
    assert report.problems == ()
    client = await proxy.connect()
    assert (await client.exchange("GET /")).body == b"x"


@on_each_loop
async def test_a_listener_is_removed(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        port = proxy.listen()
        routes = [route("held", {"path": "/held"}, forward=forward("b")), says("x", path="/x")]
        destinations = [destination("b", backend.port)]
        both = [proxy.listener(), proxy.listener(port)]
        await proxy.apply(*routes, listeners=both, destinations=destinations)
        kept, idle, busy = await proxy.connect(), await proxy.connect(port), await proxy.connect(port)
        for client in (kept, idle):
            assert (await client.exchange("GET /x")).body == b"x"
        await begin(busy)
        began = time.monotonic()
        await proxy.apply(*routes, destinations=destinations)
        assert not accepts(port)
        assert await idle.ending() == "closed"
        assert 0.5 * DRAIN_IDLE_GRACE < time.monotonic() - began < 30
        assert proxy.data_plane.status().in_flight == 1
        script.release.set()
        assert await busy.read_exactly(2) == b"cd"
        assert await busy.ending() == "closed"
        await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="only the kept one is open")
        assert (await kept.exchange("GET /x")).body == b"x"


@on_each_loop
async def test_a_request_within_the_grace_of_a_removed_listener_is_answered(proxy: InProcessProxy) -> None:
    port = proxy.listen()
    await proxy.apply(says("x"), listeners=[proxy.listener(), proxy.listener(port)])
    client = await proxy.connect(port)
    assert "connection" not in await client.exchange("GET /")
    await proxy.apply(says("x"))
    response = await client.exchange("GET /")
    assert (response.body, response["connection"]) == (b"x", "close")
    assert await client.ending() == "closed"


@on_each_loop
async def test_connections_that_nobody_has_accepted_are_answered(proxy: InProcessProxy) -> None:
    port = proxy.listen()
    await proxy.apply(says("x"), listeners=[proxy.listener(), proxy.listener(port)])
    # The kernel completes these handshakes while the loop, held by this function, cannot accept.
    sockets = [blocking_client(port) for _ in range(20)]
    await proxy.apply(says("x"))
    for sock in sockets:
        client = StreamClient(*await asyncio.open_connection(sock=sock))
        assert (await client.read_response()).body == b"x"
        assert await client.ending() == "closed"
        await client.gone()


@pytest.mark.parametrize("turns", range(6))
@on_each_loop
async def test_connections_that_are_just_being_accepted_are_drained(proxy: InProcessProxy, turns: int) -> None:
    await proxy.apply(says("x"))
    sockets = [blocking_client(proxy.port) for _ in range(5)]
    for _ in range(turns):
        await asyncio.sleep(0)
    assert await proxy.data_plane.drain(5) is True
    for sock in sockets:
        client = StreamClient(*await asyncio.open_connection(sock=sock))
        assert (await client.read_response()).body == b"x"
        assert await client.ending() == "closed"
        await client.gone()
    assert proxy.data_plane.status().connections == 0


def blocking_client(port: int) -> socket.socket:
    """A connected socket whose request is sent already, all without a turn of the loop."""
    sock = socket.create_connection(("127.0.0.1", port), 5)
    sock.sendall(request("GET /"))
    sock.setblocking(False)
    return sock


@on_each_loop
async def test_nothing_behind_the_last_request_of_a_connection_is_handled(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(
            says("x", path="/x"), route("r", forward=forward("b")), destinations=[destination("b", backend.port)]
        )
        client, witness = await proxy.connect(), await proxy.connect()
        client.send(request("GET /x", "Connection: close") + request("POST /behind", body=b"x"))  # RFC 9112 §9.6
        assert (await client.read_response())["connection"] == "close"
        assert await client.ending() == "closed"
        assert (await witness.exchange("GET /witness")).body == b"ok"
        assert [found.target for found in backend.requests] == ["/witness"]


# -- what is wrong in a snapshot --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": "x"},
        {"id": 5, "snapshot": {}},
        {"id": "x", "snapshot": []},
        {"id": "x", "snapshot": {}},
        {"id": "x", "snapshot": {**snapshot_document("x")["snapshot"], "routes": None}},
        {"id": "x", "snapshot": {**snapshot_document("x")["snapshot"], "routes": {}}},
        {
            "id": "x",
            "snapshot": {"listeners": [], "destinations": [], "groups": [], "routes": "no", "middlewares": []},
        },
    ],
)
@on_each_loop
async def test_what_is_no_snapshot_is_rejected(proxy: InProcessProxy, document: Document) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        with pytest.raises(SnapshotRejected, match="not a snapshot document"):
            await proxy.data_plane.apply(document)
        assert (await client.exchange("GET /")).body == b"ok"
        assert len(backend.connections) == 1
        await proxy.apply(says("next"))
        assert (await client.exchange("GET /")).body == b"next"


@on_each_loop
async def test_bad_entities_are_left_out_and_reported(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        report = await proxy.apply(
            route("good", {"path": "/good"}, forward=forward("good")),
            route("bad", {"path": "/bad"}),
            route("orphan", {"path": "/orphan"}, forward=forward("bad")),
            listeners=[proxy.listener(), {"id": "bad", "name": "bad listener", "port": 0}],
            groups=[{"id": "bad", "name": "bad group", "routeIds": [], "pathPrefix": 5}],
            destinations=[destination("good", backend.port), destination("bad", 70000), "nonsense"],
        )
        found = [(problem.kind, problem.id, problem.name) for problem in report.problems]
        assert found == [
            ("listener", "bad", "bad listener"),
            ("destination", "", ""),
            ("destination", "bad", "bad"),
            ("group", "bad", "bad group"),
            ("route", "bad", "bad"),
        ]
        assert all(problem.reason for problem in report.problems)
        client = await proxy.connect()
        assert (await client.exchange("GET /good")).body == b"ok"
        assert (await client.exchange("GET /bad")).status == 404
        response = await client.exchange("GET /orphan")
        assert (response.status, json.loads(response.body)["error"]) == (502, "no_destination")


@on_each_loop
async def test_a_bad_group_does_not_expose_its_routes(proxy: InProcessProxy) -> None:
    report = await proxy.apply(
        says("internal", path="/x"),
        groups=[
            {"id": "g", "name": "g", "routeIds": ["says-internal"], "hostnames": ["internal.test"], "pathRegex": "("}
        ],
    )
    assert [problem.kind for problem in report.problems] == ["group"]
    client = await proxy.connect()
    assert (await client.exchange("GET /x")).status == 404


@on_each_loop
async def test_a_route_in_two_groups(proxy: InProcessProxy) -> None:
    await proxy.apply(
        says("x", path="/x"),
        groups=[
            {"id": "a", "name": "a", "routeIds": ["says-x"], "pathPrefix": "/a"},
            {"id": "b", "name": "b", "routeIds": ["missing", "says-x", "says-x"], "pathPrefix": "/b"},
        ],
    )
    client = await proxy.connect()
    statuses = [(await client.exchange(f"GET {path}")).status for path in ("/a/x", "/b/x", "/x")]
    assert statuses == [200, 200, 404]


@on_each_loop
async def test_destinations_that_do_not_exist(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        report = await proxy.apply(
            route("none", {"path": "/none"}, forward=forward("missing")),
            route("some", forward=forward("missing", "b", "absent")),
            destinations=[destination("b", backend.port)],
        )
        assert report.problems == ()
        client = await proxy.connect()
        assert (await client.exchange("GET /none")).status == 502
        for _ in range(10):  # the others take the share of the missing
            assert (await client.exchange("GET /")).body == b"ok"
