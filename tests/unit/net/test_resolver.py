"""The resolver on virtual time with scripted answers, and once with a real name server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.name_server import NameServer
from tests.support.simulated_loop import SimulatedLoop
from vrata.net.cached_name import MAX_NEGATIVE_TTL, MAX_STALE, MAX_STALE_RETRY, Answers, Failed, Family, Found, Missing
from vrata.net.event_loop import new_event_loop
from vrata.net.resolver import STALE_WAIT, NameNotResolved, Resolver
from vrata.observability.tasks import TaskSupervisor

V6, V4 = Family.V6, Family.V4
NO_V6 = Missing("no AAAA records", 1e6, name_exists=True)
GONE: Answers = {V6: Missing("it does not exist", 3600), V4: Missing("it does not exist", 3600)}
DOWN: Answers = {V6: Failed("nobody answers"), V4: Failed("nobody answers")}


def found(*addresses: str, ttl: float = 60) -> Answers:
    return {V6: NO_V6, V4: Found(addresses, ttl)}


class World:
    """A resolver, its loop, and what it is answered."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop()  # type: ignore[abstract] # nobody asks it for the rest
        self.answer: Answers = found("192.0.2.1")
        self.delay = 0.01
        self.asked: list[float] = []
        """When the name was asked about."""
        self.resolver = Resolver(TaskSupervisor(), ask=self._ask, chance=lambda: 0.5)

    async def _ask(self, host: str) -> Answers:
        assert host == "name.test"
        self.asked.append(self.loop.time())
        answer = self.answer
        await asyncio.sleep(self.delay)
        return answer

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.create_task(work)

    def resolve(self, within: float = 0.02) -> Sequence[str]:
        """What a dial gets, which takes no more than *within* seconds."""
        task = self.start(self.resolver.resolve("name.test"))
        self.loop.settle()
        if not task.done():
            self.loop.advance(within)
        assert task.done(), f"not within {within} s"
        result: Sequence[str] = task.result()
        return result

    def use(self, seconds: float, every: float = 1.0) -> None:
        """Let time pass, with a dial now and then that waits for nothing."""
        for _ in range(round(seconds / every)):
            self.loop.advance(every)
            self.resolve(within=0)


@pytest.fixture
def world() -> Iterator[World]:
    with capture_logs():
        yield World()


def test_one_query_serves_all_who_wait(world: World) -> None:
    tasks = [world.start(world.resolver.resolve(name)) for name in ("name.test", "NAME.test") * 50]
    world.loop.advance(1)
    assert {tuple(task.result()) for task in tasks} == {("192.0.2.1",)}
    assert len(world.asked) == 1


def test_one_who_gives_up_takes_nothing_from_the_others(world: World) -> None:
    first, second = (world.start(world.resolver.resolve("name.test")) for _ in range(2))
    world.loop.settle()
    first.cancel()
    world.loop.advance(1)
    assert first.cancelled()
    assert second.result() == ["192.0.2.1"]
    assert len(world.asked) == 1


def test_a_name_in_use_is_refreshed_before_its_time_is_up(world: World) -> None:
    world.resolve()
    began = world.loop.time()
    world.use(600)
    # Every 87.5 % of a minute, and nobody has waited.
    assert [round(at - began) for at in world.asked[1:4]] == [52, 105, 158]
    assert len(world.asked) == 12


def test_a_name_that_is_not_used_is_not_asked_about(world: World) -> None:
    world.resolve()
    world.loop.advance(3000)
    assert len(world.asked) == 1
    assert world.resolve() == ["192.0.2.1"]
    assert len(world.asked) == 2


def test_what_nobody_uses_is_forgotten_in_the_end(world: World) -> None:
    world.resolve()
    world.loop.advance(60 + MAX_STALE + 1)
    assert "0 names" in repr(world.resolver)


def test_new_addresses_are_used_when_the_old_ones_have_expired(world: World) -> None:
    world.resolve()
    world.answer = found("192.0.2.2")
    world.loop.advance(50)
    assert world.resolve() == ["192.0.2.1"]
    world.loop.advance(10)
    assert world.resolve() == ["192.0.2.2"]


def test_a_slow_name_server_costs_little_when_there_are_old_addresses(world: World) -> None:
    world.resolve()
    world.loop.advance(100)
    world.delay = 3
    world.answer = found("192.0.2.2")
    began = world.loop.time()
    assert world.resolve(within=STALE_WAIT) == ["192.0.2.1"]
    assert world.loop.time() - began == pytest.approx(STALE_WAIT)
    world.loop.advance(3)
    assert world.resolve(within=0) == ["192.0.2.2"]


def test_without_name_servers_the_last_addresses_are_used_for_a_bounded_time(world: World) -> None:
    world.resolve()
    began = world.loop.time()
    world.answer = DOWN
    with capture_logs() as logs:
        world.use(60 + MAX_STALE - 2)
    assert [entry["event"] for entry in logs] == [
        "name server failed",
        "addresses are used beyond their time to live",
    ]
    assert logs[0]["host"] == "name.test"
    assert logs[0]["reason"] == "nobody answers"
    assert (world.resolver.trouble("NAME.test"), world.resolver.trouble("other.test")) == ("nobody answers", "")
    pauses = [later - earlier for earlier, later in zip(world.asked[1:], world.asked[2:], strict=False)]
    assert max(pauses) <= MAX_STALE_RETRY + 1
    assert len(world.asked) < 200
    with capture_logs() as logs:
        world.loop.advance(began + 60 + MAX_STALE - world.loop.time() + 1)
        with pytest.raises(NameNotResolved, match="nobody answers"):
            world.resolve()
    assert [entry["event"] for entry in logs] == ["addresses are too old to be used any more"]


def test_that_addresses_are_stale_is_reported_when_it_becomes_so(world: World) -> None:
    world.answer = found("192.0.2.1", ttl=200)
    world.resolve()
    began = world.loop.time()
    world.answer = DOWN
    with capture_logs() as logs:
        world.use(195)
        assert [entry["event"] for entry in logs] == ["name server failed"]
        # The query after that comes when they have been stale for a while.
        queries = len(world.asked)
        while len(logs) == 1:
            world.use(1)
    assert logs[1]["event"] == "addresses are used beyond their time to live"
    assert world.loop.time() - began == pytest.approx(200, abs=2)
    world.use(5)
    assert len(world.asked) <= queries + 1


def test_an_outage_that_ends_is_over_soon(world: World) -> None:
    world.resolve()
    world.answer = DOWN
    world.use(600)
    world.answer = found("192.0.2.2")
    with capture_logs() as logs:
        world.use(MAX_STALE_RETRY + 1)
    assert world.resolve() == ["192.0.2.2"]
    assert [entry["event"] for entry in logs] == ["name server answers again"]
    assert world.resolver.trouble("name.test") == ""


def test_that_a_name_is_gone_is_believed_and_remembered_for_a_short_time(world: World) -> None:
    world.resolve()
    world.answer = GONE
    world.loop.advance(61)
    for _ in range(100):
        with pytest.raises(NameNotResolved, match="it does not exist"):
            world.resolve()
    assert len(world.asked) == 2
    world.answer = found("192.0.2.2")
    world.loop.advance(MAX_NEGATIVE_TTL + 0.1)
    assert world.resolve() == ["192.0.2.2"]


def test_a_name_server_that_was_down_at_the_start_is_asked_again_soon(world: World) -> None:
    world.answer = DOWN
    for _ in range(100):
        with pytest.raises(NameNotResolved, match="nobody answers"):
            world.resolve()
    assert len(world.asked) == 1
    world.answer = found("192.0.2.1")
    world.loop.advance(1)
    assert world.resolve() == ["192.0.2.1"]


def test_connections_spread_over_the_addresses_of_each_family(world: World) -> None:
    world.answer = {
        V6: Found(("2001:db8::1", "2001:db8::2"), 60),
        V4: Found(("192.0.2.1", "192.0.2.2", "192.0.2.3"), 60),
    }
    assert world.resolve() == ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert world.resolve() == ["2001:db8::2", "2001:db8::1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]
    assert world.resolve() == ["2001:db8::1", "2001:db8::2", "192.0.2.3", "192.0.2.1", "192.0.2.2"]


def test_an_error_of_our_own_is_a_failure_like_others(world: World) -> None:
    async def fail(host: str) -> Answers:
        raise RuntimeError("a mistake")

    world.resolver = Resolver(TaskSupervisor(), ask=fail)
    with pytest.raises(NameNotResolved, match="a mistake"):
        world.resolve()


class Follower:
    def __init__(self) -> None:
        self.told: list[tuple[str, ...] | None] = []

    def __call__(self, addresses: tuple[str, ...] | None) -> None:
        self.told.append(addresses)

    def heard(self, *addresses: str) -> bool:
        """Whether that was the last thing."""
        return bool(self.told) and self.told[-1] == addresses


def test_a_follower_is_told_after_each_query(world: World) -> None:
    follower = Follower()
    world.loop.call_soon(world.resolver.follow, "Name.test", follower)
    world.loop.advance(1)
    assert follower.told == [("192.0.2.1",)]
    world.answer = found("192.0.2.1", "192.0.2.2")
    world.loop.advance(60)
    assert follower.heard("192.0.2.1", "192.0.2.2")
    world.answer = DOWN
    world.loop.advance(1800)
    assert follower.heard("192.0.2.1", "192.0.2.2")
    world.loop.advance(1800 + 60 + 1)
    assert follower.told[-1] is None
    world.answer = GONE
    world.loop.advance(10)
    assert follower.heard()
    world.loop.call_soon(world.resolver.unfollow, "name.test", follower)
    world.loop.advance(10)
    told, asked = len(follower.told), len(world.asked)
    world.loop.advance(1000)
    assert (len(follower.told), len(world.asked)) == (told, asked)


def test_a_second_follower_is_told_at_once(world: World) -> None:
    first, second = Follower(), Follower()
    world.loop.call_soon(world.resolver.follow, "name.test", first)
    world.loop.advance(1)
    world.loop.call_soon(world.resolver.follow, "name.test", second)
    world.loop.settle()
    assert second.told == [("192.0.2.1",)]
    assert len(world.asked) == 1


def test_with_a_real_name_server_and_real_time() -> None:
    async def scenario() -> None:
        tasks = TaskSupervisor()
        async with NameServer() as server:
            server.put("name.test", "192.0.2.1", ttl=1)
            resolver = Resolver(tasks, [server.address])
            follower = Follower()
            resolver.follow("name.test", follower)
            await eventually_async(lambda: server.asked("name.test") >= 4, what="it is asked about again")
            server.put("name.test", "192.0.2.2", ttl=1)
            await eventually_async(lambda: follower.heard("192.0.2.2"), what="the change is noticed")
            server.fail("name.test")
            await eventually_async(lambda: resolver.trouble("name.test"), what="the failure is noticed")
            assert await resolver.resolve("name.test") == ["192.0.2.2"]
            server.remove("name.test")
            await eventually_async(lambda: follower.heard(), what="the end is noticed")
            with pytest.raises(NameNotResolved):
                await resolver.resolve("name.test")
        await tasks.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner, capture_logs():
        runner.run(scenario())
