"""Where a redirect leads, for every combination of what it may replace."""

from __future__ import annotations

from typing import Any

import pytest

from vrata.model.redirect import Redirect
from vrata.proxy.action.redirect import RedirectAction


def location(
    redirect: dict[str, Any], target: str = "/a/b?q=1", *, scheme: str = "http", authority: str = "example.com"
) -> str:
    action = RedirectAction(Redirect.model_validate(redirect))
    return action.location(scheme.encode(), authority.encode(), target.encode()).decode()


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ({"url": "https://new.example/x?y#z"}, "https://new.example/x?y#z"),
        (
            {"url": "/x", "scheme": "https", "host": "h", "path": "/p", "stripQuery": True},
            "/x",
        ),
        ({"scheme": "https"}, "https://example.com/a/b?q=1"),
        ({"scheme": "HTTPS"}, "https://example.com/a/b?q=1"),
        ({"scheme": "http"}, "http://example.com/a/b?q=1"),
        ({"host": "new.example"}, "http://new.example/a/b?q=1"),
        ({"host": "new.example:8443"}, "http://new.example:8443/a/b?q=1"),
        ({"path": "/c"}, "/c?q=1"),
        ({"path": "/c d/é?f#"}, "/c%20d/%C3%A9%3Ff%23?q=1"),
        ({"path": "/c%20d"}, "/c%20d?q=1"),
        ({"stripQuery": True}, "/a/b"),
        ({}, "/a/b?q=1"),
        ({"scheme": "https", "host": "new.example"}, "https://new.example/a/b?q=1"),
        ({"scheme": "https", "path": "/c"}, "https://example.com/c?q=1"),
        ({"host": "new.example", "path": "/c"}, "http://new.example/c?q=1"),
        ({"host": "new.example", "stripQuery": True}, "http://new.example/a/b"),
        ({"path": "/c", "stripQuery": True}, "/c"),
        ({"scheme": "https", "host": "new.example", "path": "/c", "stripQuery": True}, "https://new.example/c"),
    ],
)
def test_what_is_configured_replaces_its_part(redirect: dict[str, Any], expected: str) -> None:
    assert location(redirect) == expected


@pytest.mark.parametrize(
    ("redirect", "scheme", "authority", "expected"),
    [
        ({"scheme": "https"}, "http", "example.com:80", "https://example.com/a"),
        ({"scheme": "https"}, "http", "example.com:8080", "https://example.com:8080/a"),
        ({"scheme": "https"}, "http", "example.com:443", "https://example.com:443/a"),
        ({"scheme": "http"}, "https", "example.com:443", "http://example.com/a"),
        ({"scheme": "https"}, "https", "example.com:443", "https://example.com:443/a"),
        ({"scheme": "https"}, "http", "[::1]:80", "https://[::1]/a"),
        ({"scheme": "https"}, "http", "[::80]", "https://[::80]/a"),
        ({"scheme": "https", "host": "new.example:80"}, "http", "example.com:80", "https://new.example:80/a"),
        ({"host": "new.example"}, "https", "example.com:443", "https://new.example/a"),
        ({"path": "/a"}, "http", "example.com:80", "/a"),
        # a request of HTTP/1.0 without Host
        ({"scheme": "https"}, "http", "", "/a"),
        ({"scheme": "https", "host": "new.example"}, "http", "", "https://new.example/a"),
    ],
)
def test_the_port_of_the_old_scheme_is_dropped(
    redirect: dict[str, Any], scheme: str, authority: str, expected: str
) -> None:
    assert location(redirect, "/a", scheme=scheme, authority=authority) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("//evil.example/x?q", "/.//evil.example/x"),
        ("/\\evil.example", "/./\\evil.example"),
        ("/a//b", "/a//b"),
        ("*", "/"),
    ],
)
def test_a_relative_location_never_leads_to_another_host(target: str, expected: str) -> None:
    assert location({"stripQuery": True}, target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("//evil.example/x", "https://example.com//evil.example/x"),
        ("/a%20b%2F?", "https://example.com/a%20b%2F?"),
        ("*", "https://example.com/"),
    ],
)
def test_the_clients_spelling_is_kept(target: str, expected: str) -> None:
    assert location({"scheme": "https"}, target) == expected
