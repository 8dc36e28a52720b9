"""Buckets in Redis: what several proxies let through together, and what Redis may do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from vrata.net.event_loop import new_event_loop
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.token_bucket import SECOND, TokenBucket
from vrata.proxy.redis.rate_limits import TAKE, RedisLimit, RedisRateLimits, _Reading
from vrata.proxy.redis.settings import RedisSettings

Scenario = Callable[[Callable[[], RedisRateLimits]], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that is given up may have taken a token: a busy machine is to have time for an answer."""
    monkeypatch.setattr("vrata.proxy.redis.client.LIMIT", 20.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextmanager
def asking(server: RedisServer) -> Iterator[Redis]:
    with Redis(port=server.port) as client:
        yield client
        client.flushall()


def run(port: int, scenario: Scenario) -> list[str]:
    """Run *scenario* with a way to make the limits of one proxy more; return what was logged."""

    async def main() -> None:
        tasks = TaskSupervisor()
        try:
            async with asyncio.timeout(60):
                await scenario(partial(RedisRateLimits, RedisSettings("127.0.0.1", port), tasks, lambda: 0.5))
        finally:
            await tasks.stop()

    with capture_logs() as entries, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    return [entry["event"] for entry in entries]


async def take(limit: RedisLimit, count: int = 1, value: bytes = b"x") -> list[int | None]:
    """What *count* attempts come to that begin at the same moment."""
    answers: list[int | None] = []
    for _ in range(count):
        limit.take(value, answers.append)
    await eventually_async(lambda: len(answers) == count, what="there are answers", interval=0)
    return answers


async def take_one(limit: RedisLimit) -> int:
    """What one attempt comes to."""
    (answer,) = await take(limit)
    assert answer is not None
    return answer


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([(1.0, 1), (0.3, 1), (0.7, 5), (1 / 7, 3)]),
    st.lists(st.one_of(st.just(0), st.integers(0, 3_000_000)), min_size=3, max_size=25),
)
def test_redis_decides_as_buckets_do(server: RedisServer, numbers: tuple[float, int], pauses: list[int]) -> None:
    """At moments that it is told: the keys last for seconds of its own clock, and this takes less than one."""
    bucket = TokenBucket(*numbers)
    parts = [*divmod(bucket.interval, 1000), *divmod(bucket.capacity, 1000)]
    with asking(server) as client:
        script = client.register_script(TAKE.text.replace("redis.call('TIME')", "{ARGV[5], ARGV[6]}"))
        now, full_at = 1_700_000_000 * 10**6, 0
        for pause in pauses:
            now += pause
            after = bucket.taken(full_at, now * 1000)
            expected = (after or full_at) - now * 1000
            answer = script(["a"], [*parts, *divmod(now, 10**6)])
            assert [int(word) for word in answer.split()] == [bool(after), *divmod(expected, 1000)]
            full_at = after or full_at


def full_at(client: Redis) -> int:
    """When the only bucket is full again, in nanoseconds."""
    (key,) = client.keys()
    value = client.get(key)
    assert isinstance(value, bytes)
    moment, rest = map(int, value.split())
    return moment * 1000 + rest


def clock(client: Redis) -> int:
    seconds, rest = client.time()
    return (seconds * 10**6 + rest) * 1000


def test_proxies_let_through_what_one_bucket_does(server: RedisServer) -> None:
    bucket = TokenBucket(1000.0, 1000)

    async def scenario(proxy: Callable[[], RedisRateLimits]) -> None:
        limits = [proxy().limit("a", bucket) for _ in range(3)]
        loop = asyncio.get_running_loop()
        for limit in limits:
            await take_one(limit)
        client.flushall()
        # So many in one round trip that the bucket is not full again before the next.
        answers = await take(limits[0], 250)
        began = full_at(client) - 250 * bucket.interval
        end = loop.time() + 0.3
        while loop.time() < end:
            for each in await asyncio.gather(*(take(limit, 20) for limit in limits)):
                answers += each
        before = clock(client)
        while (answer := await take_one(limits[1])) > 0:
            answers.append(answer)
        after = clock(client)
        taken, rest = divmod(full_at(client) - began, bucket.interval)
        assert rest == 0
        assert taken == sum(answer is not None and answer > 0 for answer in answers)
        least, most = (bucket.burst + (moment - began) // bucket.interval for moment in (before, after))
        assert least <= taken <= most

    with asking(server) as client:
        assert run(server.port, scenario) == []


def test_tokens_come_back(server: RedisServer) -> None:
    async def scenario(proxy: Callable[[], RedisRateLimits]) -> None:
        limit, other = proxy().limit("a", TokenBucket(5.0, 2)), proxy().limit("b", TokenBucket(5.0, 1))
        first, second, third = await take(limit, 3)
        assert first is not None
        assert second is not None
        assert third is not None
        assert 0 < first <= SECOND // 5 < second <= 2 * SECOND // 5
        assert -2 * SECOND // 5 <= third < -SECOND // 5
        assert await take_one(other) > 0
        (answer,) = await take(limit, value=b"y")
        assert answer == SECOND // 5
        while await take_one(limit) < 0:
            pass
        # What is full again is forgotten.
        await eventually_async(lambda: not client.keys(), what="the keys are gone")

    with asking(server) as client:
        assert run(server.port, scenario) == []


def test_a_script_that_redis_has_forgotten_is_sent_again(server: RedisServer) -> None:
    async def scenario(proxy: Callable[[], RedisRateLimits]) -> None:
        limit = proxy().limit("a", TokenBucket(0.1, 9))
        for number in range(3):
            client.script_flush()
            assert await take_one(limit) > number * 10 * SECOND - 5 * SECOND

    with asking(server) as client:
        assert run(server.port, scenario) == []


def test_nobody_waits_longer_than_for_a_whole_bucket(server: RedisServer) -> None:
    """Where the clock of Redis was set back, the moment is far away."""

    async def scenario(proxy: Callable[[], RedisRateLimits]) -> None:
        limit = proxy().limit("a", TokenBucket(1.0, 3))
        await take_one(limit)
        (key,) = client.keys()
        client.set(key, b"9000000000000000 999")
        assert await take_one(limit) == -3 * SECOND

    with asking(server) as client:
        assert run(server.port, scenario) == []


def test_what_is_no_bucket_is_no_answer(server: RedisServer) -> None:
    async def scenario(proxy: Callable[[], RedisRateLimits]) -> None:
        limit = proxy().limit("a", TokenBucket(1.0, 3))
        await take_one(limit)
        (key,) = client.keys()
        client.set(key, b"something else")
        assert await take(limit) == [None]
        client.delete(key)
        client.lpush(key, b"a list")
        assert await take(limit) == [None]

    with asking(server) as client:
        assert run(server.port, scenario) == ["rate limit store has refused"]


@pytest.mark.parametrize("text", [None, b"", b"OK", b"1 2", b"1 2 3 4", b"1 -2 3", b"1 " + b"9" * 5000 + b" 3"])
def test_what_no_script_of_ours_says_is_no_answer(text: bytes | None) -> None:
    answers: list[int | None] = []
    _Reading(answers.append).read(text)
    assert answers == [None]


def test_a_redis_that_is_not_there() -> None:
    async def scenario(proxy: Callable[[], RedisRateLimits]) -> None:
        limit = proxy().limit("a", TokenBucket(1.0, 3))
        assert await take(limit, 3) == [None] * 3
        assert limit.is_out
        assert repr(limit) == "<RedisLimit <TokenBucket 3 tokens, one in 1000000000 ns>>"

    assert run(free_port(), scenario) == ["rate limit store cannot be used"]
