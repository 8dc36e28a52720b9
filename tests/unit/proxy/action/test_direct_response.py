"""Direct responses: the content type that follows from the body, and statuses without one."""

from __future__ import annotations

import pytest

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
