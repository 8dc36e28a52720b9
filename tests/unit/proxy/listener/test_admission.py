"""How many clients a listener lets in: the bookkeeping, and what clients see of it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.held_response import Held, begin, says
from tests.support.in_process_proxy import Document, InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import request
from tests.support.tls_listener import terminating, trusting
from vrata.net.descriptors import limit
from vrata.proxy.listener.admission import LOG_INTERVAL, RESERVED, Admission, highest_descriptor_for_clients
from vrata.proxy.listener.owner import MAX_DISMISSED
from vrata.proxy.listener.time_limits import LINGER
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.runtime.shared_counts import create as create_table
from vrata.proxy.runtime.shared_numbers import SharedCount

NOW = 1000.0


class Workers:
    """The shared number, as worker after worker sees it."""

    def __init__(self, table: int) -> None:
        self._table = table

    def number(self) -> SharedCount:
        return SharedCounts(self._table).count("clients")


@pytest.fixture
def workers() -> Iterator[Workers]:
    table = create_table()
    yield Workers(table)
    os.close(table)


# -- bookkeeping -----------------------------------------------------------------------------------------------------


def test_without_a_limit_everybody_is_let_in() -> None:
    admission = Admission("edge")
    assert all(admission.admit(5, NOW) for _ in range(1000))
    assert repr(admission) == "<Admission 1000 of any number, 0 turned away>"


def test_the_limit_holds_for_all_workers_together(workers: Workers) -> None:
    one, other = Admission("edge"), Admission("edge")
    one.limit(3, workers.number)
    other.limit(3, workers.number)
    assert [one.admit(5, NOW), one.admit(5, NOW), other.admit(5, NOW)] == [True, True, True]
    assert not one.admit(5, NOW)
    assert not other.admit(5, NOW)
    one.leave()
    assert other.admit(5, NOW)
    assert repr(one) == "<Admission 1 of 3, 1 turned away>"


def test_a_limit_that_appears_counts_those_who_are_in(workers: Workers) -> None:
    one, other = Admission("edge"), Admission("edge")
    for _ in range(5):
        assert one.admit(5, NOW)
    one.limit(2, workers.number)
    other.limit(2, workers.number)
    assert not other.admit(5, NOW)
    for _ in range(4):
        one.leave()
    assert other.admit(5, NOW)
    assert not other.admit(5, NOW)


def test_a_limit_that_goes_counts_nobody_any_more(workers: Workers) -> None:
    watcher = workers.number()
    admission = Admission("edge")
    admission.limit(1, workers.number)
    assert admission.admit(5, NOW)
    assert watcher.total == 1
    admission.unlimit()
    admission.unlimit()
    assert watcher.total == 0
    assert admission.admit(5, NOW)
    admission.leave()
    assert watcher.total == 0
    admission.limit(2, workers.number)
    assert watcher.total == 1


def test_a_share_of_the_descriptors_is_not_for_clients() -> None:
    highest = highest_descriptor_for_clients()
    assert highest == limit() - 1 - limit() // RESERVED
    admission = Admission("edge")
    assert admission.admit(highest, NOW)
    assert not admission.admit(highest + 1, NOW)
    assert (admission.admitted, admission.turned_away) == (1, 1)


def test_the_log_speaks_of_those_turned_away_now_and_then(workers: Workers) -> None:
    admission = Admission("edge")
    admission.limit(1, workers.number)
    admission.admit(5, NOW)
    with capture_logs() as entries:
        for tenth in range(250):
            admission.admit(5, NOW + tenth * LOG_INTERVAL / 100)
        admission.admit(1 << 40, NOW + 3 * LOG_INTERVAL)
    assert [(entry["listener"], entry["clients"]) for entry in entries] == [
        ("edge", 1),
        ("edge", 100),
        ("edge", 100),
        ("edge", 50),
    ]
    assert [entry["reason"] for entry in entries[-2:]] == ["maxConnections reached", "too few descriptors left"]


# -- what clients see ------------------------------------------------------------------------------------------------


async def limited(proxy: InProcessProxy, limit: int, *more: Document) -> None:
    await proxy.apply(says("hello"), listeners=[proxy.listener(maxConnections=limit), *more])


@on_each_loop
async def test_a_client_too_many_is_sent_away_at_once(proxy: InProcessProxy) -> None:
    await limited(proxy, 2)
    first, second = await proxy.connect(), await proxy.connect()
    for client in (first, second):
        assert (await client.exchange("GET /")).body == b"hello"
    third = await proxy.connect()
    # Not with a reset, which would keep it from reading that this is the end.
    third.send(request("GET /"))
    assert await third.ending() == "closed"
    assert (await first.exchange("GET /")).body == b"hello"
    second.close()
    await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="one has left")
    assert (await (await proxy.connect()).exchange("GET /")).body == b"hello"


@on_each_loop
async def test_a_limit_that_is_lowered_sends_nobody_away(proxy: InProcessProxy) -> None:
    await limited(proxy, 0)
    clients = [await proxy.connect() for _ in range(4)]
    for client in clients:
        assert (await client.exchange("GET /")).body == b"hello"
    await limited(proxy, 2)
    for client in clients:
        assert (await client.exchange("GET /")).body == b"hello"
    assert await (await proxy.connect()).ending() == "closed"
    for client in clients[:3]:
        client.close()
    await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="three have left")
    assert (await (await proxy.connect()).exchange("GET /")).body == b"hello"
    assert await (await proxy.connect()).ending() == "closed"
    await limited(proxy, 3)
    assert (await (await proxy.connect()).exchange("GET /")).body == b"hello"


@on_each_loop
async def test_listeners_have_limits_of_their_own(proxy: InProcessProxy) -> None:
    other = proxy.listen()
    await limited(proxy, 1, proxy.listener(other, maxConnections=1))
    for port in (proxy.port, other):
        assert (await (await proxy.connect(port)).exchange("GET /")).body == b"hello"
        assert await (await proxy.connect(port)).ending() == "closed"


@on_each_loop
async def test_those_sent_away_do_not_pile_up(proxy: InProcessProxy) -> None:
    await limited(proxy, 1)
    staying = await proxy.connect()
    assert (await staying.exchange("GET /")).body == b"hello"
    # They hold their connections open; that of most is closed without further ado.
    crowd = [await proxy.connect() for _ in range(4 * MAX_DISMISSED)]
    for client in crowd:
        assert await client.ending() in ("closed", "reset")
    assert (await staying.exchange("GET /")).body == b"hello"
    assert proxy.watched <= 1 + MAX_DISMISSED + 1
    await eventually_async(lambda: proxy.watched == 1, LINGER + 2, what="only the first one is left")


@on_each_loop
async def test_clients_of_a_removed_listener_count_until_they_are_gone(proxy: InProcessProxy) -> None:
    held = Held()
    async with StagedBackend(held) as backend:
        behind = {"destinations": [destination("backend", backend.port)]}
        counted = proxy.data_plane._registry.count(f"clients 127.0.0.1:{proxy.port}")
        everything = route("all", forward=forward("backend"))
        await proxy.apply(everything, listeners=[proxy.listener(maxConnections=1)], **behind)
        client = await proxy.connect()
        await begin(client)
        await proxy.apply(everything, listeners=[], **behind)
        assert counted.total == 1
        held.release.set()
        assert await client.read_exactly(2) == b"cd"
        await eventually_async(lambda: counted.total == 0, what="it is gone")
        assert await client.ending() == "closed"


@on_each_loop
async def test_a_client_too_many_does_not_get_as_far_as_tls(proxy: InProcessProxy) -> None:
    await proxy.apply(says("hello"), listeners=[proxy.listener(maxConnections=1, tls=terminating())])
    client = await proxy.connect(tls=trusting())
    assert (await client.exchange("GET /")).body == b"hello"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await proxy.connect(tls=trusting())
    assert (await client.exchange("GET /")).body == b"hello"
    client.close()
    await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="it has left")
    assert (await (await proxy.connect(tls=trusting())).exchange("GET /")).body == b"hello"
