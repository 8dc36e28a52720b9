"""Direct responses: the content type that follows from the body, and statuses without one."""

from __future__ import annotations

import pytest

from tests.support.gateway import route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from vrata.model.direct_response import DirectResponse
from vrata.proxy.action.direct_response import DirectResponseAction, content_type
from vrata.proxy.contracts import LocalResponse


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"status": "ok"}', b"application/json"),
        ("[1, 2]", b"application/json"),
        (' "text" ', b"application/json"),
        ("42", b"application/json"),
        ("null", b"application/json"),
        ("ok", b"text/plain; charset=utf-8"),
        ("{status: ok}", b"text/plain; charset=utf-8"),
        ('{"a": 1} x', b"text/plain; charset=utf-8"),
        ("NaN", b"text/plain; charset=utf-8"),
        ("[" * 100_000, b"text/plain; charset=utf-8"),
        (" ", b"text/plain; charset=utf-8"),
        ("<p>x", b"text/plain; charset=utf-8"),
        ("<!doctype html><title>x</title>", b"text/html; charset=utf-8"),
        ("\n <!DOCTYPE HTML>", b"text/html; charset=utf-8"),
        ('<html lang="en">', b"text/html; charset=utf-8"),
    ],
)
def test_content_type(body: str, expected: bytes) -> None:
    assert content_type(body) == expected


def test_a_body_is_sent_in_utf_8_with_its_type() -> None:
    action = DirectResponseAction(DirectResponse(status=503, body="später"))

    assert action.response == LocalResponse(503, b"content-type: text/plain; charset=utf-8\r\n", "später".encode())


def test_without_a_body_there_is_no_type() -> None:
    assert DirectResponseAction(DirectResponse(status=200)).response == LocalResponse(200, b"", b"")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_content_loses_the_body(status: int) -> None:
    assert DirectResponseAction(DirectResponse(status=status, body="x")).response == LocalResponse(status, b"", b"")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "plain", "text/plain; charset=utf-8"),
        (503, '{"error": "closed"}', "application/json"),
        (404, "<!doctype html><p>gone", "text/html; charset=utf-8"),
        (200, "{path} ${request.path} $1", "text/plain; charset=utf-8"),
        (418, "é", "text/plain; charset=utf-8"),
        (599, "x" * 100_000, "text/plain; charset=utf-8"),
        (200, "", None),
        (404, "", None),
    ],
)
@on_each_loop
async def test_the_answer_is_what_is_configured(
    proxy: InProcessProxy, status: int, body: str, kind: str | None
) -> None:
    await proxy.apply(route("r", directResponse={"status": status, "body": body}))
    client = await proxy.connect()
    content = body.encode()
    for method, request_body in (("GET", None), ("POST", b"content"), ("HEAD", None)):
        response = await client.exchange(f"{method} /", body=request_body)
        assert (response.status, response.body) == (status, b"" if method == "HEAD" else content)
        expected = {"date": response["date"], "content-length": str(len(content))}
        assert dict(response.headers) == expected | ({"content-type": kind} if kind else {})


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, None), (205, "0")])
@on_each_loop
async def test_a_status_without_content_has_none(proxy: InProcessProxy, status: int, length: str | None) -> None:
    await proxy.apply(route("r", directResponse={"status": status, "body": "never sent"}))
    client = await proxy.connect()
    for _ in range(2):  # the second would read what the first had left
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (status, b"")
        expected = {"date": response["date"]} | ({"content-length": length} if length else {})
        assert dict(response.headers) == expected
