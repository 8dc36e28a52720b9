"""Backends and clients that do what they should not, or what few do: each harms its own exchange at most."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.raw_http import Connection, TruncatedResponse, fetch
from tests.support.recording_backend import Exchange, RecordingBackend, Script


@pytest.fixture
def hasty() -> Iterator[RecordingBackend]:
    """A backend that answers when it has seen the head, and reads no bodies."""
    with RecordingBackend("hasty", reads_bodies=False) as running:
        yield running


@pytest.fixture(autouse=True)
def _configured(gateway: Gateway, port: int, backend: RecordingBackend, hasty: RecordingBackend) -> None:
    gateway.configure(
        listeners=[listener(port)],
        destinations=[
            destination("backend", backend.port),
            destination("hasty", hasty.port, timeouts={"expectContinue": "200ms"}),
        ],
        routes=[
            route("hasty", {"pathPrefix": "/hasty"}, forward=forward("hasty")),
            route("all", forward=forward("backend")),
        ],
    )


def answering(raw: bytes, *, then_close: bool = False) -> Script:
    """A script that sends *raw* as it is."""

    def script(exchange: Exchange) -> None:
        exchange.send(raw)
        if then_close:
            exchange.close()

    return script


class TestBackends:
    def test_an_answer_before_the_body_was_read_reaches_the_client(self, port: int, hasty: RecordingBackend) -> None:
        def refuse(exchange: Exchange) -> None:
            exchange.respond(413, headers=[("Connection", "close")], body=b"too much")
            # Only the writing half: closing at once would reset the connection and might destroy the answer.
            exchange.finish_writing()

        hasty.script = refuse
        with Connection(port) as client:
            client.request("POST", "/hasty", headers=[("Content-Length", str(50_000_000))])
            try:
                for _ in range(50):
                    client.send(b"x" * 1_000_000)
            except OSError:
                pass  # it does not want the rest
            response = client.read_response("POST")
        assert (response.status, response.body) == (413, b"too much")

    def test_a_final_answer_instead_of_a_continue(self, port: int, hasty: RecordingBackend) -> None:
        hasty.script = lambda exchange: exchange.respond(401, headers=[("Connection", "close")], body=b"no")
        with Connection(port) as client:
            client.request("POST", "/hasty", headers=[("Expect", "100-continue"), ("Content-Length", "10")])
            response = client.read_response("POST", interim=True)
        assert (response.status, response.body) == (401, b"no")

    def test_no_continue_at_all(self, port: int, hasty: RecordingBackend) -> None:
        go_on = threading.Event()

        def silent(exchange: Exchange) -> None:
            assert go_on.wait(20)
            exchange.respond(200, headers=[("Connection", "close")], body=b"fine")

        hasty.script = silent
        with Connection(port) as client:
            client.request("POST", "/hasty", headers=[("Expect", "100-continue"), ("Content-Length", "4")])
            # After the destination's expectContinue the proxy itself tells the client to go on.
            assert client.read_response("POST", interim=True).status == 100
            client.send(b"body")
            go_on.set()
            assert client.read_response("POST").body == b"fine"

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + b"EXTRA", id="after a length"),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
                id="a second answer",
            ),
            pytest.param(
                b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", id="after a status without body"
            ),
            pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", id="after a not modified"),
        ],
    )
    def test_bytes_beyond_an_answer_never_become_the_next_one(
        self, port: int, backend: RecordingBackend, raw: bytes
    ) -> None:
        for _ in range(5):
            backend.script = answering(raw)
            first = fetch(port)
            assert first.status in (200, 204, 304)
            assert first.body in (b"ok", b"")
            backend.forget()
            assert json.loads(fetch(port, "/next").body)["target"] == "/next"

    def test_bytes_that_come_while_the_connection_is_idle(self, port: int, backend: RecordingBackend) -> None:
        # Bytes that arrive together with the next request could not be told from its answer, by anybody: so the next
        # request waits until the proxy has closed the connection.
        closed = threading.Event()

        def answer_and_babble(exchange: Exchange) -> None:
            exchange.respond(body=b"ok")
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
            exchange.await_end()
            closed.set()

        for _ in range(20):
            closed.clear()
            backend.script = answer_and_babble
            assert fetch(port).body == b"ok"
            assert closed.wait(10)
            backend.forget()
            assert json.loads(fetch(port, "/next").body)["target"] == "/next"

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", id="folded line"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", id="space before the colon"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", id="length that is no number"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", id="unknown coding"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", id="NUL in a value"),
            pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", id="upgrade nobody asked for"),
            pytest.param(b"HTTP/2 200\r\n\r\n", id="another version"),
            pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000, id="endless head"),
        ],
    )
    def test_a_head_that_cannot_be_trusted(self, port: int, backend: RecordingBackend, raw: bytes) -> None:
        backend.script = answering(raw, then_close=True)
        with Connection(port) as client:
            response = client.exchange("GET", "/")
            assert response.status == 502
            assert json.loads(response.body)["error"] == "connection_reset"
            backend.forget()
            assert client.exchange("GET", "/next").status == 200

    def test_a_broken_chunk_cuts_the_answer(self, port: int, backend: RecordingBackend) -> None:
        begun = threading.Event()

        def break_off(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            exchange.send(b"2\r\nok\r\n")
            assert begun.wait(20)
            exchange.send(b"zz\r\n")
            exchange.await_end()

        backend.script = break_off
        with Connection(port) as client:
            client.request("GET", "/")
            assert client.read_head()[0] == 200
            begun.set()
            assert not client.read_to_end().endswith(b"0\r\n\r\n")

    def test_a_broken_chunk_at_once_is_a_failure(self, port: int, backend: RecordingBackend) -> None:
        backend.script = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")
        # Nothing has been sent to the client yet, or the message is cut; what must not come is a whole answer.
        try:
            response = fetch(port)
        except TruncatedResponse:
            return
        assert response.status == 502

    def test_an_http_1_0_backend(self, port: int, backend: RecordingBackend) -> None:
        backend.script = answering(b"HTTP/1.0 200 OK\r\nX-Old: yes\r\n\r\nas it was", then_close=True)
        with Connection(port) as client:
            for _ in range(3):
                response = client.exchange("GET", "/")
                assert (response.status, response["X-Old"], response.body) == (200, "yes", b"as it was")

    def test_a_status_nobody_knows(self, port: int, backend: RecordingBackend) -> None:
        backend.script = answering(b"HTTP/1.1 799 Own\r\nContent-Length: 2\r\n\r\nok")
        response = fetch(port)
        assert (response.status, response.body) == (799, b"ok")

    def test_set_cookie_lines_stay_apart(self, port: int, backend: RecordingBackend) -> None:
        cookies = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2, c; Path=/")]
        backend.script = lambda exchange: exchange.respond(headers=cookies)
        assert fetch(port).all("Set-Cookie") == ["a=1; Path=/", "b=2, c; Path=/"]

    def test_bytes_beyond_ascii_pass(self, port: int, backend: RecordingBackend) -> None:
        backend.script = lambda exchange: exchange.respond(headers=[("X-Text", "caf\xe9")], body=b"ok")
        with Connection(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: \xc3\xa9\r\n\r\n")
            assert client.read_response()["X-Text"] == "caf\xe9"
        assert backend.requests[0].all("X-Name") == ["\xc3\xa9"]


class TestClients:
    def test_one_that_has_closed_its_half_gets_the_answer(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            client.request("POST", "/", body=b"all there is")
            client.finish_writing()
            assert client.read_response("POST").status == 200
            assert client.is_closed_by_peer()
        assert backend.requests[0].body == b"all there is"

    def test_one_that_leaves_while_it_uploads(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            client.send(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
            eventually(lambda: backend.connections > 0, what="the backend is connected")
            client.reset()
        assert fetch(port, "/next").status == 200
        # The half request was never whole, and its connection never carries another one.
        assert [seen.target for seen in backend.requests] == ["/next"]

    def test_one_that_leaves_before_the_answer(self, port: int, backend: RecordingBackend) -> None:
        left, gone = threading.Event(), threading.Event()

        def wait_for_the_end(exchange: Exchange) -> None:
            assert left.wait(20)
            # The proxy gives the request up: its connection ends, long before any time limit.
            exchange.await_end()
            gone.set()

        backend.script = wait_for_the_end
        with Connection(port) as client:
            client.request("GET", "/")
            eventually(lambda: backend.requests, what="the request is at the backend")
            client.reset()
        left.set()
        assert gone.wait(5)
        backend.forget()
        assert fetch(port, "/next").status == 200

    def test_one_that_sends_byte_by_byte(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            for position in range(len(request)):
                client.send(request[position : position + 1])
            assert client.read_response("POST").status == 200
        assert backend.requests[0].body == b"abc"

    def test_a_target_that_is_too_long(self, port: int, backend: RecordingBackend) -> None:
        assert fetch(port, "/" + "a" * 8000).status == 200
        assert fetch(port, "/" + "a" * 9000).status == 414
        assert len(backend.requests) == 1

    def test_options_for_the_server_as_a_whole(self, port: int) -> None:
        assert fetch(port, "*", method="OPTIONS").status in (200, 404)

    def test_one_that_pipelines_and_does_not_read(self, port: int, backend: RecordingBackend) -> None:
        backend.script = lambda exchange: exchange.respond(body=b"x" * 100_000)
        with Connection(port) as client:
            sent = 0
            for _ in range(200):
                client.request("GET", "/")
                sent += 1
            for _ in range(sent):
                assert len(client.read_response().body) == 100_000
        # And in between it held nobody else up.
        assert fetch(port).status == 200
