"""From names to endpoints of destinations."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.name_server import NameServer
from vrata.discovery.dns import DnsDiscovery
from vrata.net.discovered import DiscoveryTarget, FoundEndpoints
from vrata.net.resolver import OnAddresses, Resolver
from vrata.observability.tasks import TaskSupervisor


class Names:
    """Stands for a resolver: the test says what it learns."""

    def __init__(self) -> None:
        self.followed: list[tuple[str, OnAddresses]] = []
        self.failing: dict[str, str] = {}

    def follow(self, host: str, on_addresses: OnAddresses) -> None:
        self.followed.append((host, on_addresses))

    def unfollow(self, host: str, on_addresses: OnAddresses) -> None:
        self.followed.remove((host, on_addresses))

    def trouble(self, host: str) -> str:
        return self.failing.get(host.lower(), "")

    def learn(self, host: str, *addresses: str) -> None:
        for followed, on_addresses in list(self.followed):
            if followed == host:
                on_addresses(addresses)

    def forget(self, host: str) -> None:
        for followed, on_addresses in list(self.followed):
            if followed == host:
                on_addresses(None)


class World:
    def __init__(self) -> None:
        self.names = Names()
        self.found: list[tuple[str, FoundEndpoints | None]] = []
        self.discovery = DnsDiscovery(self.names, lambda *found: self.found.append(found))

    def take(self) -> list[tuple[str, FoundEndpoints | None]]:
        found, self.found = self.found, []
        return found


@pytest.fixture
def world() -> World:
    return World()


A = DiscoveryTarget("dns", "a.test", 80)


def test_every_address_is_an_endpoint_once_and_in_order(world: World) -> None:
    world.discovery.watch({"d1": A})
    world.names.learn("a.test", "2001:db8::1", "192.0.2.2", "192.0.2.1", "192.0.2.2")
    endpoints = (("192.0.2.1", 80), ("192.0.2.2", 80), ("2001:db8::1", 80))
    assert world.take() == [("d1", endpoints)]


def test_only_changes_are_told(world: World) -> None:
    world.discovery.watch({"d1": A})
    world.names.learn("a.test", "192.0.2.1", "192.0.2.2")
    world.names.learn("a.test", "192.0.2.2", "192.0.2.1")
    assert len(world.take()) == 1
    world.names.learn("a.test")
    world.names.learn("a.test")
    assert world.take() == [("d1", ())]
    world.names.forget("a.test")
    assert world.take() == [("d1", None)]


def test_destinations_may_share_a_name(world: World) -> None:
    world.discovery.watch({"d1": A, "d2": DiscoveryTarget("dns", "a.test", 81)})
    world.names.learn("a.test", "192.0.2.1")
    assert world.take() == [("d1", (("192.0.2.1", 80),)), ("d2", (("192.0.2.1", 81),))]


def test_what_has_not_changed_is_not_interrupted(world: World) -> None:
    world.discovery.watch({"d1": A})
    (before,) = world.names.followed
    world.discovery.watch({"d1": A, "d2": DiscoveryTarget("dns", "b.test", 80)})
    assert world.names.followed[0] is before


def test_another_name_begins_with_nothing(world: World) -> None:
    world.discovery.watch({"d1": A})
    world.names.learn("a.test", "192.0.2.1")
    world.discovery.watch({"d1": DiscoveryTarget("dns", "b.test", 80)})
    world.names.learn("b.test", "192.0.2.2")
    assert world.take() == [("d1", (("192.0.2.1", 80),)), ("d1", None), ("d1", (("192.0.2.2", 80),))]
    assert [host for host, _ in world.names.followed] == ["b.test"]


def test_nothing_is_told_of_what_is_not_wanted(world: World) -> None:
    world.discovery.watch({"d1": A, "d2": DiscoveryTarget("kubernetes", "a.test", 80)})
    assert [host for host, _ in world.names.followed] == ["a.test"]
    world.discovery.watch({})
    assert world.names.followed == []
    assert world.take() == []


def test_trouble_is_told_by_destination(world: World) -> None:
    world.discovery.watch({"d1": DiscoveryTarget("dns", "A.test", 80), "d2": DiscoveryTarget("dns", "b.test", 80)})
    world.names.failing = {"a.test": "nobody answers", "c.test": "nobody answers"}
    assert [world.discovery.trouble(each) for each in ("d1", "d2", "d3")] == ["nobody answers", "", ""]


def test_with_a_real_resolver() -> None:
    async def scenario() -> None:
        found: list[tuple[str, FoundEndpoints | None]] = []

        async def told(*expected: tuple[str, int]) -> None:
            await eventually_async(lambda: found and found[-1] == ("d1", expected), what=f"{expected} are found")

        tasks = TaskSupervisor()
        async with NameServer() as server:
            server.put("a.test", "192.0.2.1", ttl=1)
            discovery = DnsDiscovery(Resolver(tasks, [server.address]), lambda *each: found.append(each))
            discovery.watch({"d1": A})
            await told(("192.0.2.1", 80))
            server.put("a.test", "192.0.2.1", "192.0.2.2", "2001:db8::1", ttl=1)
            await told(("192.0.2.1", 80), ("192.0.2.2", 80), ("2001:db8::1", 80))
            server.fail("a.test")
            await eventually_async(lambda: discovery.trouble("d1"), what="the failure is noticed")
            assert len(found) == 2
            server.put("a.test", "192.0.2.2", ttl=1)
            await told(("192.0.2.2", 80))
            server.remove("a.test")
            await told()
        discovery.watch({})
        await tasks.stop()

    with capture_logs():
        asyncio.run(scenario())
