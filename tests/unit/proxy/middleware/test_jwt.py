"""The ``jwt`` middleware in a proxy, before real backends and servers of keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_request import client_request
from tests.support.conditions import eventually
from tests.support.gateway import Document, destination, forward, route
from tests.support.jwks_server import JwksServer
from tests.support.ports import free_port
from tests.support.raw_http import Connection, Response, fetch
from tests.support.recording_backend import RecordingBackend
from tests.support.threaded_proxy import ThreadedProxy
from tests.support.tokens import ALGORITHMS, ISSUER, NOW, Issuer, claims, jwks, live_claims, raw_token
from vrata import __version__
from vrata.model import Middleware
from vrata.policy.jwt.refresh import MOST_ASKED, SHORTEST_INTERVAL
from vrata.policy.jwt.refusal import Fault, TokenRefused
from vrata.policy.jwt.token import LONGEST_TOKEN
from vrata.proxy.middleware.jwt import TokenGuard
from vrata.proxy.middleware.token_keys import InlineKeys

PAGE = Path(__file__).resolve().parents[4] / "docs" / "guide" / "middlewares" / "jwt.md"
FIRST, SECOND = Issuer(kid="a"), Issuer(kid="b", number=1)
INLINE = {"jwksInline": jwks(FIRST.jwk).decode()}
FAILED = "token validation failed"


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadedProxy]:
    with ThreadedProxy() as running, RecordingBackend() as backend:
        running.backend_port = backend.port  # type: ignore[attr-defined]
        yield running


class Setting:
    """A proxy with one route that the middleware guards."""

    def __init__(self, running: ThreadedProxy) -> None:
        self._running = running
        self.port = running.proxy.port

    def guard(self, *others: Document, name: str = "tokens", **settings: Any) -> None:
        """From now on the middleware *name* is as *settings* say; *others* are destinations."""
        middleware = {"id": name, "name": name, "type": "jwt", "jwt": {"issuer": ISSUER, **settings}}
        backend = destination("b", self._running.backend_port)  # type: ignore[attr-defined]
        report = self._running.run(
            self._running.proxy.apply(
                route("r", forward=forward("b")) | {"middlewareIds": [name]},
                destinations=[backend, *others],
                middlewares=[middleware],
            )
        )
        assert report.problems == ()

    def guard_by(self, server: JwksServer, **settings: Any) -> None:
        """As above, with the keys of *server*."""
        issuer = destination("issuer", server.port)
        self.guard(issuer, jwksDestinationId="issuer", jwksPath="/keys?set=1", **settings)

    def send(self, token: bytes | None, *headers: tuple[str, str], **options: Any) -> Response:
        authorization = [] if token is None else [("Authorization", f"Bearer {token.decode()}")]
        return fetch(self.port, headers=[*authorization, *headers], **options)

    def log(self, event: str) -> list[dict[str, Any]]:
        """What was logged as *event* since the proxy began."""
        return [dict(entry) for entry in self._running._logs.entries if entry["event"] == event]


@pytest.fixture
def setting(running: ThreadedProxy) -> Iterator[Setting]:
    running._logs.entries.clear()
    yield Setting(running)
    running.run(running.proxy.apply())
    assert running.complaints() == []


def seen(response: Response) -> dict[str, list[str]]:
    """The headers that came to the backend, by name in lower case."""
    assert response.status == 200, response.body
    found: dict[str, list[str]] = {}
    for name, value in json.loads(response.body)["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def refusal(response: Response) -> tuple[int, str, str | None]:
    """Status, text and challenge."""
    assert response["content-type"] == "application/json"
    return response.status, json.loads(response.body)["error"], response["www-authenticate"]


# -- good tokens, and what becomes of their claims ---------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm(setting: Setting, algorithm: str) -> None:
    issuer = Issuer(algorithm)
    setting.guard(jwksInline=jwks(issuer.jwk).decode(), claimToHeaders=[{"expr": "claims.sub", "header": "X-User"}])
    token = issuer.token(live_claims())
    for _ in range(2):
        headers = seen(setting.send(token))
        assert headers["x-user"] == ["ann"]
        assert "authorization" not in headers
    assert refusal(setting.send(Issuer(algorithm, number=1).token(live_claims())))[1] == FAILED


def test_headers_of_claims_replace_those_of_the_client(setting: Setting) -> None:
    setting.guard(
        **INLINE,
        claimToHeaders=[
            {"expr": "claims.sub", "header": "X-User"},
            {"expr": "claims.roles", "header": "X-Roles"},
            {"expr": "claims.level", "header": "X-Level"},
            {"expr": "claims.gone", "header": "X-Gone"},
            {"expr": "claims.split", "header": "X-Split"},
            {"expr": "claims.sub", "header": "X-Either"},
            {"expr": "claims.gone", "header": "x-either"},
        ],
    )
    token = FIRST.token(live_claims(roles=["dev", "ops"], level=2.0, split="a\r\nX-Admin: yes"))
    forged = [("X-User", "root"), ("x-user", "root"), ("X_User", "root"), ("X-Gone", "1"), ("X-Split", "1")]
    headers = seen(setting.send(token, *forged, ("X-Kept", "1")))
    found = {name: value for name, value in headers.items() if name.startswith("x-") and "forwarded" not in name}
    del found["x-request-id"]
    assert found == {
        "x-user": ["ann"],
        "x-roles": ["dev,ops"],
        "x-level": ["2"],
        "x-either": ["ann"],
        "x-kept": ["1"],
    }


def test_the_token_goes_on_when_it_should(setting: Setting) -> None:
    setting.guard(**INLINE, forwardJwt=True)
    token = FIRST.token(live_claims())
    assert seen(setting.send(token))["authorization"] == [f"Bearer {token.decode()}"]


def test_assertions(setting: Setting) -> None:
    setting.guard(**INLINE, assertClaims=["claims.admin", "claims.exp > now && claims.sub != 'bob'"])
    assert setting.send(FIRST.token(live_claims(admin=True))).status == 200
    challenge = 'Bearer error="insufficient_scope"'
    for content in (live_claims(admin=False), live_claims(), live_claims(admin=1), live_claims(admin=True, sub="bob")):
        assert refusal(setting.send(FIRST.token(content))) == (403, "claim assertion failed", challenge)


# -- tokens that are refused -------------------------------------------------------------------------------------------


def as_header(token: bytes) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token.decode()}")]


GOOD = FIRST.token(live_claims())
PUBLIC_KEY_AS_SECRET = raw_token({"alg": "HS256", "kid": "a"}, live_claims(), b"x" * 32)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ([], "missing authorization token"),
        ([("Authorization", "Basic YTpi")], "missing authorization token"),
        ([("Authorization", "bearer " + GOOD.decode())], "invalid token format"),
        (as_header(GOOD) * 2, "invalid token format"),
        (as_header(b"a.b"), "invalid token format"),
        (as_header(GOOD + b".x"), "invalid token format"),
        (as_header(b"a" * LONGEST_TOKEN + b".b.c"), "invalid token format"),
        (as_header(b"a." + GOOD.partition(b".")[2]), "invalid token header"),
        (as_header(raw_token({}, live_claims())), "invalid token header"),
        (as_header(GOOD.partition(b".")[0] + b".a.b"), "invalid token claims"),
        (as_header(FIRST.sign(b'{"alg":"ES256","kid":"a"}', b'{"exp":1,"exp":2}')), "invalid token claims"),
        (as_header(FIRST.sign(b'{"alg":"ES256","kid":"a"}', b'{"exp":NaN}')), "invalid token claims"),
        (as_header(FIRST.sign(b'{"alg":"ES256","kid":"a"}', b'{"exp":1e999}')), "invalid token claims"),
        (as_header(GOOD + b"="), "invalid token signature"),
        (as_header(GOOD[:-2]), FAILED),
        (as_header(raw_token({"alg": "none", "kid": "a"}, live_claims())), FAILED),
        (as_header(raw_token({"alg": "none"}, live_claims())), FAILED),
        (as_header(PUBLIC_KEY_AS_SECRET), FAILED),
        (as_header(SECOND.token(live_claims())), FAILED),
        (as_header(Issuer(kid="a", number=1).token(live_claims())), FAILED),
        (as_header(Issuer("RS256", kid="a").token(live_claims())), FAILED),
        (as_header(FIRST.token(live_claims(exp=int(time.time()) - 5))), FAILED),
        (as_header(FIRST.token(live_claims(exp=None) | {"exp": None})), FAILED),
        (as_header(FIRST.sign(b'{"alg":"ES256","kid":"a"}', b'{"iss":"%s","exp":true}' % ISSUER.encode())), FAILED),
        (as_header(FIRST.sign(b'{"alg":"ES256","kid":"a"}', b'{"iss":"%s","exp":"9e9"}' % ISSUER.encode())), FAILED),
        (as_header(FIRST.token(live_claims(nbf=int(time.time()) + 300))), FAILED),
        (as_header(FIRST.token(live_claims(iss="https://other.example"))), FAILED),
        (as_header(FIRST.token(live_claims(aud=["other"]))), FAILED),
        (as_header(FIRST.token(live_claims(aud=None))), FAILED),
        (as_header(FIRST.sign(b'{"alg":"ES256","kid":"a","crit":["x"]}', b"{}")), FAILED),
    ],
)
def test_tokens_that_are_refused(setting: Setting, headers: list[tuple[str, str]], text: str) -> None:
    setting.guard(**INLINE, audiences=["shop"])
    response = setting.send(None, *headers)
    challenge = "Bearer" if text.startswith("missing") else 'Bearer error="invalid_token"'
    assert refusal(response) == (401, text, challenge)
    (line,) = setting.log("token refused")
    assert (line["reason"], line["middleware"]) == (text, "tokens")
    assert line["detail"]
    assert setting.send(GOOD).status == 200


def test_calls_of_grpc_get_a_status(setting: Setting) -> None:
    setting.guard(**INLINE, assertClaims=["claims.admin"])
    for token, code, text in ((None, "16", "missing authorization token"), (GOOD, "7", "claim assertion failed")):
        response = setting.send(token, ("Content-Type", "application/grpc"), method="POST", body=b"")
        assert (response.status, response["grpc-status"], response["grpc-message"]) == (200, code, text)


@pytest.mark.parametrize("keys", ['{"keys":[]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}'])
def test_without_keys_nobody_comes_in(setting: Setting, keys: str) -> None:
    setting.guard(jwksInline=keys)
    assert refusal(setting.send(GOOD))[:2] == (401, FAILED)


# -- in a time that the test moves -------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def guard_at(clock: Clock, keys: InlineKeys, **settings: Any) -> TokenGuard:
    document = {"id": "m", "name": "m", "type": "jwt", "jwt": {"issuer": ISSUER, **INLINE, **settings}}
    jwt = Middleware.parse(document).jwt
    assert jwt is not None
    return TokenGuard(jwt, keys, clock)


def admits(guard: TokenGuard, token: bytes) -> bool:
    request = client_request(b"Authorization: Bearer " + token)
    try:
        guard.admit(request)
    except TokenRefused:
        assert request.claims is None
        return False
    assert request.claims is not None
    return True


def test_a_token_that_was_seen_expires_all_the_same() -> None:
    clock = Clock()
    guard = guard_at(clock, InlineKeys(INLINE["jwksInline"], ISSUER), clockSkew="10s")
    token = FIRST.token(claims(exp=NOW + 60))
    for seconds, is_good in ((0, True), (60, True), (70.9, True), (71, False), (70, True), (1e6, False)):
        clock.now = NOW + seconds
        assert admits(guard, token) is is_good


def test_a_token_that_was_seen_goes_with_its_key() -> None:
    keys = InlineKeys(INLINE["jwksInline"], ISSUER)
    guard = guard_at(Clock(), keys)
    token = FIRST.token(claims())
    assert admits(guard, token)
    keys.current = InlineKeys(jwks(SECOND.jwk).decode(), ISSUER).current
    assert not admits(guard, token)
    assert admits(guard, SECOND.token(claims()))


def test_expressions_see_the_time_of_each_request() -> None:
    clock = Clock()
    settings = {"assertClaims": [f"now < {NOW + 10}"], "claimToHeaders": [{"expr": "now", "header": "X-Now"}]}
    guard = guard_at(clock, InlineKeys(INLINE["jwksInline"], ISSUER), **settings)
    token = FIRST.token(claims())
    for seconds in (0, 9):
        clock.now = NOW + seconds
        request = client_request(b"Authorization: Bearer " + token)
        guard.admit(request)
        assert request.head.values(b"x-now") == [b"%d" % clock.now]
    clock.now = NOW + 10
    assert not admits(guard, token)


def test_assertions_are_about_each_token() -> None:
    guard = guard_at(Clock(), InlineKeys(INLINE["jwksInline"], ISSUER), assertClaims=["claims.admin"])
    good, bad = FIRST.token(claims(admin=True)), FIRST.token(claims(admin=False))
    assert [admits(guard, token) for token in (good, bad, good, bad)] == [True, False, True, False]


def test_the_log_is_not_flooded(setting: Setting) -> None:
    setting.guard(**INLINE)
    for _ in range(20):
        setting.send(b"a.b.c")
    assert len(setting.log("token refused")) == 1


# -- keys of a destination ---------------------------------------------------------------------------------------------


def test_keys_are_there_before_the_first_request(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server:
        setting.guard_by(server)
        eventually(lambda: setting.log("keys for tokens"), what="the keys")
        assert setting.send(FIRST.token(live_claims())).status == 200
        (asked,) = server.requests
        assert (asked.method, asked.target) == ("GET", "/keys?set=1")
        assert asked.all("host") == [f"127.0.0.1:{server.port}"]
        assert asked.all("user-agent") == [f"vrata/{__version__}"]


def test_a_request_waits_for_the_first_keys(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server, ThreadPoolExecutor(4) as others:
        server.hold()
        setting.guard_by(server)
        body = b"x" * 300_000
        waiting = [others.submit(setting.send, FIRST.token(live_claims()), method="POST", body=body) for _ in range(3)]
        waiting.append(others.submit(setting.send, SECOND.token(live_claims())))
        eventually(lambda: len(server.requests) == 1, what="the retrieval")
        assert not any(request.done() for request in waiting)
        server.answer()
        for request in waiting[:3]:
            response = request.result(10)
            assert response.status == 200
            assert json.loads(response.body)["bodySize"] == len(body)
        assert refusal(waiting[3].result(10))[1] == FAILED


def test_a_rotation_is_noticed_by_the_first_token(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server:
        setting.guard_by(server)
        old = FIRST.token(live_claims())
        assert setting.send(old).status == 200
        server.document = jwks(FIRST.jwk, SECOND.jwk)
        assert setting.send(SECOND.token(live_claims())).status == 200
        assert len(server.requests) == 2
        assert setting.send(old).status == 200


def test_a_flood_of_unknown_keys_is_none_for_the_issuer(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server, ThreadPoolExecutor(8) as others:
        setting.guard_by(server)
        tokens = [Issuer(kid=f"made up {number}", number=1).token(live_claims()) for number in range(200)]
        began = time.monotonic()
        answers = list(others.map(setting.send, tokens))
        assert {refusal(answer)[1] for answer in answers} == {FAILED}
        assert len(server.requests) <= 1 + MOST_ASKED + (time.monotonic() - began) / SHORTEST_INTERVAL
        assert setting.send(FIRST.token(live_claims())).status == 200


@pytest.mark.parametrize(
    ("status", "headers", "document"),
    [
        (500, [], jwks(FIRST.jwk)),
        (302, [("Location", "/elsewhere")], jwks(FIRST.jwk)),
        (200, [], b"<html>sign in</html>"),
        (200, [], b"\x00" * 1000),
        (200, [], b'{"keys":' + b"[" * 100_000),
        (200, [], b'{"keys":[], "padding":"' + b"x" * (1 << 20) + b'"}'),
        (200, [("Content-Encoding", "gzip")], b"\x1f\x8b\x08\x00"),
    ],
    ids=["500", "redirect", "html", "zeros", "nested", "large", "gzip"],
)
def test_answers_that_are_no_keys(
    setting: Setting, status: int, headers: list[tuple[str, str]], document: bytes
) -> None:
    with JwksServer(document) as server:
        server.status, server.headers = status, headers
        setting.guard_by(server)
        assert refusal(setting.send(FIRST.token(live_claims())))[:2] == (401, FAILED)
        assert setting.log("key set not retrieved")
        assert not any("elsewhere" in asked.target for asked in server.requests)


def test_a_server_that_is_down(setting: Setting) -> None:
    port = free_port()
    setting.guard(destination("issuer", port), jwksDestinationId="issuer", jwksPath="/keys")
    eventually(lambda: setting.log("key set not retrieved"), what="the failure in the log")
    assert refusal(setting.send(FIRST.token(live_claims())))[:2] == (401, FAILED)
    with JwksServer(jwks(FIRST.jwk), port) as server:
        eventually(lambda: setting.send(FIRST.token(live_claims())).status == 200, what="a next try")
        server.is_broken = True
        # The next retrieval fails, and nobody notices.
        assert refusal(setting.send(SECOND.token(live_claims())))[1] == FAILED
        assert setting.send(FIRST.token(live_claims())).status == 200


def test_a_server_that_never_answers(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server:
        server.hold()
        setting.guard_by(server, jwksRetrievalTimeout="200ms")
        assert refusal(setting.send(FIRST.token(live_claims())))[:2] == (401, FAILED)
        line = setting.log("key set not retrieved")[0]
        assert "limit" in line["reason"]


def test_a_client_that_does_not_wait(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server:
        server.hold()
        setting.guard_by(server)
        with Connection(setting.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + GOOD + b"\r\n\r\n")
            eventually(lambda: len(server.requests) == 1, what="the retrieval")
        server.answer()
        assert setting.send(GOOD).status == 200


def test_keys_outlive_what_changes_around_them(setting: Setting) -> None:
    with JwksServer(jwks(FIRST.jwk)) as server:
        setting.guard_by(server)
        assert setting.send(GOOD).status == 200
        # Neither what is the same, nor what is not, needs them anew: the issuer may be down just then.
        server.is_broken = True
        for settings in ({}, {"clockSkew": "1s"}, {"name": "others"}):
            setting.guard_by(server, **settings)
            assert setting.send(GOOD).status == 200
        assert len(server.requests) == 1
        setting.guard(**INLINE)
        setting.guard_by(server)
        assert refusal(setting.send(GOOD))[1] == FAILED
        assert len(server.requests) >= 2


# -- the page about it -------------------------------------------------------------------------------------------------


def test_the_example_of_the_guide(setting: Setting) -> None:
    text = PAGE.read_text(encoding="utf-8")
    middleware, content = map(json.loads, re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    with JwksServer(jwks(FIRST.jwk)) as server:
        setting.guard(destination("issuer", server.port), **middleware["jwt"])
        headers = seen(setting.send(FIRST.token(content)))
        shown = re.findall(r"`(X-\w+): ([^`]+)`", text)
        assert len(shown) == 2
        assert all(headers[name.lower()] == [value] for name, value in shown)
        assert "authorization" not in headers
        assert server.requests[0].target == middleware["jwt"]["jwksPath"]
        assert setting.send(FIRST.token(content | {"email_verified": False})).status == 403
        assert setting.send(FIRST.token(content | {"scopes": ["news"]})).status == 403


def test_every_text_of_the_guide_is_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for fault in (Fault.MISSING, Fault.FORM, Fault.HEADER, Fault.VALIDATION, Fault.ASSERTION):
        assert f"`{fault.value}`" in text
