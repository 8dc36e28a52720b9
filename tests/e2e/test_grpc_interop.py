"""gRPC through Vrata: the public interop cases, between a client and a server of grpcio that know nothing of it.

https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, forward, listener, route
from tests.support.grpc_client import SOON, Client, Requests, channel, configure, failure, http2_destination
from tests.support.interop_service import INITIAL, SERVICE, TRAILING, InteropServer, asking

WAYS = ["clear to clear", "TLS to clear", "clear to TLS", "TLS to TLS"]


@pytest.fixture(scope="module", params=WAYS)
def client(
    request: pytest.FixtureRequest, gateway: Gateway, port: int, interop_servers: dict[bool, InteropServer]
) -> Iterator[Client]:
    front, behind = request.param.startswith("TLS"), request.param.endswith("TLS")
    configure(gateway, port, http2_destination(interop_servers[behind].port, secured=behind), tls=front)
    with channel(port, tls=front) as opened:
        yield Client(opened, interop_servers[behind])


# -- the cases, by their public names ---------------------------------------------------------------------------------


def test_empty_unary(client: Client) -> None:
    response, call = client.unary(method="EmptyCall")
    assert (response, call.code()) == (b"", grpc.StatusCode.OK)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_large_unary(client: Client, compression: Any) -> None:
    metadata = (("x-compress", "1"),) if compression is grpc.Compression.Gzip else ()
    response, _ = client.unary(asking(sizes=[314159], pad=271828), compression=compression, metadata=metadata)
    assert response == b"\0" * 314159


def test_client_streaming(client: Client) -> None:
    requests = (b"x" * size for size in (27182, 8, 1828, 45904))
    assert json.loads(client.stream_in(requests).result()) == {"total": 74922}


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_server_streaming(client: Client, compression: Any) -> None:
    sizes = [31415, 9, 2653, 58979]
    metadata = (("x-compress", "1"),) if compression is grpc.Compression.Gzip else ()
    responses = client.stream_out(asking(sizes=sizes), compression=compression, metadata=metadata)
    assert [len(each) for each in responses] == sizes


def test_ping_pong(client: Client) -> None:
    requests = Requests()
    call = client.full_duplex(iter(requests))
    for asked, size in ((27182, 31415), (8, 9), (1828, 2653), (45904, 58979)):
        requests.send(asking(sizes=[size], pad=asked))
        assert len(next(call)) == size
    requests.end()
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_empty_stream(client: Client) -> None:
    call = client.full_duplex(iter(()))
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_cancel_after_begin(client: Client) -> None:
    before = client.server.counts()["cancelled"]
    requests = Requests()
    call = client.stream_in(iter(requests))
    call.cancel()
    requests.end()
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    assert call.code() is grpc.StatusCode.CANCELLED
    # One whose request has arrived is cancelled over there as well.
    requests = Requests()
    began = client.server.counts()["calls"]
    call = client.stream_in(iter(requests))
    requests.send(b"x")
    eventually(lambda: client.server.counts()["calls"] > began, what="the call has begun")
    call.cancel()
    requests.end()
    eventually(lambda: client.server.counts()["cancelled"] > before, what="the server's side is cancelled")


def test_cancel_after_first_response(client: Client) -> None:
    before = client.server.counts()["cancelled"]
    requests = Requests()
    call = client.full_duplex(iter(requests))
    requests.send(asking(sizes=[31415], pad=27182))
    assert len(next(call)) == 31415
    call.cancel()
    requests.end()
    with pytest.raises(grpc.RpcError):
        next(call)
    assert call.code() is grpc.StatusCode.CANCELLED
    eventually(lambda: client.server.counts()["cancelled"] > before, what="the server's side is cancelled")


def test_timeout_on_sleeping_server(client: Client) -> None:
    requests = Requests()
    call = client.full_duplex(iter(requests), timeout=0.001)
    requests.send(asking(sizes=[31415], pad=27182, pause=1))
    assert failure(lambda: next(call))[0] == "DEADLINE_EXCEEDED"
    requests.end()


def test_custom_metadata(client: Client) -> None:
    metadata = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
    response, call = client.unary(asking(sizes=[314159], pad=271828), metadata=metadata)
    assert len(response) == 314159
    duplex = client.full_duplex(iter([asking(sizes=[314159], pad=271828)]), metadata=metadata)
    assert [len(each) for each in duplex] == [314159]
    for each in (call, duplex):
        assert dict(each.initial_metadata())[INITIAL] == "test_initial_metadata_value"
        assert dict(each.trailing_metadata())[TRAILING] == b"\xab\xab\xab"


def test_status_code_and_message(client: Client) -> None:
    wanted = asking(status=2, message="test status message")
    expected = ("UNKNOWN", "test status message")
    assert failure(lambda: client.unary(wanted)) == expected
    assert failure(lambda: list(client.full_duplex(iter([wanted])))) == expected


def test_special_status_message(client: Client) -> None:
    message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    assert failure(lambda: client.unary(asking(status=2, message=message))) == ("UNKNOWN", message)


def test_unimplemented_method(client: Client) -> None:
    assert failure(lambda: client.unary(method="UnimplementedCall"))[0] == "UNIMPLEMENTED"


def test_unimplemented_service(client: Client) -> None:
    service = "grpc.testing.UnimplementedService"
    assert failure(lambda: client.unary(service=service))[0] == "UNIMPLEMENTED"


def test_every_status_comes_through(client: Client) -> None:
    for code in range(1, 17):
        name, message = failure(lambda code=code: client.unary(asking(status=code, message=f"{code}")))  # type: ignore[misc]
        assert (name, message) == (next(each.name for each in grpc.StatusCode if each.value[0] == code), f"{code}")


# -- many, and for long -----------------------------------------------------------------------------------------------


def test_a_hundred_calls_at_once_over_one_connection(client: Client) -> None:
    unary = client.channel.unary_unary(f"/{SERVICE}/UnaryCall")
    calls = [unary.future(asking(sizes=[1000 + number], pause=0.05), timeout=SOON) for number in range(100)]
    assert [len(call.result()) for call in calls] == [1000 + number for number in range(100)]
    streams = [client.full_duplex(iter([asking(sizes=[number, 70_000, 1])] * 3)) for number in range(100)]
    for number, stream in enumerate(streams):
        assert [len(each) for each in stream] == [number, 70_000, 1] * 3


def test_a_stream_outlasts_the_listeners_limits(gateway: Gateway, port: int, grpc_client: Client) -> None:
    limits = {"clientRequest": "500ms", "clientResponse": "500ms"}
    gateway.configure(
        listeners=[listener(port, http2=True, timeouts=limits)],
        destinations=[http2_destination(grpc_client.server.port)],
        routes=[route("calls", forward=forward("backend"))],
    )
    requests = Requests()
    call = grpc_client.full_duplex(iter(requests))
    for _ in range(4):
        requests.send(asking(sizes=[5], pause=0.4))
        assert len(next(call)) == 5
    requests.end()
    assert list(call) == []


def test_a_client_that_reads_slowly_gets_everything(grpc_client: Client) -> None:
    sizes = [65_536] * 200
    call = grpc_client.stream_out(asking(sizes=sizes))
    received = []
    for response in call:
        received.append(len(response))
        time.sleep(0.002)
    assert received == sizes
