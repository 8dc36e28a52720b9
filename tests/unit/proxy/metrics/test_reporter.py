"""A worker's reporter, on a real channel; the test is the supervisor."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from vrata.proxy import memory_file
from vrata.proxy.channel import AnswerScrape, Channel, Message, MetricsHandedOver, ScrapeArrived
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.reporter import UNASKED, MetricsReporter
from vrata.proxy.metrics.scrape import MetricsUnavailable

KEY = ("l", "0.0.0.0:80")


class Talk:
    """Both ends. What the worker has counted is in *lines*; what it handed over, in *contents*."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lines: list[Line] = []
        self.messages: list[Message] = []
        self.contents: list[bytes] = []
        self.supervisor = Channel(ours, self._on_event, lambda: None)
        self.worker = Channel(theirs, self._on_command, lambda: None)
        self.reporter = MetricsReporter(self.worker, self._take)

    def _take(self) -> Iterator[Line]:
        taken, self.lines = self.lines, []
        yield from taken

    def _on_event(self, message: Message, descriptor: int | None) -> None:
        self.messages.append(message)
        if descriptor is not None:
            self.contents.append(memory_file.read(descriptor))
            os.close(descriptor)

    def _on_command(self, message: Message, descriptor: int | None) -> None:
        assert isinstance(message, AnswerScrape)
        assert descriptor is not None
        self.reporter.answer_scrape(message.scrape, descriptor)

    def answer(self, scrape: int, text: bytes) -> None:
        descriptor = memory_file.create("text", text)
        self.supervisor.send(AnswerScrape(scrape), descriptor)
        os.close(descriptor)

    async def arrived(self, count: int) -> None:
        await eventually_async(lambda: len(self.messages) >= count, what=f"{count} messages, not {self.messages}")


def run(scenario: Callable[[Talk], Awaitable[None]]) -> None:
    async def main() -> None:
        talk = Talk()
        try:
            await scenario(talk)
        finally:
            talk.supervisor.close()
            talk.worker.close()

    with capture_logs():
        asyncio.run(main())


def test_what_was_counted_is_handed_over() -> None:
    async def scenario(talk: Talk) -> None:
        talk.lines = [(b"one", True), (b"two", False)]
        await talk.reporter.hand_over(7)
        await talk.arrived(1)
        assert talk.messages == [MetricsHandedOver(7)]
        assert talk.contents == [b"one\ntwo"]

    run(scenario)


def test_unasked_it_speaks_only_when_something_has_changed() -> None:
    async def scenario(talk: Talk) -> None:
        for lines in (
            [],
            [(b"counted", True)],
            [(b"stated", False)],
            [(b"stated", False)],
            [(b"stated otherwise", False)],
            [],
            [],
            [(b"counted", True)],
            [(b"counted", True)],
        ):
            talk.lines = lines
            await talk.reporter.hand_over(UNASKED)
        await talk.arrived(6)
        assert talk.contents == [b"counted", b"stated", b"stated otherwise", b"", b"counted", b"counted"]

    run(scenario)


def test_asked_it_always_answers() -> None:
    async def scenario(talk: Talk) -> None:
        for number in (1, 2):
            await talk.reporter.hand_over(number)
        await talk.arrived(2)
        assert talk.messages == [MetricsHandedOver(1), MetricsHandedOver(2)]

    run(scenario)


def test_it_hands_over_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrata.proxy.metrics.reporter.INTERVAL", 0.01)

    async def scenario(talk: Talk) -> None:
        reporting = asyncio.get_running_loop().create_task(talk.reporter.report_forever())
        for count in (1, 2):
            talk.lines = [(b"counted", True)]
            await talk.arrived(count)
        reporting.cancel()

    run(scenario)


def test_thousands_of_series_do_not_hold_up_the_loop() -> None:
    async def scenario(talk: Talk) -> None:
        def take() -> Iterator[Line]:
            for number in range(3000):
                sum(range(300))
                yield b"%d" % number, True

        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.get_running_loop().create_task(other())
        await MetricsReporter(talk.worker, take).hand_over(1)
        assert turns > 3
        turning.cancel()
        await talk.arrived(1)
        assert talk.contents[0].count(b"\n") == 2999

    run(scenario)


def test_what_cannot_be_handed_over_waits_and_is_not_lost() -> None:
    async def scenario(talk: Talk) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        talk.lines = [(b"first", True)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no file can be opened
        try:
            await talk.reporter.hand_over(1)
            talk.lines = [(b"second", True)]
            await talk.reporter.hand_over(2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert talk.lines == [(b"second", True)], "nothing is taken that cannot be sent"
        await talk.reporter.hand_over(UNASKED)
        await talk.arrived(2)
        assert talk.contents == [b"first", b"second"]

    run(scenario)


def test_a_scrape_is_answered_with_what_the_supervisor_says() -> None:
    async def scenario(talk: Talk) -> None:
        loop = asyncio.get_running_loop()
        first = loop.create_task(talk.reporter.exposition(KEY, openmetrics=False))
        second = loop.create_task(talk.reporter.exposition(KEY, openmetrics=True))
        await talk.arrived(2)
        assert talk.messages == [ScrapeArrived(1, *KEY, False), ScrapeArrived(2, *KEY, True)]
        talk.answer(2, b"second")
        talk.answer(1, b"x" * 1_000_000)
        assert await second == b"second"
        assert await first == b"x" * 1_000_000

    run(scenario)


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    async def scenario(talk: Talk) -> None:
        asking = asyncio.get_running_loop().create_task(talk.reporter.exposition(KEY, openmetrics=False))
        await talk.arrived(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        before = len(os.listdir("/proc/self/fd"))
        talk.answer(1, b"late")
        talk.answer(99, b"of a scrape that never was")
        again = asyncio.get_running_loop().create_task(talk.reporter.exposition(KEY, openmetrics=False))
        await talk.arrived(2)
        talk.answer(2, b"good")
        assert await again == b"good"
        assert len(os.listdir("/proc/self/fd")) <= before  # fewer when the collector closed what others left

    run(scenario)


def test_without_a_supervisor_there_is_nothing_to_show() -> None:
    async def scenario(talk: Talk) -> None:
        talk.worker.close()
        await talk.reporter.hand_over(1)
        with pytest.raises(MetricsUnavailable):
            await talk.reporter.exposition(KEY, openmetrics=False)

    run(scenario)
