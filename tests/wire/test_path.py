"""Normal forms of paths: the hostile ones, and that what comes out is what every server reads alike."""

from __future__ import annotations

import re
from posixpath import normpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import parse_request_head
from vrata.wire.http1.path import PathNormalization, normal_path


@pytest.mark.parametrize(
    ("path", "base", "merged"),
    [
        # As they are.
        ("/", "/", "/"),
        ("/a/b", "/a/b", "/a/b"),
        ("/a/", "/a/", "/a/"),
        ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/...", "/a/..."),
        ("/a%20b/%C3%A9", "/a%20b/%C3%A9", "/a%20b/%C3%A9"),
        ("/projects/a%2Fb", "/projects/a%2Fb", "/projects/a%2Fb"),
        ("/a;v=1/b;w=..", "/a;v=1/b;w=..", "/a;v=1/b;w=.."),
        ("/a%3Fb", "/a%3Fb", "/a%3Fb"),
        # Dot segments (RFC 3986 §5.2.4).
        ("/public/../admin", "/admin", "/admin"),
        ("/a/./b/.", "/a/b/", "/a/b/"),
        ("/a/b/..", "/a/", "/a/"),
        ("/a/..", "/", "/"),
        ("/..", "/", "/"),
        ("/../../etc", "/etc", "/etc"),
        ("/a/b/c/./../../g", "/a/g", "/a/g"),
        # What need not be encoded.
        ("/%61dmin", "/admin", "/admin"),
        ("/%7euser/%2D%5f", "/~user/-_", "/~user/-_"),
        ("/public/%2e%2e/admin", "/admin", "/admin"),
        ("/public/.%2E/admin", "/admin", "/admin"),
        ("/public/%2e./admin", "/admin", "/admin"),
        ("/%25%32%65", "/%252e", "/%252e"),
        ("/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"),
        # Slashes in a row.
        ("//admin", "//admin", "/admin"),
        ("/a//b///c//", "/a//b///c//", "/a/b/c/"),
        ("/a//../b", "/a/b", "/b"),
        ("/a/%2e//b", "/a//b", "/a/b"),
    ],
)
def test_it_has_a_normal_form(path: str, base: str, merged: str) -> None:
    assert normal_path(path.encode(), merges_slashes=False).decode() == base
    assert normal_path(path.encode(), merges_slashes=True).decode() == merged


@pytest.mark.parametrize(
    "path",
    [
        "/public/..%2fadmin",
        "/public%2F..%2Fadmin",
        "/public/%2e%2e%2fadmin",
        "/public%2f%2e%2e/admin",
        "/a/..;/admin",
        "/a/..;x=1/admin",
        "/a/%2e%2e;/admin",
        "/a/..%3b/admin",
        "/a/.%3Bx/admin",
        "/a%2f..",
        "/public\\..\\admin",
        "/public/..\\admin",
        "/public/..%5cadmin",
        "/a%5Cb",
        "/admin%00",
        "/a%00b",
        "/%",
        "/%2",
        "/%zz",
        "/%u002e%u002e/admin",
        "/a%2%65",
    ],
)
def test_what_servers_read_differently_is_refused(path: str) -> None:
    for merges in (False, True):
        with pytest.raises(MalformedMessage) as refused:
            normal_path(path.encode(), merges_slashes=merges)
        assert refused.value.status == 400


@pytest.mark.parametrize("path", ["/%2fadmin", "/a/%2Fb", "/a%2f/b", "/a%2F%2fb", "/;/admin", "/a/;x=1/b", "/a/%3bx"])
def test_hidden_slashes_in_a_row_are_refused_where_slashes_are_merged(path: str) -> None:
    assert normal_path(path.encode(), merges_slashes=False).decode() == path
    with pytest.raises(MalformedMessage):
        normal_path(path.encode(), merges_slashes=True)
    head = parse_request_head(f"GET {path}?/ HTTP/1.1\r\nHost: h.test\r\n\r\n".encode())
    assert head is not None
    with pytest.raises(MalformedMessage):
        PathNormalization(merges_slashes=True).settle(head)


@given(
    st.lists(
        st.sampled_from(
            ["/", ".", "..", "a", "%2e", "%2E", "%61", "%2f", "%20", "%25", ";", "%3b", "%", "\\", "%5c", "x=1"]
        ),
        max_size=12,
    ).map(lambda parts: "/" + "".join(parts)),
    st.booleans(),
)
def test_what_comes_out_means_the_same_however_it_is_read(path: str, merges: bool) -> None:
    try:
        found = normal_path(path.encode(), merges_slashes=merges).decode()
    except MalformedMessage:
        return
    assert normal_path(found.encode(), merges_slashes=merges).decode() == found
    assert re.fullmatch(r"/[^\\]*", found)
    decoded = unquote(found)
    for read in (found, decoded, re.sub(";[^/]*", "", decoded)):
        once = read if merges else re.sub("/+", "/", read)
        assert normpath(once) == (once.rstrip("/") or "/")


@pytest.mark.parametrize(
    ("target", "settled"),
    [
        ("/a/../b?c=/../%61//", "/b?c=/../%61//"),
        ("/a?c=/../%61", "/a?c=/../%61"),
        ("http://h.test/a/%2e%2e/b?c", "/b?c"),
        ("http://h.test?/../", "/?/../"),
        ("/a", "/a"),
    ],
)
def test_targets_of_requests(target: str, settled: str) -> None:
    head = parse_request_head(f"GET {target} HTTP/1.1\r\nHost: h.test\r\n\r\n".encode())
    assert head is not None
    PathNormalization(merges_slashes=False).settle(head)
    assert head.target.decode() == settled
    assert head.path == settled.partition("?")[0]


def test_a_server_has_no_path() -> None:
    head = parse_request_head(b"OPTIONS * HTTP/1.1\r\nHost: h.test\r\n\r\n")
    assert head is not None
    PathNormalization(merges_slashes=True).settle(head)
    assert head.target == b"*"
