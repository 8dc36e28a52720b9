from __future__ import annotations

import asyncio

import structlog

from vrata.net.deadlines import INTERVAL, NEVER, DeadlineSweeper


class Alarm:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.rang = asyncio.Event()
        self.rang_at = 0.0

    def expire(self) -> None:
        self.deadline = NEVER
        self.rang_at = asyncio.get_running_loop().time()
        self.rang.set()


def test_an_overdue_object_expires_once_and_not_before_its_time() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        sweeper = DeadlineSweeper(loop)
        due = loop.time() + 2 * INTERVAL
        alarm, silent, forgotten = Alarm(due), Alarm(NEVER), Alarm(loop.time())
        for watched in (alarm, silent, forgotten):
            sweeper.watch(watched)
        sweeper.forget(forgotten)
        sweeper.start()
        await asyncio.wait_for(alarm.rang.wait(), 30)
        assert alarm.rang_at >= due
        assert not silent.rang.is_set()
        assert not forgotten.rang.is_set()
        sweeper.stop()

    asyncio.run(scenario())


def test_objects_may_come_and_go_while_the_sweep_calls_them() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        sweeper = DeadlineSweeper(loop)
        newcomer = Alarm(loop.time())

        class Host(Alarm):
            def expire(self) -> None:
                super().expire()
                sweeper.forget(self)
                sweeper.watch(newcomer)

        sweeper.watch(Host(loop.time()))
        sweeper.start()
        await asyncio.wait_for(newcomer.rang.wait(), 30)
        sweeper.stop()

    asyncio.run(scenario())


def test_a_stopped_sweeper_expires_nothing() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        stopped, running = DeadlineSweeper(loop), DeadlineSweeper(loop)
        silent, alarm = Alarm(loop.time()), Alarm(loop.time() + 3 * INTERVAL)
        stopped.watch(silent)
        running.watch(alarm)
        stopped.start()
        stopped.stop()
        running.start()
        await asyncio.wait_for(alarm.rang.wait(), 30)
        assert not silent.rang.is_set()
        running.stop()

    asyncio.run(scenario())


def test_an_expiry_that_fails_is_logged_and_keeps_none_of_the_others() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        sweeper = DeadlineSweeper(loop)

        class Broken(Alarm):
            def expire(self) -> None:
                super().expire()
                raise RuntimeError("broken")

        alarms = [Broken(loop.time()), Alarm(loop.time()), Broken(loop.time())]
        for alarm in alarms:
            sweeper.watch(alarm)
        sweeper.start()
        for alarm in alarms:
            await asyncio.wait_for(alarm.rang.wait(), 30)
        sweeper.stop()

    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    assert [entry["event"] for entry in logs] == ["expiry failed"] * 2
