"""What expressions see of a request and of claims, and that they read no more than they need."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.expressions import Certificate, ClaimsExample, RequestExample
from vrata.expressions import CLAIMS, EvaluationError, compile_expression

REQUEST = RequestExample(
    method="POST",
    path="/api/ünï",
    headers={"x-role": "admin,audit", "content-type": "application/json", "x-empty": ""},
    query={"page": "2", "flag": ""},
    body=b'{"user": {"name": "Ann", "age": 41}, "tags": ["a", "b"], "ok": true, "no": null}',
    body_json={"user": {"name": "Ann", "age": 41}, "tags": ["a", "b"], "ok": True, "no": None},
    certificate=Certificate(),
)
BARE = RequestExample()


def holds(text: str, request: RequestExample = REQUEST) -> bool:
    return compile_expression(text).holds(request)


@pytest.mark.parametrize(
    "text",
    [
        'request.method == "POST"',
        'request.path == "/api/ünï"',
        'request.path.startsWith("/api") && "admin" in request.headers["x-role"] && request.method != "DELETE"',
        'request.host == "shop.example"',
        'request.scheme == "https"',
        'request.clientIp == "192.0.2.7"',
        'request.method in ["GET", "POST"]',
        'request.headers["x-role"].contains("audit")',
        'request.headers["x-" + "role"].contains("audit")',
        'request.headers.`x-role`.contains("audit")',
        "has(request.headers.`x-role`) && !has(request.headers.`x-other`)",
        '"x-role" in request.headers && !("x-other" in request.headers)',
        'request.headers["x-empty"] == ""',
        'request.headers.exists(name, name == "x-role" && request.headers[name].contains("admin"))',
        "size(request.headers) == 3",
        "!(request.method in request.headers)",
        'request.queryParams["page"] == "2" && int(request.queryParams.page) == 2',
        '"flag" in request.queryParams && has(request.queryParams.flag) && request.queryParams["flag"] == ""',
        "size(request.queryParams) == 2",
        'request.body.raw.contains("Ann")',
        'request["body"]["raw"].contains("Ann")',
        "has(request.body) && has(request.body.raw) && has(request.body.json)",
        'request.body.json.user.name == "Ann" && request.body.json.user.age > 40',
        'request.body.json["user"]["age"] + 1 == 42',
        "request.body.json.ok",
        "request.body.json.no == null",
        "request.body.json.tags.exists(tag, tag == 'b')",
        "request.body.json.tags.join(',') == 'a,b'",
        "has(request.body.json.user.name) && !has(request.body.json.user.mail)",
        "has(request.tls) && has(request.tls.peerCertificate) && has(request.tls.peerCertificate.uris)",
        'request.tls.peerCertificate.uris.exists(uri, uri.startsWith("spiffe://example.org/"))',
        'request.tls.peerCertificate.dnsNames == ["cart.shop.example"]',
        '"cart.shop.example" in request.tls.peerCertificate.dnsNames',
        'request.tls.peerCertificate.subject.matches("(^|,)CN=cart(,|$)")',
        'request.tls.peerCertificate.serial == "1a2b"',
        '"body" in request && "tls" in request && !("nothing" in request)',
        "request.tls != null",
        "type(request) == map",
        'dyn(request).body.json.user.name == "Ann"',
        "request.all(name, size(name) > 3) == false",
    ],
)
def test_what_is_there(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        'request.headers["x-role"] == "admin"',
        'request.headers["x-role"] != "admin"',
        '"admin" in request.headers["x-role"]',
        'request.headers[request.method] == ""',
        'request.queryParams["page"] != "2"',
        "has(request.body)",
        "has(request.body.raw)",
        '"body" in request',
        'request.body.raw == ""',
        "request.body.json.a == 1",
        "has(request.body.json)",
        "!has(request.body.json)",
        "has(request.tls)",
        "has(request.tls.peerCertificate)",
        "request.tls.peerCertificate.uris == []",
        'request.tls.peerCertificate.subject == ""',
        "dyn(request).tls != null",
    ],
)
def test_what_is_absent_makes_nothing_true(text: str) -> None:
    assert not holds(text, BARE)


def test_absence_can_be_asked_for() -> None:
    assert holds("!has(request.body) && !has(request.tls) && !('x' in request.headers)", BARE)
    assert holds('has(request.tls) ? request.tls.peerCertificate.serial == "1" : request.method == "GET"', BARE)
    no_json = RequestExample(body=b"\xff\xfe text")
    assert holds('has(request.body) && !has(request.body.json) && request.body.raw.endsWith(" text")', no_json)
    assert holds('size(request.body.raw) == 7 && request.body.raw.startsWith("\\ufffd")', no_json)


def test_headers_are_found_by_computed_names_in_lower_case_only() -> None:
    request = RequestExample(method="X-Role", headers={"x-role": "a", "host": "never shown"})
    assert not holds('request.headers[request.method] == "a"', request)
    assert not holds("request.method in request.headers", request)
    assert not holds('request.headers["ho" + "st" + (request.method == "" ? "" : "")] != ""', request)


class _Untouched(RequestExample):
    """A request of which only the method may be read."""

    def __getattribute__(self, name: str) -> Any:
        if name != "method" and not name.startswith("__"):
            raise AssertionError(f"{name} was read")
        return super().__getattribute__(name)


def test_nothing_is_read_but_what_the_value_needs() -> None:
    request = _Untouched(method="PUT")
    assert not holds('request.method == "GET" && request.path == "/" && request.body.json.a == 1', request)
    assert holds('request.method == "PUT" || has(request.tls)', request)
    assert holds('request.method == "PUT" ? true : request.headers["a"] == "b"', request)


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ('request.method == "GET"', False),
        ('"request.body" == request.path', False),
        ('request.headers["body"] == ""', False),
        ("has(request.tls)", False),
        ("has(request.body)", True),
        ("has(request.body.json)", True),
        ('request.body.raw == ""', True),
        ('request["body"].raw == ""', True),
        ("request\n.body\n.json.a == 1", True),
        ("request.body.json.exists(key, true)", True),
        ('request["bo" + "dy"] == {}', True),
        ("dyn(request).method == ''", True),
        ("request.exists(name, true)", True),
        ("'method' in request", True),
        ("false && request.body.json.a == 1", True),
        ("[1].exists(request, request > 0)", False),
    ],
)
def test_whether_the_body_is_needed(text: str, reads: bool) -> None:
    assert compile_expression(text).reads_body is reads


def test_claims() -> None:
    claims = ClaimsExample(
        {"exp": 1_700_000_100, "iat": 1.6e9, "roles": ["admin", "dev"], "org": {"id": 7}, "sub": "a"}
    )

    def value(text: str) -> Any:
        return compile_expression(text, CLAIMS, any_result=True).evaluate(claims)

    assert value("claims.exp > now") is True
    assert value("claims.iat < now") is True
    assert value("claims.roles.join(',')") == "admin,dev"
    assert value("'admin' in claims.roles && claims.org.id == 7") is True
    assert value("claims.sub") == "a"
    assert value("has(claims.mail)") is False
    assert value("now - 5") == 1_699_999_995
    assert value("timestamp(now).getFullYear() == 2023 && timestamp(claims.exp) - timestamp(now) == duration('100s')")
    with pytest.raises(EvaluationError, match='there is no "mail"'):
        value("claims.mail")
    assert compile_expression("claims.exp > now", CLAIMS).holds(claims)
    assert not compile_expression("claims.sub", CLAIMS).holds(claims)


def test_other_values_than_true_do_not_hold_and_are_no_error_of_evaluate() -> None:
    request = RequestExample(body=b"", body_json={"flag": "true", "one": 1})
    for text in ("request.body.json.flag", "request.body.json.one", "request.body.json.none"):
        assert not holds(text, request)
    assert compile_expression("request.body.json.flag").evaluate(request) == "true"


def test_an_expression_is_compiled_once() -> None:
    assert compile_expression("request.method == 'A'") is compile_expression("request.method == 'A'")
    assert repr(compile_expression("true")) == "Expression('true')"
    assert compile_expression("true").text == "true"


@pytest.mark.parametrize("value", [None, "", "a", "cab", "b" * 1000, "b" * 1000 + "a"])
@pytest.mark.parametrize(
    "text",
    [
        'request.headers["x-a"] == "a"',
        '"a" == request.headers.`x-a`',
        'request.headers["x-a"] != "a"',
        '"a" != request.headers["x-a"]',
        '"a" in request.headers["x-a"]',
        'request.headers["x-a"] == "a" && request.headers["x-a"] != "b"',
        'request.headers["x-a"] == "a" || request.headers["x-a"] != "b"',
        '!(request.headers["x-a"] == "a")',
        'request.queryParams.a == "a"',
        '"a" in request.queryParams["a"] && request.queryParams.a != "a"',
    ],
)
def test_it_holds_when_its_value_is_true(text: str, value: str | None) -> None:
    request = RequestExample()
    if value is not None:
        request = RequestExample(headers={"x-a": value}, query={"a": value})
    expression = compile_expression(text)
    try:
        outcome = expression.evaluate(request)
    except EvaluationError:
        assert value is None
        outcome = None
    assert expression.holds(request) is (outcome is True)
