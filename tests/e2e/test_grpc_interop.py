"""gRPC through Vrata: the public interop cases, between a client and a server of grpcio that know nothing of it.

https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
"""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support import tls_listener, tls_upstream
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.interop_service import INITIAL, SERVICE, TRAILING, InteropServer, asking
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend

SOON = 20
"""Seconds after which a call that does not end fails its test."""
WAYS = ["clear to clear", "TLS to clear", "clear to TLS", "TLS to TLS"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, InteropServer]]:
    """The server without TLS, and the one with it."""
    directory = tmp_path_factory.mktemp("interop")
    with InteropServer(directory) as plain, InteropServer(directory, tls_upstream.certificate()) as secured:
        yield {False: plain, True: secured}


def http2_destination(port: int, *, secured: bool = False, **options: Any) -> dict[str, Any]:
    document = tls_upstream.secured(port) if secured else destination("backend", port)
    document["options"] = {**document.get("options", {}), "http2": True, **options}
    return document


def configure(gateway: Gateway, port: int, document: dict[str, Any], *, tls: bool = False, **settings: Any) -> None:
    """Forward all calls to the destination in *document*; *settings* are those of the forward action."""
    members: dict[str, Any] = {"tls": tls_listener.terminating()} if tls else {}
    gateway.configure(
        listeners=[listener(port, http2=True, **members)],
        destinations=[document],
        routes=[route("calls", {"grpc": True}, forward=forward("backend", **settings))],
    )


def channel(port: int, *, tls: bool = False, **options: Any) -> Any:
    """A channel of its own connection to *port*."""
    arguments = [("grpc.use_local_subchannel_pool", 1), *options.items()]
    address = f"127.0.0.1:{port}"
    if not tls:
        return grpc.insecure_channel(address, options=arguments)
    credentials = grpc.ssl_channel_credentials(tls_listener.authority().cert_text.encode())
    return grpc.secure_channel(address, credentials, [*arguments, ("grpc.ssl_target_name_override", "proxy.test")])


class Client:
    """The methods of the service, and the server that is behind them."""

    def __init__(self, opened: Any, server: InteropServer) -> None:
        self.channel = opened
        self.server = server

    def unary(self, request: bytes = b"", method: str = "UnaryCall", service: str = SERVICE, **settings: Any) -> Any:
        """The result of a call with one message each way, and the call."""
        found = self.channel.unary_unary(f"/{service}/{method}")
        return found.with_call(request, **{"timeout": SOON, **settings})

    def stream_in(self, requests: Iterator[bytes], **settings: Any) -> Any:
        return self.channel.stream_unary(f"/{SERVICE}/StreamingInputCall").future(
            requests, **{"timeout": SOON, **settings}
        )

    def stream_out(self, request: bytes, **settings: Any) -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/StreamingOutputCall")(request, **{"timeout": SOON, **settings})

    def full_duplex(self, requests: Iterator[bytes], **settings: Any) -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/FullDuplexCall")(requests, **{"timeout": SOON, **settings})


@pytest.fixture(scope="module", params=WAYS)
def client(
    request: pytest.FixtureRequest, gateway: Gateway, port: int, servers: dict[bool, InteropServer]
) -> Iterator[Client]:
    front, behind = request.param.startswith("TLS"), request.param.endswith("TLS")
    configure(gateway, port, http2_destination(servers[behind].port, secured=behind), tls=front)
    with channel(port, tls=front) as opened:
        yield Client(opened, servers[behind])


@pytest.fixture
def plain(gateway: Gateway, port: int, servers: dict[bool, InteropServer]) -> Iterator[Client]:
    """A client without TLS on the way; its test may configure the gateway otherwise."""
    configure(gateway, port, http2_destination(servers[False].port))
    with channel(port) as opened:
        yield Client(opened, servers[False])


def failure(call: Callable[[], Any]) -> tuple[str, str]:
    """The status of a *call* that has to fail: name of the code, and message."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value.code().name, failed.value.details()


class Requests:
    """The requests of a client that goes on when it wants to."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._queue.get, None)

    def send(self, request: bytes) -> None:
        self._queue.put(request)

    def end(self) -> None:
        self._queue.put(None)


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


def test_a_stream_outlasts_the_listeners_limits(gateway: Gateway, port: int, plain: Client) -> None:
    limits = {"clientRequest": "500ms", "clientResponse": "500ms"}
    gateway.configure(
        listeners=[listener(port, http2=True, timeouts=limits)],
        destinations=[http2_destination(plain.server.port)],
        routes=[route("calls", forward=forward("backend"))],
    )
    requests = Requests()
    call = plain.full_duplex(iter(requests))
    for _ in range(4):
        requests.send(asking(sizes=[5], pause=0.4))
        assert len(next(call)) == 5
    requests.end()
    assert list(call) == []


def test_a_client_that_reads_slowly_gets_everything(plain: Client) -> None:
    sizes = [65_536] * 200
    call = plain.stream_out(asking(sizes=sizes))
    received = []
    for response in call:
        received.append(len(response))
        time.sleep(0.002)
    assert received == sizes


# -- what Vrata does itself -------------------------------------------------------------------------------------------


def test_no_route(gateway: Gateway, port: int, plain: Client) -> None:
    gateway.configure(listeners=[listener(port, http2=True)])
    assert failure(plain.unary) == ("UNIMPLEMENTED", "no_route: no matching route")
    stream = plain.full_duplex(itertools.repeat(asking(sizes=[1])))
    assert failure(lambda: next(stream)) == ("UNIMPLEMENTED", "no_route: no matching route")


def test_nobody_listens(gateway: Gateway, port: int, plain: Client) -> None:
    configure(gateway, port, http2_destination(free_port()))
    assert failure(plain.unary) == ("UNAVAILABLE", "connection_refused: upstream connection refused")


def test_a_message_has_the_details_that_the_listener_tells(gateway: Gateway, port: int, plain: Client) -> None:
    nobody = free_port()
    gateway.configure(
        listeners=[listener(port, http2=True, proxyErrors={"detail": "full"})],
        destinations=[http2_destination(nobody)],
        routes=[route("calls", forward=forward("backend"))],
    )
    code, message = failure(plain.unary)
    assert code == "UNAVAILABLE"
    assert f"destination backend; endpoint 127.0.0.1:{nobody}; " in message


def test_our_budget_and_the_cap_of_the_clients(gateway: Gateway, port: int, plain: Client) -> None:
    before = plain.server.counts()["cancelled"]
    for settings in ({"timeouts": {"request": "300ms"}}, {"maxGrpcTimeout": "300ms"}):
        configure(gateway, port, http2_destination(plain.server.port), **settings)
        began = time.monotonic()
        assert failure(lambda: plain.unary(asking(pause=3)))[0] == "DEADLINE_EXCEEDED"
        assert time.monotonic() - began < 2.5
    eventually(lambda: plain.server.counts()["cancelled"] == before + 2, what="the server's side is cancelled")


def test_a_stream_that_our_budget_ends_ends_with_its_status(gateway: Gateway, port: int, plain: Client) -> None:
    configure(gateway, port, http2_destination(plain.server.port), timeouts={"request": "500ms"})
    requests = Requests()
    call = plain.full_duplex(iter(requests))
    requests.send(asking(sizes=[10]))
    assert len(next(call)) == 10
    assert failure(lambda: next(call)) == ("DEADLINE_EXCEEDED", "timeout: request timeout")
    requests.end()


def test_a_server_that_dies_ends_calls_with_a_status(gateway: Gateway, port: int, tmp_path: Path) -> None:
    with InteropServer(tmp_path) as server:
        configure(gateway, port, http2_destination(server.port))
        with channel(port) as opened:
            client = Client(opened, server)
            endless = [Requests(), Requests()]
            begun = [client.full_duplex(iter(requests)) for requests in endless]
            for requests, call in zip(endless, begun, strict=True):
                requests.send(asking(sizes=[10]))
                assert len(next(call)) == 10
            waiting = opened.unary_unary(f"/{SERVICE}/UnaryCall").future(asking(pause=30), timeout=SOON)
            eventually(lambda: server.counts()["calls"] == 3, what="all calls have begun")
            server.kill()
            expected = ("UNAVAILABLE", "connection_reset: upstream connection reset")
            for call in begun:
                assert failure(lambda call=call: next(call)) == expected  # type: ignore[misc]
            assert failure(waiting.result) == expected
            for requests in endless:
                requests.end()
            # What comes after it is no call that hangs either.
            assert failure(client.unary)[0] == "UNAVAILABLE"


def test_retries_on_codes(gateway: Gateway, port: int, plain: Client) -> None:
    retry = {"attempts": 2, "on": ["unavailable"], "backoff": {"base": "1ms", "max": "1ms"}}
    configure(gateway, port, http2_destination(plain.server.port), retry=retry)
    for code, attempts in ((14, 3), (13, 1)):
        before = plain.server.counts()["calls"]
        assert failure(lambda code=code: plain.unary(asking(status=code, message="x")))[1] == "x"  # type: ignore[misc]
        assert plain.server.counts()["calls"] - before == attempts


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INTERNAL"), (401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "UNIMPLEMENTED")]
    + [(429, "UNAVAILABLE"), (500, "UNKNOWN"), (502, "UNAVAILABLE"), (503, "UNAVAILABLE"), (200, "UNKNOWN")],
)
def test_a_backend_of_http1_is_answered_for_by_its_status(
    gateway: Gateway, port: int, backend: RecordingBackend, plain: Client, status: int, name: str
) -> None:
    backend.script = lambda exchange: exchange.respond(status, body=b"<html>", headers=[("Content-Type", "text/html")])
    configure(gateway, port, destination("backend", backend.port))
    assert failure(plain.unary)[0] == name
    (seen,) = backend.requests
    assert (seen.method, seen.target, seen.all("TE")) == ("POST", f"/{SERVICE}/UnaryCall", ["trailers"])


def test_calls_survive_a_drain(tmp_path: Path, servers: dict[bool, InteropServer]) -> None:
    port, server = free_port(), servers[False]
    with Gateway(tmp_path, proxy={"workers": 2}) as gateway:
        configure(gateway, port, http2_destination(server.port))
        stop = threading.Event()
        outcomes: list[int] = []
        failures: list[object] = []

        def load() -> None:
            with channel(port) as opened:
                client = Client(opened, server)
                while not stop.is_set():
                    try:
                        stream = client.full_duplex(iter([asking(sizes=[7, 7, 7], pause=0.05)] * 2))
                        outcomes.append(sum(len(each) for each in stream))
                        client.unary(asking(sizes=[9]))
                    except grpc.RpcError as error:
                        failures.append(error)

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for worker in gateway.workers():
                done = len(outcomes)
                subprocess.run(["kill", str(worker)], check=True)
                eventually(lambda worker=worker: worker not in gateway.workers(), 40, what="the worker has ended")  # type: ignore[misc]
                eventually(lambda done=done: len(outcomes) > done + 16, 40, what="calls go on")  # type: ignore[misc]
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert failures == []
        assert set(outcomes) == {42}
        assert gateway.process.terminate(40) == 0


def test_curl_shows_the_status(gateway: Gateway, port: int) -> None:
    gateway.configure(listeners=[listener(port, http2=True)])
    for version in ("--http2-prior-knowledge", "--http2", "--http1.1"):
        shown = subprocess.run(
            [
                "curl",
                "-sS",
                "-i",
                "--max-time",
                "20",
                version,
                "-X",
                "POST",
                "-H",
                "content-type: application/grpc+proto",
            ]
            + [f"http://127.0.0.1:{port}/a.B/C"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.lower()
        assert "grpc-status: 12" in shown
        assert "grpc-message: no_route: no matching route" in shown
        assert "content-type: application/grpc\n" in shown.replace("\r", "")
