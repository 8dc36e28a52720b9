"""What becomes of a connection of HTTP/2 in whose service we have failed: it must not stay as it is then."""

from __future__ import annotations

import pytest

from tests.support.multiplexing_client import MultiplexingClient
from vrata.proxy.listener.http2_connection import BEGUN_AT_ONCE
from vrata.proxy.listener.request import DownstreamRequest


class Mistake(Exception):  # noqa: N818 - it is one
    pass


def wrong_from(count: int) -> MultiplexingClient:
    """A client whose requests from that one on meet a mistake."""
    served = 0

    def answer(request: DownstreamRequest) -> None:
        nonlocal served
        served += 1
        if served >= count:
            raise Mistake

    client = MultiplexingClient.started(answer=answer)
    client.believe_in_streams(1000)
    return client


def send_requests(client: MultiplexingClient, count: int) -> None:
    for number in range(1, 2 * count, 2):
        client.h2.send_headers(
            number,
            [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("x", "y" * 200)],
            True,
        )
    client.send(client.h2.data_to_send())


@pytest.mark.parametrize("count", [1, BEGUN_AT_ONCE + 2], ids=["at once", "in a later turn"])
def test_a_mistake_in_what_is_received_ends_the_connection(count: int) -> None:
    client = wrong_from(count)
    with pytest.raises(Mistake):
        send_requests(client, count + 2)
    client.loop.settle()
    assert client.transport.aborted
    assert client.owner.in_flight == 0
    assert not client.owner.connections


def test_a_mistake_in_what_is_sent_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MultiplexingClient.started()
    client.request()

    def write(data: bytes) -> None:
        raise Mistake

    monkeypatch.setattr(client.transport, "write", write)
    with pytest.raises(Mistake):
        client.answer()
    client.loop.settle()
    assert client.transport.aborted
    assert not client.owner.connections
