"""Request lines in bytes: methods, targets and versions (RFC 9112 §3)."""

from __future__ import annotations

import pytest

from tests.support.request_message import NO_TCHARS, TCHARS, accepted, message, refused
from vrata.wire.http1.head import MAX_HEAD, MAX_REQUEST_LINE

# -- the request line (RFC 9112 §3) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [b"GET", b"get", b"POST", b"M-SEARCH", b"PROPFIND", b"BREW", b"0", b"X" * 200, TCHARS], ids=repr
)
def test_a_method_is_any_token_and_keeps_its_case(method: bytes) -> None:  # RFC 9110 §9.1, §5.6.2
    assert accepted(message(line=method + b" / HTTP/1.1")).method == method


@pytest.mark.parametrize("octet", list(NO_TCHARS), ids=hex)
def test_an_octet_outside_of_token_cannot_be_part_of_a_method(octet: int) -> None:  # RFC 9110 §5.6.2
    assert refused(message(line=b"G%cT / HTTP/1.1" % octet))[0] == 400


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"GET", id="method alone"),
        pytest.param(b"GET /", id="HTTP/0.9"),
        pytest.param(b"GET / ", id="no version"),
        pytest.param(b" GET / HTTP/1.1", id="leading space"),
        pytest.param(b"GET / HTTP/1.1 ", id="trailing space"),
        pytest.param(b"GET / HTTP/1.1\t", id="trailing tab"),
        pytest.param(b"GET  / HTTP/1.1", id="two spaces before the target"),
        pytest.param(b"GET /  HTTP/1.1", id="two spaces after the target"),
        pytest.param(b"GET\t/ HTTP/1.1", id="tab for a space"),
        pytest.param(b"GET /\tHTTP/1.1", id="tab before the version"),
        pytest.param(b"GET\x0b/ HTTP/1.1", id="vertical tab for a space"),
        pytest.param(b"GET /a b HTTP/1.1", id="space in the target"),
        pytest.param(b"GET / HTTP/1.1 HTTP/1.1", id="two versions"),
        pytest.param(b"GET / http/1.1", id="version in lower case"),
        pytest.param(b"GET / HTTP/1", id="no minor version"),
        pytest.param(b"GET / HTTP/1.", id="empty minor version"),
        pytest.param(b"GET / HTTP/1.10", id="two-digit minor version"),
        pytest.param(b"GET / HTTP/11.1", id="two-digit major version"),
        pytest.param(b"GET / HTTP/1,1", id="comma in the version"),
        pytest.param(b"GET / HTTP /1.1", id="space in the version"),
        pytest.param(b"GET / HTTP/+1.1", id="sign in the version"),
        pytest.param(b"GET / HTTPS/1.1", id="another protocol"),
        pytest.param(b"GET / ICY/1.1", id="not HTTP"),
        pytest.param(b"GET /\rHTTP/1.1", id="bare CR"),
        pytest.param(b"GET / HTTP/1.1\r", id="CR CR LF"),
        pytest.param(b"\x00GET / HTTP/1.1", id="NUL"),
        pytest.param(b"\xef\xbb\xbfGET / HTTP/1.1", id="byte order mark"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS"),
    ],
)
def test_a_malformed_request_line(line: bytes) -> None:  # RFC 9112 §3
    assert refused(message(line=line))[0] == 400


@pytest.mark.parametrize("minor", [0, 1])
def test_known_versions(minor: int) -> None:  # RFC 9112 §2.3
    assert accepted(message(line=b"GET / HTTP/1.%d" % minor)).minor == minor


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9"])
def test_unknown_versions(version: bytes) -> None:  # RFC 9110 §15.6.6
    assert refused(message(line=b"GET / HTTP/" + version)) == (505, "HTTP version not supported")


def test_the_http2_preface_is_an_unknown_version() -> None:  # RFC 9113 §3.4
    assert refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[0] == 505


def test_garbage_is_not_waited_for() -> None:
    for garbage in (b"\x16\x03\x01", b"GET / HTTP/1.1 \r\n", b"GET /\x00", b"SSH-2.0-x\r\n", b"\r\n"):
        assert refused(garbage)[0] == 400


# -- the request target (RFC 9112 §3.2) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "host", "to_send", "authority"),
    [
        # origin form, §3.2.1
        (b"GET", b"/", b"a", b"/", b"a"),
        (b"GET", b"//a//b", b"h", b"//a//b", b"h"),
        (b"GET", b"/a/../b/./c", b"h", b"/a/../b/./c", b"h"),
        (b"GET", b"/a?b=c&d=/e?f", b"h", b"/a?b=c&d=/e?f", b"h"),
        (b"GET", b"/?", b"h", b"/?", b"h"),
        (b"GET", b"/%2e%2E/%ff", b"h", b"/%2e%2E/%ff", b"h"),
        (b"GET", b"/:@!$&'()*+,;=-._~", b"h", b"/:@!$&'()*+,;=-._~", b"h"),
        (b"GET", b"/http://b/", b"h", b"/http://b/", b"h"),
        # absolute form, §3.2.2: its authority replaces Host
        (b"GET", b"http://b/c?d", b"a", b"/c?d", b"b"),
        (b"GET", b"http://b", b"a", b"/", b"b"),
        (b"GET", b"http://b?q", b"a", b"/?q", b"b"),
        (b"GET", b"HTTP://B:80/", b"a", b"/", b"B:80"),
        (b"GET", b"https://b:8443/c", b"a", b"/c", b"b:8443"),
        (b"GET", b"http://[::1]:80/", b"a", b"/", b"[::1]:80"),
        (b"GET", b"http://b//c", b"a", b"//c", b"b"),
        (b"OPTIONS", b"http://b/", b"a", b"/", b"b"),
        # asterisk form, §3.2.4
        (b"OPTIONS", b"*", b"a", b"*", b"a"),
        (b"OPTIONS", b"http://b", b"a", b"*", b"b"),
        (b"OPTIONS", b"http://b:80", b"a", b"*", b"b:80"),
    ],
)
def test_a_target_is_brought_to_origin_form(
    method: bytes, target: bytes, host: bytes, to_send: bytes, authority: bytes
) -> None:
    head = accepted(message(line=method + b" " + target + b" HTTP/1.1", host=host))
    assert (head.target, head.authority) == (to_send, authority)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        pytest.param(b"GET", b"*", 400, id="asterisk without OPTIONS, §3.2.4"),
        pytest.param(b"OPTIONS", b"**", 400, id="two asterisks"),
        pytest.param(b"GET", b"a", 400, id="relative reference"),
        pytest.param(b"GET", b"?q", 400, id="query alone"),
        pytest.param(b"GET", b"a.test:80", 400, id="authority form without CONNECT, §3.2.3"),
        pytest.param(b"GET", b"/#f", 400, id="fragment"),
        pytest.param(b"GET", b"http://b/#f", 400, id="fragment in an absolute form"),
        pytest.param(b"GET", b"http://b#f", 400, id="fragment behind the authority"),
        pytest.param(b"GET", b"http:///a", 400, id="empty authority, RFC 9110 §4.2.1"),
        pytest.param(b"GET", b"http://:80/a", 400, id="empty host"),
        pytest.param(b"GET", b"http://u@b/", 400, id="user information, RFC 9110 §4.2.4"),
        pytest.param(b"GET", b"http://u:p@b/", 400, id="user information with a password"),
        pytest.param(b"GET", b"http://b:port/", 400, id="port that is no number"),
        pytest.param(b"GET", b"http://b:999999/", 400, id="port that is none"),
        pytest.param(b"GET", b"http://b\\@c/", 400, id="backslash in the authority"),
        pytest.param(b"GET", b"ftp://b/", 400, id="another scheme"),
        pytest.param(b"GET", b"http:/b/", 400, id="one slash"),
        pytest.param(b"GET", b"://b/", 400, id="empty scheme"),
        pytest.param(b"GET", b"/\x7f", 400, id="DEL"),
        pytest.param(b"GET", b"/\x00", 400, id="NUL"),
        pytest.param(b"GET", b"/\xc3\xa4", 400, id="octets beyond ASCII"),
        pytest.param(b"CONNECT", b"a.test:443", 501, id="CONNECT, RFC 9110 §9.3.6"),
        pytest.param(b"CONNECT", b"/", 501, id="CONNECT with an origin form"),
        pytest.param(b"CONNECT", b"*", 501, id="CONNECT with an asterisk"),
        pytest.param(b"CONNECT", b"http://a/", 501, id="CONNECT with an absolute form"),
    ],
)
def test_a_target_that_is_refused(method: bytes, target: bytes, status: int) -> None:
    assert refused(message(line=method + b" " + target + b" HTTP/1.1"))[0] == status


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/a%2Fb?c=%41", "/a/b", b"/a%2Fb", b"c=%41"),
        (b"/%252e", "/%2e", b"/%252e", b""),
        (b"/%zz%4", "/%zz%4", b"/%zz%4", b""),
        (b"/%C3%A4", "/ä", b"/%C3%A4", b""),
        (b"/%ff", "/\udcff", b"/%ff", b""),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"*", "*", b"*", b""),
    ],
)
def test_path_and_query(target: bytes, path: str, raw_path: bytes, query: bytes) -> None:  # RFC 3986 §2.4, §3.3
    head = accepted(message(line=b"OPTIONS " + target + b" HTTP/1.1"))
    assert (head.path, head.raw_path, head.query) == (path, raw_path, query)


def test_query_parameters_are_decoded_and_the_first_counts() -> None:
    head = accepted(message(line=b"GET /?a=1&a=2&b=&c&d=%C3%A4+x&=y HTTP/1.1"))
    assert [head.query_parameter(name) for name in "abcde"] == ["1", "", "", "ä x", None]


def test_the_longest_request_line() -> None:  # RFC 9112 §3: at least 8000 octets
    longest = b"GET /%s HTTP/1.1" % (b"x" * (MAX_REQUEST_LINE - len("GET / HTTP/1.1")))
    assert len(longest) == MAX_REQUEST_LINE
    assert accepted(message(line=longest)).size == MAX_REQUEST_LINE + 13
    for line in (
        b"GET /%s HTTP/1.1" % (b"x" * (MAX_REQUEST_LINE - len("GET / HTTP/1.1") + 1)),
        b"G%s / HTTP/1.1" % (b"E" * MAX_REQUEST_LINE),
        b"GET /%s" % (b"x" * MAX_REQUEST_LINE),
        b"GET /%s HTTP/1.1" % (b"x" * MAX_HEAD),
        b"x" * (MAX_REQUEST_LINE + 2),
    ):
        assert refused(message(line=line)) == (414, "request line too long")


def test_a_request_line_without_end_is_not_waited_for() -> None:
    assert refused(b"GET /" + b"x" * MAX_REQUEST_LINE)[0] == 414
