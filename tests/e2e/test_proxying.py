"""Messages pass through the proxy unharmed, in both directions."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.raw_http import Connection, fetch
from tests.support.recording_backend import Exchange, RecordingBackend

LARGE = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def backend() -> Iterator[RecordingBackend]:
    with RecordingBackend() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _configured(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )


@pytest.fixture(autouse=True)
def _forgotten(backend: RecordingBackend) -> None:
    backend.forget()


class TestRequests:
    def test_a_get_reaches_the_backend_and_its_answer_comes_back(self, port: int, backend: RecordingBackend) -> None:
        response = fetch(port, "/hello")
        assert response.status == 200
        assert response["Content-Type"] == "application/json"
        assert json.loads(response.body)["target"] == "/hello"
        assert backend.requests[0].method == "GET"
        assert backend.requests[0].body == b""

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
    def test_a_body_with_a_length_is_passed_on(self, port: int, backend: RecordingBackend, method: str) -> None:
        assert fetch(port, "/", method=method, body=b"some bytes").status == 200
        seen = backend.requests[0]
        assert (seen.method, seen.body, seen.all("Content-Length")) == (method, b"some bytes", ["10"])

    def test_an_empty_body_with_a_length_stays_one(self, port: int, backend: RecordingBackend) -> None:
        assert fetch(port, "/", method="POST", body=b"").status == 200
        assert backend.requests[0].all("Content-Length") == ["0"]

    def test_a_chunked_body_is_passed_on(self, port: int, backend: RecordingBackend) -> None:
        chunks = [b"a", b"bc" * 1000, b"d" * 70_000]
        assert fetch(port, "/", method="POST", chunks=chunks).status == 200
        assert backend.requests[0].body == b"".join(chunks)

    def test_a_body_that_arrives_in_pieces_is_passed_on(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            for piece in (
                b"POST /pieces HT", b"TP/1.1\r", b"\nHost: a\r\nContent-", b"Length: 6\r\n\r\nab", b"c", b"def",
            ):  # fmt: skip
                client.send(piece)
            assert client.read_response("POST").status == 200
        assert backend.requests[0].body == b"abcdef"

    @pytest.mark.parametrize(
        "target",
        [
            "/search?q=a%20b&q=c+d&empty=&flag",
            "/a%2Fb/%E2%82%AC?x=%00",
            "/?",
            "/a//b/../c/./d;v=1",
            "/path?with=?more&slashes=/x/",
        ],
    )
    def test_the_target_is_passed_on_as_it_came(self, port: int, backend: RecordingBackend, target: str) -> None:
        assert fetch(port, target).status == 200
        assert backend.requests[0].target == target

    def test_an_absolute_target_names_the_host(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            client.send(b"GET http://other.test/abs?x=1 HTTP/1.1\r\nHost: ignored.test\r\n\r\n")
            assert client.read_response().status == 200
        # RFC 9112 §3.2.2: the host of an absolute target overrides the field.
        assert backend.requests[0].target == "/abs?x=1"
        assert backend.requests[0].all("Host") == ["other.test"]

    def test_a_continue_is_given_before_the_body_is_sent(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            client.request("POST", "/", headers=[("Expect", "100-continue"), ("Content-Length", "4")])
            assert client.read_response("POST", interim=True).status == 100
            client.send(b"body")
            assert client.read_response("POST").status == 200
        assert backend.requests[0].body == b"body"

    def test_trailers_are_passed_on(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"3;ext=1\r\nabc\r\n0\r\nX-Late: 1\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n")
            assert client.read_response("POST").status == 200
            assert client.exchange("GET", "/next").status == 200
        assert [(seen.body, seen.trailers) for seen in backend.requests] == [(b"abc", (("X-Late", "1"),)), (b"", ())]

    def test_an_http_1_0_client_gets_an_answer_it_can_read(self, port: int, backend: RecordingBackend) -> None:
        def chunked(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            exchange.send(b"5\r\nhello\r\n0\r\n\r\n")

        backend.script = chunked
        with Connection(port) as client:
            client.send(b"GET /old HTTP/1.0\r\nHost: old.test\r\n\r\n")
            answer = client.read_to_end()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        # RFC 9112 §6.1: never a transfer coding for a client that announced HTTP/1.0.
        assert b"transfer-encoding" not in head.lower()
        assert body == b"hello"


class TestHeaders:
    def test_the_clients_fields_are_passed_on(self, port: int, backend: RecordingBackend) -> None:
        fields = [
            ("User-Agent", "curious/1"),
            ("X-Twice", "one"),
            ("X-Twice", "two"),
            ("Accept", "*/*"),
            ("X-Empty", ""),
        ]
        fetch(port, "/", headers=fields, host="shop.test")
        seen = backend.requests[0]
        assert seen.all("Host") == ["shop.test"]
        assert seen.all("User-Agent") == ["curious/1"]
        assert seen.all("X-Twice") == ["one", "two"]
        assert seen.all("X-Empty") == [""]

    def test_no_user_agent_is_invented(self, port: int, backend: RecordingBackend) -> None:
        fetch(port, "/")
        assert backend.requests[0].all("User-Agent") == []

    def test_the_peer_is_appended_to_x_forwarded_for(self, port: int, backend: RecordingBackend) -> None:
        fetch(port, "/")
        fetch(port, "/", headers=[("X-Forwarded-For", "203.0.113.9")])
        assert backend.requests[0].all("X-Forwarded-For") == ["127.0.0.1"]
        assert ", ".join(backend.requests[1].all("X-Forwarded-For")) == "203.0.113.9, 127.0.0.1"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("Proxy-Authenticate", "Basic"),
            ("TE", "gzip"),
            ("Upgrade", "h2c"),
            ("Trailer", "X-Later"),
        ],
    )
    def test_hop_by_hop_fields_of_the_request_are_removed(
        self, port: int, backend: RecordingBackend, name: str, value: str
    ) -> None:
        assert fetch(port, "/", headers=[(name, value)]).status == 200
        assert backend.requests[0].all(name) == []

    def test_fields_that_connection_names_are_removed(self, port: int, backend: RecordingBackend) -> None:
        headers = [("Connection", "X-Secret, keep-alive"), ("X-Secret", "1"), ("X-Public", "2")]
        assert fetch(port, "/", headers=headers).status == 200
        seen = backend.requests[0]
        assert seen.all("X-Secret") == []
        assert seen.all("X-Public") == ["2"]
        assert "x-secret" not in ",".join(seen.all("Connection")).lower()

    def test_a_forged_client_certificate_field_is_removed(self, port: int, backend: RecordingBackend) -> None:
        fetch(port, "/", headers=[("X-Forwarded-Client-Cert", "URI=spiffe://forged")])
        assert backend.requests[0].all("X-Forwarded-Client-Cert") == []

    def test_hop_by_hop_fields_of_the_response_are_removed(self, port: int, backend: RecordingBackend) -> None:
        def answer(exchange: Exchange) -> None:
            headers = [
                ("Connection", "X-Internal"), ("X-Internal", "1"), ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"), ("X-Twice", "a"), ("X-Twice", "b"), ("Server", "scripted"),
            ]  # fmt: skip
            exchange.respond(headers=headers, body=b"ok")

        backend.script = answer
        response = fetch(port, "/")
        assert response.body == b"ok"
        assert response.all("X-Twice") == ["a", "b"]
        assert response["Server"] == "scripted"
        for name in ("X-Internal", "Keep-Alive", "Proxy-Authenticate"):
            assert name not in response

    def test_large_heads_pass(self, port: int, backend: RecordingBackend) -> None:
        fields = [(f"X-Field-{number}", "v" * 500) for number in range(40)]
        backend.script = lambda exchange: exchange.respond(headers=fields, body=b"ok")
        response = fetch(port, "/", headers=fields)
        assert response.status == 200
        assert [value for name, value in response.headers if name.startswith("X-Field")] == ["v" * 500] * 40
        assert backend.requests[0].all("X-Field-39") == ["v" * 500]


class TestResponses:
    def test_a_head_has_the_fields_and_no_body(self, port: int, backend: RecordingBackend) -> None:
        backend.script = lambda exchange: exchange.respond(headers=[("X-Kind", "head")], body=b"0123456789")
        with Connection(port) as client:
            response = client.exchange("HEAD", "/")
            assert (response.status, response["Content-Length"], response["X-Kind"]) == (200, "10", "head")
            # The connection stays in step: nothing of a body follows.
            assert client.exchange("GET", "/").body == b"0123456789"
        assert [seen.method for seen in backend.requests] == ["HEAD", "GET"]

    @pytest.mark.parametrize("status", [204, 304])
    def test_a_status_without_a_body_has_none(self, port: int, backend: RecordingBackend, status: int) -> None:
        def answer(exchange: Exchange) -> None:
            if exchange.target == "/none":
                exchange.send_head(status, [("ETag", '"x"')])
            else:
                exchange.respond(body=b"next")

        backend.script = answer
        with Connection(port) as client:
            response = client.exchange("GET", "/none")
            assert (response.status, response["ETag"], response.body) == (status, '"x"', b"")
            assert client.exchange("GET", "/after").body == b"next"

    @pytest.mark.parametrize("status", [200, 201, 206, 301, 400, 404, 418, 500, 503, 599])
    def test_the_backends_status_is_passed_on_untouched(
        self, port: int, backend: RecordingBackend, status: int
    ) -> None:
        backend.script = lambda exchange: exchange.respond(status, body=b"its own words")
        response = fetch(port, "/")
        assert (response.status, response.body) == (status, b"its own words")

    def test_a_chunked_response_is_passed_on(self, port: int, backend: RecordingBackend) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            for size in (1, 10, 1000, 100_000):
                exchange.send(b"%x;ext=1\r\n%b\r\n" % (size, b"z" * size))
            exchange.send(b"0\r\n\r\n")

        backend.script = answer
        with Connection(port) as client:
            assert client.exchange("GET", "/").body == b"z" * 101_011
            assert client.exchange("GET", "/").body == b"z" * 101_011

    def test_a_body_until_the_end_of_the_connection_is_passed_on(self, port: int, backend: RecordingBackend) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send_head(200, [("Connection", "close")])
            exchange.send(b"to the very end")
            exchange.close()

        backend.script = answer
        assert fetch(port, "/").body == b"to the very end"

    def test_a_slow_stream_is_not_held_back(self, port: int, backend: RecordingBackend) -> None:
        seen = threading.Event()

        def answer(exchange: Exchange) -> None:
            exchange.send_head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
            exchange.send(b"9\r\ndata: 1\n\n\r\n")
            assert seen.wait(20)
            exchange.send(b"0\r\n\r\n")

        backend.script = answer
        with Connection(port) as client:
            client.request("GET", "/events")
            client.read_head()
            received = b""
            while b"data: 1\n\n" not in received:
                received += client.read_some()
            seen.set()
            while not received.endswith(b"0\r\n\r\n"):
                received += client.read_some()

    def test_early_hints_are_relayed(self, port: int, backend: RecordingBackend) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send_head(103, [("Link", "</a.css>; rel=preload")])
            exchange.respond(body=b"done")

        backend.script = answer
        with Connection(port) as client:
            client.request("GET", "/")
            assert client.read_response(interim=True).status == 103
            assert client.read_response().body == b"done"


class TestConnections:
    def test_a_client_connection_serves_many_requests(self, port: int, backend: RecordingBackend) -> None:
        with Connection(port) as client:
            for number in range(50):
                assert json.loads(client.exchange("GET", f"/{number}").body)["target"] == f"/{number}"

    def test_upstream_connections_are_reused(self, port: int, backend: RecordingBackend) -> None:
        before = backend.connections
        with Connection(port) as client:
            for _ in range(30):
                client.exchange("POST", "/", body=b"x")
        assert len({seen.connection for seen in backend.requests}) == 1
        assert backend.connections - before <= 1

    def test_pipelined_requests_are_answered_in_order(self, port: int) -> None:
        with Connection(port) as client:
            for number in range(10):
                client.request("POST", f"/{number}", body=b"%d" % number)
            for number in range(10):
                assert json.loads(client.read_response("POST").body)["target"] == f"/{number}"

    def test_the_connection_closes_when_the_client_asks(self, port: int) -> None:
        with Connection(port) as client:
            response = client.exchange("GET", "/", headers=[("Connection", "close")])
            assert response.status == 200
            assert response["Connection"].lower() == "close"
            assert client.is_closed_by_peer()

    def test_a_stale_upstream_connection_costs_no_request(self, port: int, backend: RecordingBackend) -> None:
        def answer_and_leave(exchange: Exchange) -> None:
            exchange.respond(body=b"bye")
            exchange.close()

        backend.script = answer_and_leave
        for _ in range(20):
            assert fetch(port, "/").status == 200

    def test_many_clients_at_once_get_their_own_answers(self, port: int) -> None:
        def client(number: int) -> None:
            with Connection(port) as connection:
                for turn in range(20):
                    body = b"%d-%d" % (number, turn) * (number + 1)
                    answer = json.loads(connection.exchange("POST", f"/{number}/{turn}", body=body).body)
                    assert answer["target"] == f"/{number}/{turn}"
                    assert answer["bodyDigest"] == hashlib.sha256(body).hexdigest()

        with ThreadPoolExecutor(16) as clients:
            for done in [clients.submit(client, number) for number in range(16)]:
                done.result(60)


@pytest.fixture(scope="module")
def data() -> bytes:
    return random.Random(1).randbytes(LARGE)


class TestLargeBodies:
    def test_up_with_a_length(self, port: int, data: bytes) -> None:
        answer = json.loads(fetch(port, "/", method="POST", body=data).body)
        assert answer["bodySize"] == LARGE
        assert answer["bodyDigest"] == hashlib.sha256(data).hexdigest()

    def test_up_in_chunks(self, port: int, data: bytes) -> None:
        chunks = [data[start : start + 100_003] for start in range(0, LARGE, 100_003)]
        answer = json.loads(fetch(port, "/", method="POST", chunks=chunks).body)
        assert answer["bodyDigest"] == hashlib.sha256(data).hexdigest()

    def test_down_with_a_length(self, port: int, backend: RecordingBackend, data: bytes) -> None:
        backend.script = lambda exchange: exchange.respond(body=data)
        response = fetch(port, "/")
        assert response["Content-Length"] == str(LARGE)
        assert hashlib.sha256(response.body).digest() == hashlib.sha256(data).digest()

    def test_down_in_chunks(self, port: int, backend: RecordingBackend, data: bytes) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            for start in range(0, LARGE, 100_003):
                part = data[start : start + 100_003]
                exchange.send(b"%x\r\n%b\r\n" % (len(part), part))
            exchange.send(b"0\r\n\r\n")

        backend.script = answer
        assert hashlib.sha256(fetch(port, "/").body).digest() == hashlib.sha256(data).digest()

    def test_a_client_that_reads_late_gets_everything(self, port: int, backend: RecordingBackend, data: bytes) -> None:
        backend.script = lambda exchange: exchange.respond(body=data)
        with Connection(port) as slow, Connection(port) as quick:
            slow.request("GET", "/")
            # The first is not read from; a second one is served all the same.
            assert len(quick.exchange("GET", "/").body) == LARGE
            assert hashlib.sha256(slow.read_response().body).digest() == hashlib.sha256(data).digest()

    def test_both_ways_at_once(self, port: int, backend: RecordingBackend, data: bytes) -> None:
        backend.script = lambda exchange: exchange.respond(body=exchange.body)
        assert hashlib.sha256(fetch(port, "/", method="POST", body=data).body).digest() == hashlib.sha256(data).digest()


def test_nginx_as_a_backend(gateway: Gateway, port: int, tmp_path: Path) -> None:
    nginx_port = free_port()
    servers = f"""
        server {{
            listen 127.0.0.1:{nginx_port};
            location / {{ return 200 "from nginx $request_method $request_uri $http_x_forwarded_for"; }}
            location /gone {{ return 410; }}
        }}
    """
    with Nginx(tmp_path / "nginx", servers, port=nginx_port):
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("nginx", nginx_port)],
            routes=[route("all", forward=forward("nginx"))],
        )
        with Connection(port) as client:
            response = client.exchange("GET", "/x?y=1")
            assert response.body == b"from nginx GET /x?y=1 127.0.0.1"
            assert response["Server"].startswith("nginx")
            assert client.exchange("GET", "/gone").status == 410
            assert client.exchange("HEAD", "/x").body == b""
            assert client.exchange("POST", "/post", body=b"a" * 100_000).status == 200
