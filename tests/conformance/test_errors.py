"""The texts and statuses of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.documents import DOCUMENTS
from tests.support.api_client import ApiClient

ROUTE_ACTIONS = "a route must define exactly one of destinations, redirect, or directResponse"
WEIGHTS = "destination weights must sum to 100 when multiple destinations are defined"


def client_auth(**members: Any) -> dict[str, Any]:
    return {"name": "l", "port": 3000, "tls": {"cert": "/c", "key": "/k", "clientAuth": members}}


def inline_authz(**members: Any) -> dict[str, Any]:
    return {"name": "m", "type": "inlineAuthz", "inlineAuthz": members}


def forward(*weights: int) -> dict[str, Any]:
    destinations = [{"destinationId": f"d{index}", "weight": weight} for index, weight in enumerate(weights)]
    return {"name": "r", "forward": {"destinations": destinations}}


RULE = {"cel": "true", "action": "allow"}
FIXED_TEXTS: list[tuple[str, dict[str, Any], str]] = [
    ("routes", {"name": "r"}, ROUTE_ACTIONS),
    ("routes", {"name": "r", "redirect": {"host": "a"}, "directResponse": {"status": 200}}, ROUTE_ACTIONS),
    ("routes", forward(50, 49), WEIGHTS),
    ("routes", forward(0, 0), WEIGHTS),
    ("listeners", client_auth(mode="optional"), 'clientAuth.ca is required when mode is "optional"'),
    ("listeners", client_auth(mode="require"), 'clientAuth.ca is required when mode is "require"'),
    (
        "listeners",
        client_auth(mode="x"),
        'unknown clientAuth.mode "x": must be "none", "optional", or "require"',
    ),
    (
        "middlewares",
        {"name": "m", "type": "inlineAuthz"},
        'inlineAuthz config is required when type is "inlineAuthz"',
    ),
    ("middlewares", inline_authz(rules=[]), "inlineAuthz.rules must not be empty"),
    (
        "middlewares",
        inline_authz(rules=[RULE], defaultAction="x"),
        'inlineAuthz.defaultAction must be "allow" or "deny", got "x"',
    ),
    (
        "middlewares",
        inline_authz(rules=[RULE, {"cel": "true", "action": "x"}]),
        'inlineAuthz.rules[1].action must be "allow" or "deny", got "x"',
    ),
    ("middlewares", inline_authz(rules=[{"cel": "", "action": "deny"}]), "inlineAuthz.rules[0].cel must not be empty"),
]


@pytest.mark.parametrize(("collection", "document", "text"), FIXED_TEXTS)
def test_fixed_texts(api: ApiClient, collection: str, document: dict[str, Any], text: str) -> None:
    answer = api.post(f"/{collection}", document)
    assert (answer.status_code, answer.json()) == (400, {"error": text})
    api.create(collection, id="there", **DOCUMENTS[collection])
    answer = api.put(f"/{collection}/there", document)
    assert (answer.status_code, answer.json()) == (400, {"error": text})


def test_an_expression_that_does_not_compile(api: ApiClient) -> None:
    answer = api.post("/middlewares", inline_authz(rules=[{"cel": "request.(", "action": "deny"}]))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("inlineAuthz.rules[0].cel: ")


MALFORMED = [
    b"",
    b"{",
    b"{} {}",
    b'{"name":"a","name":"b"}',
    b'{"port":NaN}',
    b'{"port":1e999}',
    b'{"name":"\\ud800"}',
    b"\xff",
    b"[" * 50_000,
]


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("path", ["/routes", "/snapshots"])
def test_malformed_json(api: ApiClient, path: str, body: bytes) -> None:
    answer = api.http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("invalid request body: ")


@pytest.mark.parametrize("body", MALFORMED)
def test_malformed_secrets_are_not_repeated(api: ApiClient, body: bytes) -> None:
    api.create("secrets", id="s1", **DOCUMENTS["secrets"])
    for answer in (api.http.post("/secrets", content=body), api.http.put("/secrets/s1", content=body)):
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid request body"})


@pytest.mark.parametrize("document", [None, 1, "text", [], True])
@pytest.mark.parametrize("path", ["/routes", "/secrets", "/snapshots", "/listeners"])
def test_a_body_must_be_an_object(api: ApiClient, path: str, document: Any) -> None:
    answer = api.http.post(path, content=json.dumps(document))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("must be an object")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"name": 1, "port": 1}, "name: must be a string"),
        ({"name": "l", "port": "80"}, "port: "),
        ({"name": "l", "port": 80.5}, "port: "),
        ({"name": "l", "port": -1}, "port: "),
        ({"name": "l", "port": 2**80}, "port: "),
        ({"name": "l", "port": True}, "port: "),
        ({"name": "l", "port": 80, "timeouts": []}, "timeouts: must be an object"),
    ],
)
def test_wrong_types_and_ranges(api: ApiClient, document: dict[str, Any], problem: str) -> None:
    answer = api.post("/listeners", document)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(problem)


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/routes/", "/api/v1/routes/a/b", "/", "/api/v2/routes"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_paths(api: ApiClient, method: str, path: str) -> None:
    answer = api.http.request(method, api.url + path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert answer.text.endswith("\n")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/routes", "GET, HEAD, POST"),
        ("DELETE", "/secrets", "GET, HEAD, POST"),
        ("POST", "/routes/r1", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/snapshots/s1", "GET, HEAD, DELETE"),
        ("GET", "/snapshots/s1/activate", "POST"),
        ("HEAD", "/snapshots/s1/activate", "POST"),
        ("POST", "/sync/snapshot", "GET, HEAD"),
        ("OPTIONS", "/debug/config", "GET, HEAD"),
        ("BREW", "/proxies", "GET, HEAD"),
    ],
)
def test_wrong_methods(api: ApiClient, method: str, path: str, allowed: str) -> None:
    answer = api.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    if method != "HEAD":
        assert answer.json() == {"error": f"/api/v1{path} allows {allowed}"}


def test_cluster_mode_is_not_active(api: ApiClient) -> None:
    answer = api.post("/sync/raft", {"type": "SaveRoute", "payload": {}})
    assert (answer.status_code, answer.json()) == (503, {"error": "cluster mode not active"})
