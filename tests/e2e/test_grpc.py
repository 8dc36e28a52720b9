"""What Vrata itself does with calls of gRPC: failures, deadlines, retries, health, drains; between peers of grpcio."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.support import tls_upstream
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.grpc_client import SOON, Client, Requests, channel, configure, failure, http2_destination
from tests.support.grpc_health_server import GrpcHealthServer
from tests.support.interop_service import SERVICE, InteropServer, asking
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend

# -- what Vrata does itself -------------------------------------------------------------------------------------------


def test_no_route(gateway: Gateway, port: int, grpc_client: Client) -> None:
    gateway.configure(listeners=[listener(port, http2=True)])
    assert failure(grpc_client.unary) == ("UNIMPLEMENTED", "no_route: no matching route")
    stream = grpc_client.full_duplex(itertools.repeat(asking(sizes=[1])))
    assert failure(lambda: next(stream)) == ("UNIMPLEMENTED", "no_route: no matching route")


def test_nobody_listens(gateway: Gateway, port: int, grpc_client: Client) -> None:
    configure(gateway, port, http2_destination(free_port()))
    assert failure(grpc_client.unary) == ("UNAVAILABLE", "connection_refused: upstream connection refused")


def test_a_message_has_the_details_that_the_listener_tells(gateway: Gateway, port: int, grpc_client: Client) -> None:
    nobody = free_port()
    gateway.configure(
        listeners=[listener(port, http2=True, proxyErrors={"detail": "full"})],
        destinations=[http2_destination(nobody)],
        routes=[route("calls", forward=forward("backend"))],
    )
    code, message = failure(grpc_client.unary)
    assert code == "UNAVAILABLE"
    assert f"destination backend; endpoint 127.0.0.1:{nobody}; " in message


def test_our_budget_and_the_cap_of_the_clients(gateway: Gateway, port: int, grpc_client: Client) -> None:
    before = grpc_client.server.counts()["cancelled"]
    for settings in ({"timeouts": {"request": "300ms"}}, {"maxGrpcTimeout": "300ms"}):
        configure(gateway, port, http2_destination(grpc_client.server.port), **settings)
        began = time.monotonic()
        assert failure(lambda: grpc_client.unary(asking(pause=10)))[0] == "DEADLINE_EXCEEDED"
        assert time.monotonic() - began < 9
    eventually(lambda: grpc_client.server.counts()["cancelled"] == before + 2, what="the server's side is cancelled")


def test_a_stream_that_our_budget_ends_ends_with_its_status(gateway: Gateway, port: int, grpc_client: Client) -> None:
    configure(gateway, port, http2_destination(grpc_client.server.port), timeouts={"request": "500ms"})
    requests = Requests()
    call = grpc_client.full_duplex(iter(requests))
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


def test_retries_on_codes(gateway: Gateway, port: int, grpc_client: Client) -> None:
    retry = {"attempts": 2, "on": ["unavailable"], "backoff": {"base": "1ms", "max": "1ms"}}
    configure(gateway, port, http2_destination(grpc_client.server.port), retry=retry)
    for code, attempts in ((14, 3), (13, 1)):
        before = grpc_client.server.counts()["calls"]
        assert failure(lambda code=code: grpc_client.unary(asking(status=code, message="x")))[1] == "x"  # type: ignore[misc]
        assert grpc_client.server.counts()["calls"] - before == attempts


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INTERNAL"), (401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "UNIMPLEMENTED")]
    + [(429, "UNAVAILABLE"), (500, "UNKNOWN"), (502, "UNAVAILABLE"), (503, "UNAVAILABLE"), (200, "UNKNOWN")],
)
def test_a_backend_of_http1_is_answered_for_by_its_status(
    gateway: Gateway, port: int, backend: RecordingBackend, grpc_client: Client, status: int, name: str
) -> None:
    backend.script = lambda exchange: exchange.respond(status, body=b"<html>", headers=[("Content-Type", "text/html")])
    configure(gateway, port, destination("backend", backend.port))
    assert failure(grpc_client.unary)[0] == name
    (seen,) = backend.requests
    assert (seen.method, seen.target, seen.all("TE")) == ("POST", f"/{SERVICE}/UnaryCall", ["trailers"])


def test_calls_survive_a_drain(tmp_path: Path, interop_servers: dict[bool, InteropServer]) -> None:
    port, server = free_port(), interop_servers[False]
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


def test_endpoints_are_asked_by_the_health_service(gateway: Gateway, port: int) -> None:
    with GrpcHealthServer(tls_upstream.certificate()) as server:
        server.be("SERVING", "a.B")
        check = {"type": "grpc", "service": "a.B", "interval": "100ms", "unhealthyThreshold": 1, "healthyThreshold": 1}
        configure(gateway, port, http2_destination(server.port, secured=True, healthCheck=check))

        def health() -> dict[str, Any]:
            (view,) = gateway.call("GET", "/destinations/backend/endpoints")["proxies"]
            (found,) = view["endpoints"]
            return dict(found["verdicts"]["health"])

        eventually(lambda: health()["state"] == "healthy", what="the endpoint has been probed")
        server.be("NOT_SERVING", "a.B")
        eventually(lambda: health()["state"] == "unhealthy", what="the endpoint is unhealthy")
        assert health()["reason"] == "NOT_SERVING"
        server.be("SERVING", "a.B")
        eventually(lambda: health()["state"] == "healthy", what="the endpoint is healthy again")
        # Calls of that very service go through the proxy like any other.
        with channel(port) as opened:
            check_call = opened.unary_unary(f"/{health_pb2.DESCRIPTOR.package}.Health/Check")
            request = health_pb2.HealthCheckRequest(service="a.B").SerializeToString()
            assert health_pb2.HealthCheckResponse.FromString(check_call(request, timeout=SOON)).status == 1


@pytest.mark.parametrize(
    ("content_type", "matches"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc+json", True),
        ("application/grpc;charset=utf-8", True),
        ("Application/gRPC+proto", True),
        ("application/grpc-web", True),
        ("application/grpc-web-text+proto", True),
        ("application/json", False),
        ("application/gr", False),
        ("text/application/grpc", False),
    ],
)
def test_match_grpc_goes_by_the_beginning_of_the_content_type(
    gateway: Gateway, port: int, content_type: str, matches: bool
) -> None:
    gateway.configure(
        listeners=[listener(port, http2=True)],
        routes=[
            route("calls", {"grpc": True}, directResponse={"status": 200, "body": "call"}),
            route("rest", directResponse={"status": 200, "body": "rest"}),
        ],
    )
    for version in ("--http2-prior-knowledge", "--http1.1"):
        command = ["curl", "-sS", "--max-time", "20", version, "-X", "POST", "-H", f"content-type: {content_type}"]
        found = subprocess.run([*command, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True)
        assert found.stdout == ("call" if matches else "rest")


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
