"""The session store against a real Redis, and against what is worse than none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, MutableMapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog

from tests.support.conditions import eventually_async
from tests.support.in_process_proxy import EACH_LOOP, LoopFactory
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.redis.client import MAX_WAITING
from vrata.proxy.redis.settings import RedisSettings
from vrata.proxy.sessions.redis_store import RedisSessionStore

KEY = b"vrata:sticky:session:route"
LIMIT = "vrata.proxy.redis.client.LIMIT"
SHORT = 0.1
"""Seconds that a call waits for a Redis which is to be too late."""

pytestmark = EACH_LOOP


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait for as long as a Redis on a busy machine may take, and clearly longer than they are to take else."""
    monkeypatch.setattr(LIMIT, 20.0)


class Caller:
    """A store, and the answers that it gave."""

    def __init__(self, settings: RedisSettings) -> None:
        self.tasks = TaskSupervisor()
        self.store = RedisSessionStore(settings, self.tasks, Random(1).random)
        self.loop = asyncio.get_running_loop()

    async def look_up(self, key: bytes = KEY) -> bytes | None:
        return await self._answer(lambda answer: self.store.look_up(key, answer))

    async def claim(self, value: bytes, key: bytes = KEY, ttl: int = 60) -> bytes | None:
        return await self._answer(lambda answer: self.store.claim(key, value, ttl, answer))

    async def back(self) -> None:
        await eventually_async(lambda: not self.store.is_out, what="the store is back")

    async def _answer(self, ask: Callable[[Callable[[bytes | None], None]], object]) -> bytes | None:
        future: asyncio.Future[bytes | None] = self.loop.create_future()
        ask(future.set_result)
        async with asyncio.timeout(10):
            return await future

    async def is_out_at_once(self) -> bool:
        """Whether a call gets no answer, as soon as may be."""
        answers: list[bytes | None] = []
        self.store.look_up(KEY, answers.append)
        await asyncio.sleep(0)
        return answers == [None]


Scenario = Callable[[Caller], Coroutine[Any, Any, None]]


def logged(loop_factory: LoopFactory, settings: RedisSettings, scenario: Scenario) -> list[MutableMapping[str, Any]]:
    """Run *scenario* and return what it has logged."""

    async def main() -> None:
        caller = Caller(settings)
        try:
            async with asyncio.timeout(60):
                await scenario(caller)
        finally:
            await caller.tasks.stop()

    with structlog.testing.capture_logs() as entries, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    return entries


def run(loop_factory: LoopFactory, settings: RedisSettings, scenario: Scenario) -> list[tuple[str, str]]:
    """The same; level and event of each line."""
    return [(entry["log_level"], entry["event"]) for entry in logged(loop_factory, settings, scenario)]


async def clients(server: RedisServer, count: int) -> None:
    """Wait until the *server* has that many, beside the one that asks."""
    line = b"connected_clients:%d\r\n" % (count + 1)
    await eventually_async(lambda: line in server.ask("INFO", "clients"), what=f"{count} are connected")


OUTAGE = ("warning", "session store cannot be used")
RECOVERY = ("info", "session store is back")


def test_what_was_put_is_found(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() == b""
        caller.store.put(KEY, b"there", 60)
        assert await caller.look_up() == b"there"
        assert server.value(KEY.decode()) == b"there"
        assert server.ask("TTL", KEY) in (b":60\r\n", b":59\r\n")

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_the_first_claim_holds_for_all(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        answers = await asyncio.gather(*(caller.claim(b"place %d" % number) for number in range(5)))
        assert answers == [b"place 0"] * 5
        assert await caller.look_up() == b"place 0"
        assert server.ask("TTL", KEY) in (b":60\r\n", b":59\r\n")

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_the_configured_database_and_password_are_used(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        caller.store.put(KEY, b"there", 60)
        assert await caller.look_up() == b"there"
        assert server.stored() == set()
        assert b"db5:keys=1" in server.ask("INFO", "keyspace")

    with RedisServer(tmp_path, password="open sesame") as server:
        settings = RedisSettings("127.0.0.1", server.port, "open sesame", 5)
        assert run(loop_factory, settings, scenario) == []
    assert "sesame" not in repr(settings)


def test_concurrent_calls_share_one_connection(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        for number in range(300):
            caller.store.put(b"key %d" % number, b"%d" % number, 60)
        answers = await asyncio.gather(*(caller.look_up(b"key %d" % number) for number in range(300)))
        assert answers == [b"%d" % number for number in range(300)]
        await clients(server, 1)

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_nothing_is_asked_before_it_is_needed(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        await clients(server, 0)
        caller.store.open()
        await clients(server, 1)

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_without_a_server_there_is_no_answer_and_one_warning(loop_factory: LoopFactory) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() is None
        for _ in range(100):
            assert await caller.is_out_at_once()
            caller.store.put(KEY, b"there", 60)
            await asyncio.sleep(0.002)

    assert run(loop_factory, RedisSettings("127.0.0.1", free_port()), scenario) == [OUTAGE]


def test_a_server_that_comes_later_is_found(loop_factory: LoopFactory, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)

    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() is None
        await asyncio.to_thread(server.start)
        await caller.back()
        assert await caller.claim(b"there") == b"there"

    try:
        assert run(loop_factory, RedisSettings("localhost", server.port), scenario) == [OUTAGE, RECOVERY]
    finally:
        server.kill()


def test_a_dead_server_answers_nobody_until_it_is_back(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        for _ in range(2):
            assert await caller.claim(b"there") == b"there"
            server.kill()
            assert await caller.look_up() is None
            await asyncio.to_thread(server.start)
            await caller.back()
            assert await caller.look_up() == b""

    with RedisServer(tmp_path) as server:
        log = run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario)
    assert log == [OUTAGE, RECOVERY] * 2


def test_a_restart_costs_nothing_when_it_is_back_in_time(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() == b""
        server.kill()
        await asyncio.to_thread(server.start)
        assert await caller.claim(b"there") == b"there"

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_connections_that_the_server_closes_are_replaced_unnoticed(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        for _ in range(5):
            assert await caller.claim(b"there") == b"there"
            server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await caller.look_up() == b"there"

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_a_hanging_server_costs_the_first_calls_their_limit(
    loop_factory: LoopFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.claim(b"there") == b"there"
        server.freeze()
        monkeypatch.setattr(LIMIT, SHORT)
        assert await asyncio.gather(*(caller.look_up() for _ in range(50))) == [None] * 50
        # While attempts to reach it go on, nobody waits for them.
        for _ in range(300):
            assert await caller.is_out_at_once()
            await asyncio.sleep(0.002)
        monkeypatch.setattr(LIMIT, 20.0)
        server.thaw()
        await caller.back()
        assert await caller.look_up() == b"there"

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == [OUTAGE, RECOVERY]


def test_a_wrong_password_is_an_outage_until_it_is_right(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() is None
        server.ask("CONFIG", "SET", "requirepass", "wrong")
        await caller.back()

    with RedisServer(tmp_path, password="right") as server:
        settings = RedisSettings("127.0.0.1", server.port, "wrong")
        assert run(loop_factory, settings, scenario) == [OUTAGE, RECOVERY]


@pytest.mark.parametrize("password", [None, "unasked"])
def test_what_the_server_says_is_in_the_warning(
    loop_factory: LoopFactory, tmp_path: Path, password: str | None
) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() is None
        assert await caller.look_up() is None

    with RedisServer(tmp_path, password="" if password else "secret") as server:
        entries = logged(loop_factory, RedisSettings("127.0.0.1", server.port, password), scenario)
    assert [entry["event"] for entry in entries] == [OUTAGE[1]]
    assert "AUTH" in entries[0]["reason"].upper()
    assert "unasked" not in entries[0]["reason"]


def test_a_database_that_does_not_exist_is_an_outage(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.look_up() is None

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port, db=99), scenario) == [OUTAGE]


def test_something_else_than_redis_is_an_outage(loop_factory: LoopFactory) -> None:
    async def scenario(caller: Caller) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", port):
            assert await caller.look_up() is None
            assert await caller.look_up() is None

    port = free_port()
    assert run(loop_factory, RedisSettings("127.0.0.1", port), scenario) == [OUTAGE]


def test_refused_writes_leave_reading_alone(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.claim(b"there") == b"there"
        server.ask("CONFIG", "SET", "maxmemory", "1")
        for number in range(5):
            caller.store.put(b"key %d" % number, b"value", 60)
            assert await caller.look_up(b"key %d" % number) == b""
            assert await caller.claim(b"other", b"key %d" % number) == b""
        assert await caller.look_up() == b"there"

    with RedisServer(tmp_path) as server:
        log = run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario)
    assert log == [("warning", "session store has refused")]


def test_a_key_of_another_type_has_no_answer(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        server.ask("LPUSH", KEY, "a list")
        assert await caller.look_up() is None
        assert await caller.look_up(b"another") == b""

    with RedisServer(tmp_path) as server:
        log = run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario)
    assert log == [("warning", "session store has refused")]


def test_rights_to_the_keys_and_commands_used_are_enough(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.claim(b"there") == b"there"

    with RedisServer(tmp_path) as server:
        server.ask("ACL", "SETUSER", "default", "resetkeys", "~vrata:sticky:*", "-@all", "+get", "+set", "+select")
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port, db=1), scenario) == []


def test_a_cancelled_call_is_not_answered(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        answers: list[bytes | None] = []
        caller.store.look_up(KEY, answers.append).cancel()
        assert await caller.look_up() == b""
        assert answers == []

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_an_answer_that_fails_is_the_end_of_nothing(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        def fail(value: bytes | None) -> None:
            raise ValueError("cannot go on")

        caller.store.look_up(KEY, fail)
        assert await caller.look_up() == b""

    with RedisServer(tmp_path) as server:
        log = run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario)
    assert log == [("error", "a request could not go on with what Redis said")]


def test_a_process_that_was_held_up_reads_the_answer_all_the_same(
    loop_factory: LoopFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(caller: Caller) -> None:
        assert await caller.claim(b"there") == b"there"
        monkeypatch.setattr(LIMIT, SHORT)
        asked = caller.tasks.start(caller.look_up(), name="look up")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.loop.call_soon(time.sleep, 5 * SHORT)  # as the garbage collector might
        assert await asked == b"there"

    with RedisServer(tmp_path) as server:
        assert run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario) == []


def test_more_calls_than_may_wait_get_no_answer(loop_factory: LoopFactory, tmp_path: Path) -> None:
    async def scenario(caller: Caller) -> None:
        answers: list[bytes | None] = []
        for _ in range(MAX_WAITING + 10):
            caller.store.look_up(KEY, answers.append)
        await eventually_async(lambda: len(answers) == MAX_WAITING + 10, what="all are answered")
        assert answers[:10] == [None] * 10
        assert answers.count(b"") > 0

    with RedisServer(tmp_path) as server:
        log = run(loop_factory, RedisSettings("127.0.0.1", server.port), scenario)
    assert log == [("warning", "session store has refused")]
