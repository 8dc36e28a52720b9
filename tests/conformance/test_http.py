"""How the API speaks HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.conformance.documents import DOCUMENTS
from tests.support.api_client import ApiClient

LIMIT = 16 << 20
ERROR = {"error": f"the request body is larger than {LIMIT} bytes"}
READABLE = ["/routes", "/routes/r1", "/secrets", "/snapshots", "/debug/config", "/proxies"]


@pytest.mark.parametrize("path", [*READABLE, "/nothing", "/routes/none"])
def test_documents_are_json_and_end_with_a_newline(api: ApiClient, path: str) -> None:
    api.create("routes", id="r1", **DOCUMENTS["routes"])
    answer = api.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content.endswith(b"\n")
    assert answer.content.count(b"\n") == 1


@pytest.mark.parametrize("path", [*READABLE, "/docs/", "/docs/doc.json", "/routes/none", "/nothing"])
def test_head_is_get_without_the_body(api: ApiClient, path: str) -> None:
    api.create("routes", id="r1", **DOCUMENTS["routes"])
    head, get = api.http.head(path), api.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    volatile = {"date"}
    assert {name: value for name, value in head.headers.items() if name not in volatile} == {
        name: value for name, value in get.headers.items() if name not in volatile
    }


def test_head_of_the_stream_ends(api: ApiClient) -> None:
    answer = api.http.head("/sync/snapshot")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_the_content_type_of_requests_is_not_checked(api: ApiClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = json.dumps(DOCUMENTS["routes"])
    assert api.http.post("/routes", content=body, headers=headers).status_code == 201


def test_text_is_utf_8_and_not_escaped(api: ApiClient) -> None:
    created = api.post("/routes", {"name": "Überall 𝄞", "directResponse": {"status": 200, "body": "<&>\u2028"}})
    assert created.status_code == 201
    assert "Überall 𝄞".encode() in created.content
    assert api.get("/routes").json() == [created.json()]


def large_route(size: int) -> bytes:
    start, end = b'{"name":"large","directResponse":{"status":200,"body":"', b'"}}'
    return start + b"x" * (size - len(start) - len(end)) + end


def test_a_body_of_the_greatest_size_is_accepted(api: ApiClient) -> None:
    assert api.http.post("/routes", content=large_route(LIMIT)).status_code == 201


def test_a_larger_body_is_refused(api: ApiClient) -> None:
    answer = api.http.post("/routes", content=large_route(LIMIT + 1))
    assert (answer.status_code, answer.json()) == (413, ERROR)


def test_a_larger_body_of_unknown_size_is_refused(api: ApiClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield b"x" * (1 << 20)

    answer = api.http.post("/routes", content=pieces())
    assert (answer.status_code, answer.json()) == (413, ERROR)
    assert api.get("/routes").json() == []


def test_a_declared_size_beyond_the_limit_is_refused_before_anything_is_sent(api: ApiClient) -> None:
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/routes HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_what_is_no_http_gets_an_error_of_the_same_shape(api: ApiClient) -> None:
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=10) as connection:
        connection.sendall(b"this is not HTTP\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"error": "invalid HTTP request"}


def test_a_query_string_changes_nothing(api: ApiClient) -> None:
    assert api.get("/routes?limit=1&x=%00").json() == []
