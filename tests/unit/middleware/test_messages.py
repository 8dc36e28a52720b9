"""Requests and responses as middlewares of the user's own see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrata.middleware import Headers, Query, Request, Response
from vrata.middleware.headers import SettableNames
from vrata.wire.http1.fields import is_settable_in_requests
from vrata.wire.http1.head import parse_response_head


@dataclass
class Lines:
    """Those of a message, whatever they are."""

    lines: list[bytes]


def received(*lines: bytes) -> Headers:
    """The headers of a message that has come with *lines*."""
    return Headers._of_head(Lines(list(lines)), SettableNames(is_settable_in_requests))


class TestHeaders:
    def test_names_are_found_in_any_case_and_kept_as_written(self) -> None:
        headers = Headers([("X-Tag", "a"), ("Accept", "*/*"), ("x-tag", "b")])
        assert headers["x-TAG"] == "a"
        assert headers.get_all("X-TAG") == ["a", "b"]
        assert list(headers) == ["X-Tag", "Accept"]
        assert len(headers) == 2
        assert "ACCEPT" in headers
        assert "X-Other" not in headers
        assert headers.get("x-other", "none") == "none"
        assert headers.get_all("x-other") == []
        assert headers.fields() == [("X-Tag", "a"), ("Accept", "*/*"), ("x-tag", "b")]

    def test_setting_replaces_every_value_and_adding_none(self) -> None:
        headers = Headers({"A": "1"})
        headers.add("a", "2")
        headers.add("B", "3")
        headers["A"] = "  4\t"
        assert headers.fields() == [("B", "3"), ("A", "4")]
        del headers["b"]
        assert headers == Headers({"a": "4"})
        assert headers != Headers({"a": "5"})
        with pytest.raises(KeyError):
            del headers["b"]
        assert headers.pop("b", None) is None

    def test_bytes_that_are_no_text_survive(self) -> None:
        headers = received(b"A: \xff\xe9", b"b:\tx \t")
        assert headers.fields() == [("A", "\udcff\udce9"), ("b", "x")]
        headers["C"] = headers["a"]
        assert headers._changes() == ((b"c",), b"C: \xff\xe9\r\n")

    def test_what_has_changed(self) -> None:
        headers = received(b"A: 1", b"B: 2", b"a: 3", b"C: 4")
        assert headers._changes() == ((), b"")
        headers.add("A", "5")
        del headers["c"]
        headers["new"] = "6"
        headers["gone"] = "7"
        del headers["gone"]
        names, lines = headers._changes()
        assert set(names) == {b"a", b"c", b"new", b"gone"}
        assert lines == b"A: 1\r\na: 3\r\nA: 5\r\nnew: 6\r\n"
        assert headers._encode() == b"A: 1\r\nB: 2\r\na: 3\r\nA: 5\r\nnew: 6\r\n"

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é", "a\x00", "a\n"])
    def test_names_that_are_none(self, name: str) -> None:
        with pytest.raises(ValueError, match="no name of a header"):
            Headers()[name] = "x"

    @pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "\x00", "a\x7f", "a\rb"])
    def test_values_that_would_be_more_than_one_line(self, value: str) -> None:
        headers = Headers()
        with pytest.raises(ValueError, match="control characters"):
            headers["a"] = value
        with pytest.raises(ValueError, match="control characters"):
            headers.add("a", value)
        assert not headers

    def test_values_that_are_no_text(self) -> None:
        with pytest.raises(ValueError, match="surrogate"):
            Headers({"a": "\ud800"})
        with pytest.raises(TypeError, match="value of the header a must be a str, not int"):
            Headers({"a": cast("str", 5)})
        with pytest.raises(TypeError, match="name of a header must be a str, not bytes"):
            Headers()[cast("str", b"a")] = "b"

    def test_values_are_not_shown_where_they_could_end_in_logs(self) -> None:
        assert "hush" not in repr(Headers({"Authorization": "Bearer hush"}))


@settings(max_examples=150)
@given(
    st.text(max_size=6) | st.sampled_from(["X-A", "x_b"]), st.text(max_size=8) | st.text("a\r\n\t \x00:", max_size=6)
)
def test_whatever_is_set_is_one_field_or_refused(name: str, value: str) -> None:
    headers = Headers()
    try:
        headers.add(name, value)
    except ValueError:
        return
    head = parse_response_head(b"HTTP/1.1 200 OK\r\n" + headers._encode() + b"\r\n")
    assert head is not None
    (line,) = head.lines
    assert line == f"{name}: {headers[name]}".encode("utf-8", "surrogateescape")
    assert headers[name] == value.strip(" \t")


class TestQuery:
    def test_first_values_and_all_of_them(self) -> None:
        query = Query("a=1&b=%20x&a=2&empty=&A=3&bare")
        assert dict(query) == {"a": "1", "b": " x", "empty": "", "A": "3", "bare": ""}
        assert query.get_all("a") == ["1", "2"]
        assert query.get_all("c") == []
        assert query.text == "a=1&b=%20x&a=2&empty=&A=3&bare"
        assert len(query) == 5

    def test_none(self) -> None:
        assert not Query("")
        assert not Request(target="/a").query


class TestRequest:
    def test_what_is_known_of_it(self) -> None:
        request = Request("GET", "/a%20b/%2e?c=d%26&c=e", {"X-A": "b"}, claims={"sub": "ada"}, host="a.example")
        assert (request.method, request.target, request.path) == ("GET", "/a%20b/%2e?c=d%26&c=e", "/a b/.")
        assert request.query.get_all("c") == ["d&", "e"]
        assert request.headers["x-a"] == "b"
        assert request.claims == {"sub": "ada"}
        assert request.host == "a.example"
        assert (request.client_ip, request.scheme) == ("127.0.0.1", "http")
        request.state["seen"] = True
        assert request.state == {"seen": True}

    def test_claims_are_a_copy_of_its_own(self) -> None:
        claims = {"sub": "ada", "roles": ["reader"]}
        request = Request(claims=claims)
        assert request.claims is not None
        request.claims["roles"].append("admin")
        assert request.claims["roles"] == ["reader", "admin"]
        assert claims["roles"] == ["reader"]

    @pytest.mark.parametrize("name", ["method", "target", "path", "host", "client_ip", "claims", "headers", "anything"])
    def test_what_cannot_be_changed_says_so(self, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(Request(), name, "x")

    def test_its_body_where_it_was_not_asked_for(self) -> None:
        with pytest.raises(ValueError, match='needs "requestBody": "buffered"'):
            _ = Request().body
        with pytest.raises(ValueError, match='needs "requestBody": "buffered"'):
            Request().body = b"x"

    def test_its_body(self) -> None:
        request = Request(body=b"a")
        assert request.body == b"a"
        request.body = b"bc"
        assert request.body == b"bc"
        with pytest.raises(TypeError, match="must be bytes, not str"):
            request.body = cast("bytes", "d")

    def test_nothing_changes_once_it_has_gone_on(self) -> None:
        request = Request(headers={"a": "b"}, body=b"c")
        request._freeze()
        changes: list[Callable[[], Any]] = [
            lambda: request.headers.add("x", "y"),
            lambda: request.headers.__setitem__("a", "y"),
            lambda: request.headers.__delitem__("a"),
            lambda: setattr(request, "body", b"d"),
        ]
        for change in changes:
            with pytest.raises(ValueError, match="has gone on"):
                change()
        request.state["still"] = "ours"

    @pytest.mark.parametrize(
        "name",
        ["Content-Length", "transfer-encoding", "Host", "CONNECTION", "te", "Upgrade", "Expect", "X-Forwarded-For"]
        + ["content_length", "X_Forwarded_Proto", "Proxy-Authorization"],
    )
    def test_the_gateways_own_fields(self, name: str) -> None:
        headers = received(name.encode() + b": 1")
        for change in (headers.add, headers.__setitem__):
            with pytest.raises(ValueError, match="the gateway's own"):
                change(name, "1")
        with pytest.raises(ValueError, match="the gateway's own"):
            del headers[name]


class TestResponse:
    def test_one_of_our_own(self) -> None:
        response = Response(HTTPStatus.NOT_FOUND, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "grüße")
        assert (response.status, response.body) == (404, "grüße".encode())
        assert type(response.status) is int
        assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        response.status = 410
        response.body = b""
        assert (response.status, response.body) == (410, b"")

    def test_json(self) -> None:
        response = Response.json({"error": "ä"}, 403)
        assert response.body == '{"error":"ä"}'.encode()
        assert response.headers["content-type"] == "application/json"
        assert Response.json([], headers={"Content-Type": "application/problem+json"}).headers.fields() == [
            ("Content-Type", "application/problem+json")
        ]
        with pytest.raises(ValueError, match="not JSON compliant"):
            Response.json(float("nan"))

    @pytest.mark.parametrize(
        ("status", "error"),
        [(199, ValueError), (600, ValueError), (101, ValueError), ("200", TypeError), (True, TypeError)],
    )
    def test_statuses_that_are_none(self, status: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="the status must be"):
            Response(status)
        response = Response()
        with pytest.raises(error, match="the status must be"):
            response.status = status

    def test_bodies_that_are_none(self) -> None:
        with pytest.raises(TypeError, match="must be bytes or str, not dict"):
            Response(200, (), cast("bytes", {}))
        passing = Response._passing(200, Headers(), None)
        with pytest.raises(ValueError, match='needs "responseBody": "buffered"'):
            _ = passing.body
        with pytest.raises(ValueError, match="or returns a response of its own"):
            passing.body = b""

    @pytest.mark.parametrize(
        "name", ["Content-Length", "Transfer-Encoding", "Connection", "Date", "Server", "content_length"]
    )
    def test_the_gateways_own_fields(self, name: str) -> None:
        with pytest.raises(ValueError, match="the gateway's own"):
            Response(200, {name: "1"})
        with pytest.raises(ValueError, match="the gateway's own"):
            Response().headers[name] = "1"
