"""Where a redirect leads, for every combination of what it may replace, and what a client gets."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway import route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.stream_client import request
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


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("//evil.example/x", "/", "/.//evil.example/x"),
        ("/\\evil.example", "/", "/%5Cevil.example"),
        ("///x", "/?q", "/.///x?q"),
        ("/a\r\nSet-Cookie: x", "/", "/a%0D%0ASet-Cookie:%20x"),
        ("/{path}/$1/${x}", "/a", "/%7Bpath%7D/$1/$%7Bx%7D"),
    ],
)
def test_a_configured_path_is_nothing_but_a_path(path: str, target: str, expected: str) -> None:
    assert location({"path": path}, target) == expected


# -- as clients see them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 301, 302, 303, 307, 308])
@on_each_loop
async def test_the_answer_has_the_code_and_nothing_but_the_location(proxy: InProcessProxy, code: int | None) -> None:
    await proxy.apply(route("r", redirect={"path": "/new"} | ({"code": code} if code else {})))
    client = await proxy.connect()
    for line, body in (("GET /old?q", None), ("HEAD /old?q", None), ("POST /old?q", b"content")):
        response = await client.exchange(line, body=body)
        assert (response.status, response["location"], response.body) == (code or 301, "/new?q", b"")
        assert [name for name, _ in response.headers] == ["location", "date", "content-length"]
        assert response["content-length"] == "0"


@pytest.mark.parametrize(
    ("redirect", "message", "expected"),
    [
        ({"url": "https://new.example/{path}?$1#x"}, request("GET /a"), "https://new.example/{path}?$1#x"),
        ({"scheme": "https"}, request("GET /a?b", host="a.test:80"), "https://a.test/a?b"),
        ({"scheme": "https"}, request("GET /a?b", host="a.test:8080"), "https://a.test:8080/a?b"),
        ({"scheme": "https"}, request("GET /a", host=None, version="1.0"), "/a"),
        ({"host": "b.test"}, request("GET /a?b"), "http://b.test/a?b"),
        ({"host": "b.test", "stripQuery": True}, request("GET /a?b"), "http://b.test/a"),
        ({"stripQuery": True}, request("GET http://c.test/a?b"), "/a"),
        ({"scheme": "https"}, request("GET http://c.test:80/a?b"), "https://c.test/a?b"),
        ({"stripQuery": True}, request("GET //evil.test/a?b"), "/.//evil.test/a"),
        ({"stripQuery": True}, request("GET /%0d%0aX:%20y?b"), "/%0d%0aX:%20y"),
    ],
)
@on_each_loop
async def test_the_location_of_a_request(
    proxy: InProcessProxy, redirect: dict[str, Any], message: bytes, expected: str
) -> None:
    await proxy.apply(route("r", redirect=redirect))
    client = await proxy.connect()
    client.send(message)
    response = await client.read_response()
    assert (response.status, response.all("location")) == (301, [expected])


@pytest.mark.parametrize(
    "target", ["//evil.test", "///evil.test", "/\\evil.test", "//evil.test:80/%2e%2e", "/.//evil.test"]
)
@pytest.mark.parametrize("redirect", [{"stripQuery": True}, {}, {"scheme": "https"}, {"host": "b.test"}])
def test_no_target_leads_to_a_host_of_its_own(redirect: dict[str, Any], target: str) -> None:
    # As browsers resolve it: a backslash is a slash.
    found = urlsplit(urljoin("http://example.com/", location(redirect, target).replace("\\", "/")))
    assert found.hostname == redirect.get("host", "example.com")


urls = st.text("/\\.?&=%@:ab0;~", max_size=12)
redirects = st.fixed_dictionaries(
    {},
    optional={
        "scheme": st.just("https"),
        "host": st.sampled_from(["b.test", "b.test:8443", "[::1]:81"]),
        "path": st.text(max_size=8).map("/{}".format),
        "stripQuery": st.booleans(),
    },
)


@given(redirects, urls.map("/{}".format))
def test_whatever_is_asked_for_the_location_is_one_line_to_a_known_host(redirect: dict[str, Any], target: str) -> None:
    found = location(redirect, target)
    assert re.fullmatch(r"[!-~]+", found)
    if "scheme" in redirect or "host" in redirect:
        host = redirect.get("host", "example.com")
        assert found.startswith(f"{redirect.get('scheme', 'http')}://{host}/")
    else:
        assert re.match(r"/(?![/\\])", found)
    kept = target.partition("?")[2] if not redirect.get("stripQuery") else ""
    assert found.partition("?")[2] == kept
