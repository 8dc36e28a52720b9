"""The channel between supervisor and worker, on a real socket pair."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import pytest

from tests.support.conditions import eventually_async
from vrata.proxy import memory_file
from vrata.proxy.channel import (
    MAX_PACKET,
    AdoptListener,
    AnswerScrape,
    Applied,
    Apply,
    Channel,
    CollectMetrics,
    Drain,
    Drained,
    MalformedMessage,
    Message,
    MetricsHandedOver,
    ProblemsChanged,
    Rejected,
    ScrapeArrived,
    ShareBuckets,
    ShareCounts,
    TerminationRequested,
    decode,
    encode,
)
from vrata.proxy.status import EntityProblem

MESSAGES: list[Message] = [
    ShareCounts(),
    ShareBuckets(),
    AdoptListener("[::1]:3000"),
    Apply(7),
    Drain(30.0),
    Applied(7, (EntityProblem("route", "r1", "näme", 'says "no"'),)),
    Applied(8, ()),
    ProblemsChanged(8, (EntityProblem("middleware", "m1", "log", "no file"),)),
    Rejected(9, "because"),
    Drained(complete=False),
    TerminationRequested(),
    CollectMetrics(3),
    MetricsHandedOver(3),
    ScrapeArrived(1, "l1", "0.0.0.0:3000", openmetrics=True),
    AnswerScrape(1),
]


class End:
    """One end of a channel, which remembers what it got."""

    def __init__(self, sock: socket.socket) -> None:
        self.messages: list[Message] = []
        self.descriptors: list[int | None] = []
        self.closed = 0
        self.channel = Channel(sock, self._on_message, self._on_closed)

    def _on_message(self, message: Message, descriptor: int | None) -> None:
        self.messages.append(message)
        self.descriptors.append(descriptor)

    def _on_closed(self) -> None:
        self.closed += 1


def with_pair(scenario: Callable[[End, End], Awaitable[None]]) -> None:
    async def run() -> None:
        left, right = (End(sock) for sock in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        try:
            await scenario(left, right)
        finally:
            left.channel.close()
            right.channel.close()

    asyncio.run(run())


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_every_message_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "packet", [b"", b"{}", b"[]", b'{"kind":"Flee"}', b'{"kind":"Apply"}', b'{"kind":"Apply","x":1}']
)
def test_a_foreign_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(packet)


def test_a_message_larger_than_a_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="Rejected"):
        encode(Rejected(1, "x" * MAX_PACKET))


def test_messages_arrive_in_order_with_their_descriptors() -> None:
    async def scenario(left: End, right: End) -> None:
        descriptor = memory_file.create("test", b"content")
        left.channel.send(Drain(1.0))
        left.channel.send(Apply(1), descriptor)
        os.close(descriptor)
        left.channel.send(Drain(2.0))
        await eventually_async(lambda: len(right.messages) == 3, what="three messages")
        assert right.messages == [Drain(1.0), Apply(1), Drain(2.0)]
        first, received, last = right.descriptors
        assert (first, last) == (None, None)
        assert received is not None
        assert memory_file.read(received) == b"content"
        assert not os.get_inheritable(received)
        os.close(received)

    with_pair(scenario)


def test_a_slow_receiver_gets_everything_though_descriptors_were_closed_meanwhile() -> None:
    async def scenario(left: End, right: End) -> None:
        count = 3000
        for number in range(count):
            descriptor = memory_file.create("test", str(number).encode()) if number % 100 == 0 else None
            left.channel.send(Apply(number), descriptor)
            if descriptor is not None:
                os.close(descriptor)
        assert "0 unsent" not in repr(left.channel)
        await eventually_async(lambda: len(right.messages) == count, what="all messages")
        assert right.messages == [Apply(number) for number in range(count)]
        for number, received in enumerate(right.descriptors):
            if number % 100 == 0:
                assert received is not None
                assert memory_file.read(received) == str(number).encode()
                os.close(received)
        assert "0 unsent" in repr(left.channel)

    with_pair(scenario)


def test_the_end_of_one_side_is_noticed_once_by_the_other() -> None:
    async def scenario(left: End, right: End) -> None:
        left.channel.send(Drained(complete=True))
        left.channel.close()
        left.channel.close()
        await eventually_async(lambda: right.closed, what="end of file")
        assert right.messages == [Drained(complete=True)]
        assert right.channel.is_closed
        right.channel.send(Drain(1.0))
        assert right.closed == 1
        assert left.closed == 0

    with_pair(scenario)


def test_sending_to_a_peer_that_is_gone_is_no_error() -> None:
    async def scenario(left: End, right: End) -> None:
        right.channel.close()
        left.channel.send(Drain(1.0))
        await eventually_async(lambda: left.closed, what="end of file")

    with_pair(scenario)


def test_a_memory_file_cannot_be_changed() -> None:
    descriptor = memory_file.create("test", b"content")
    try:
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"C", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 1)
        assert memory_file.read(descriptor) == memory_file.read(descriptor) == b"content"
    finally:
        os.close(descriptor)
