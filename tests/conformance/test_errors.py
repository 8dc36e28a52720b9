"""The texts and statuses of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.documents import DOCUMENTS
from tests.support.api_client import ApiClient
from tests.support.certificates import Authority

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


EXPRESSIONS: list[tuple[str, str]] = [
    ("request.(", "line 1, column 9: "),
    ("request.method == 'GET' &&\n  request.nothing == 1", "line 2, column 11: "),
    ("nothing == 1", "line 1, column 1: "),
    ("request.method", "line 1, column "),
    ("request.method + 1 == 2", "line 1, column "),
    ("request.path.matches('(')", "line 1, column "),
    (" ", "line 1, column 1: "),
]


@pytest.mark.parametrize(("cel", "place"), EXPRESSIONS)
def test_the_expression_of_a_route_is_checked_and_the_error_says_where(api: ApiClient, cel: str, place: str) -> None:
    document = {"name": "r", "match": {"pathPrefix": "/", "cel": cel}, "directResponse": {"status": 200}}
    answer = api.post("/routes", document)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"match.cel: is not a valid CEL expression: {place}"), answer.json()
    api.create("routes", id="there", **DOCUMENTS["routes"])
    assert api.put("/routes/there", document).json() == answer.json()
    assert api.post("/snapshots", {"name": "s"}).status_code == 201


def override(**members: Any) -> dict[str, Any]:
    return {"name": "r", "directResponse": {"status": 200}, "middlewareOverrides": {"m": members}}


def jwt(**members: Any) -> dict[str, Any]:
    return {"name": "m", "type": "jwt", "jwt": {"issuer": "i", "jwksInline": '{"keys": []}', **members}}


@pytest.mark.parametrize(
    ("collection", "document", "path"),
    [
        ("routes", override(skipWhen=["true", "request.nothing"]), "middlewareOverrides.m.skipWhen[1]"),
        ("routes", override(onlyWhen=["request.path"]), "middlewareOverrides.m.onlyWhen[0]"),
        (
            "groups",
            {"name": "g", "middlewareOverrides": {"m": {"skipWhen": ["claims.a"]}}},
            "middlewareOverrides.m.skipWhen[0]",
        ),
        ("middlewares", inline_authz(rules=[RULE, {"cel": "nothing", "action": "deny"}]), "inlineAuthz.rules[1].cel"),
        ("middlewares", jwt(assertClaims=["claims.a == 1", "request.path == '/'"]), "jwt.assertClaims[1]"),
        ("middlewares", jwt(claimToHeaders=[{"expr": "request.path", "header": "x"}]), "jwt.claimToHeaders[0].expr"),
    ],
)
def test_every_other_condition_is_checked_as_well(
    api: ApiClient, collection: str, document: dict[str, Any], path: str
) -> None:
    answer = api.post(f"/{collection}", document)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{path}: is not a valid CEL expression: line 1, column "), answer.json()


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


MATERIAL = {name: Authority(name).issue(f"{name}.test") for name in ("ours", "other")}
OURS = {"cert": MATERIAL["ours"].cert_text, "key": MATERIAL["ours"].key_text}
OTHER = {"cert": MATERIAL["other"].cert_text, "key": MATERIAL["other"].key_text}
NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
HALF_CONFIGURED: list[tuple[dict[str, Any], str]] = [
    ({"tls": {}}, "tls.cert: is required: TLS needs both cert and key"),
    ({"tls": {"cert": OURS["cert"]}}, "tls.key: is required: TLS needs both cert and key"),
    ({"tls": {"key": OURS["key"]}}, "tls.cert: is required: TLS needs both cert and key"),
    ({"tls": {"cert": "", "key": ""}}, "tls.cert: is required: TLS needs both cert and key"),
    ({"tls": {"cert": NO_CERTIFICATE, "key": OURS["key"]}}, "tls.cert: is not a valid PEM certificate"),
    ({"tls": {"cert": OURS["key"], "key": OURS["key"]}}, "tls.cert: is not a valid PEM certificate"),
    ({"tls": {"cert": OURS["cert"], "key": OURS["cert"]}}, "tls.key: is not a valid PEM private key"),
    ({"tls": {**OURS, "key": OTHER["key"]}}, "tls.key: does not belong to the certificate"),
    ({"tls": {**OURS, "clientAuth": {"mode": "require"}}}, "clientAuth.ca is required"),
    ({"tls": {**OURS, "clientAuth": {"mode": "optional", "ca": ""}}}, "clientAuth.ca is required"),
    (
        {"tls": {**OURS, "clientAuth": {"mode": "require", "ca": NO_CERTIFICATE}}},
        "tls.clientAuth.ca: is not a valid PEM",
    ),
    ({"tls": {**OURS, "minVersion": "TLSv1_3", "maxVersion": "TLSv1_2"}}, "tls.maxVersion: must not be older"),
    ({"tls": {**OURS, "maxVersion": "TLSv1_1"}}, 'tls.maxVersion: must not be older than minVersion "TLSv1_2"'),
    ({"tls": {**OURS, "minVersion": "SSLv3"}}, "tls.minVersion: must be "),
    ({"tls": {**OURS, "certificates": [{}]}}, "tls.certificates[0].cert: is required"),
    ({"tls": {**OURS, "certificates": [{"cert": "/c"}]}}, "tls.certificates[0].key: is required"),
    ({"tls": {**OURS, "certificates": [{**OTHER, "key": OURS["key"]}]}}, "tls.certificates[0].key: does not belong"),
    (
        {"tls": {**OURS, "certificates": [OTHER, OTHER]}},
        'tls.certificates[1]: "other.test" is a name of certificates[0]',
    ),
    (
        {"tls": {**OURS, "certificates": [{**OTHER, "hostnames": ["192.0.2.1"]}]}},
        "tls.certificates[0].hostnames[0]: must",
    ),
    ({"tls": {"certificates": [OURS]}}, "tls.cert: is required"),
    ({"proxyProtocol": {"mode": "required"}}, "proxyProtocol.trustedPeers: is required"),
    ({"proxyProtocol": {"mode": "optional"}}, "proxyProtocol.mode: must be "),
    ({"proxyProtocol": {"mode": "required", "trustedPeers": ["all"]}}, "proxyProtocol.trustedPeers[0]: must be an IP"),
]


@pytest.mark.parametrize(("members", "reason"), HALF_CONFIGURED)
def test_a_listener_that_is_half_configured_is_refused(api: ApiClient, members: dict[str, Any], reason: str) -> None:
    api.create("listeners", id="there", name="there", port=3000)
    for answer in (
        api.post("/listeners", {"name": "l", "port": 3001, **members}),
        api.put("/listeners/there", {"name": "l", "port": 3001, **members}),
    ):
        assert answer.status_code == 400
        assert reason in answer.json()["error"]
    assert api.get("/listeners/there").json() == {"id": "there", "name": "there", "address": "0.0.0.0", "port": 3000}


def test_what_a_secret_turns_out_to_be_is_found_out_when_a_snapshot_is_made(api: ApiClient) -> None:
    api.create("secrets", id="key", name="key", value=OURS["key"])
    further = {"cert": OTHER["cert"], "key": "{{secret:value:key}}"}
    api.create("listeners", id="l", name="l", port=3000, tls={**OURS, "certificates": [further]})
    answer = api.post("/snapshots", {"name": "s"})
    assert answer.status_code == 400
    assert 'listener "l" (l): tls.certificates[0].key: does not belong to the certificate' in answer.json()["error"]
    # Never the key itself.
    assert OURS["key"].splitlines()[1] not in answer.text


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
