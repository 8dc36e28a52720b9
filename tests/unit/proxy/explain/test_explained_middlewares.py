"""What is told of each middleware. That proxies do it is shown in tests/property/test_explained_middlewares.py."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.support.gateway import destination, forward, listener, route
from tests.support.in_process_proxy import snapshot_document
from tests.support.middlewares import middleware
from tests.support.tokens import ISSUER, Issuer, claims, jwks, live_claims
from vrata.model.middleware.middleware import MiddlewareType
from vrata.model.question import Question
from vrata.proxy.explain.middlewares import EFFECTS
from vrata.proxy.explain.snapshot import ExplainedSnapshot
from vrata.wire.http1.head import MAX_FIELDS

Document = dict[str, Any]

ISSUED = Issuer()
KEYS = jwks(ISSUED.jwk).decode()


def ask(
    *middlewares: Document,
    overrides: Document | None = None,
    action: Document | None = None,
    middleware_ids: list[str] | None = None,
    **request: Any,
) -> Document:
    """Explain a request that passes *middlewares* on its way to a direct response, or to another *action*."""
    found = route("r", **(action or {"directResponse": {"status": 200, "body": "direct"}}))
    found |= {
        "middlewareIds": middleware_ids or [each["id"] for each in middlewares],
        "middlewareOverrides": overrides or {},
    }
    document = snapshot_document(
        "s",
        listeners=[listener(3000)],
        routes=[found],
        middlewares=middlewares,
        destinations=[destination("backend", 9000), destination("other", 9001)],
    )
    question = Question.parse({"request": {"url": "http://a.test/x", **request}})
    return ExplainedSnapshot(document, 60, 65536).explain(question.request)


def only(found: Document) -> Document:
    (described,) = found["middlewares"]
    assert isinstance(described, dict)
    return described


def bearer(token: bytes) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.decode()}"}


def test_a_request_without_a_token_is_not_forwarded() -> None:
    found = ask(
        middleware("tokens", "jwt", issuer=ISSUER, jwksInline=KEYS),
        middleware("edges", "headers", requestHeadersToRemove=["x-a"]),
        action={"forward": forward("backend")},
    )
    assert found["outcome"] == "rejected"
    assert found["action"] == {
        "type": "rejected",
        "middleware": {"id": "tokens", "name": "tokens"},
        "response": {
            "status": 401,
            "headers": [["content-type", "application/json"], ["www-authenticate", "Bearer"]],
            "body": '{"error":"missing authorization token"}',
        },
    }
    tokens, edges = found["middlewares"]
    assert (tokens["answers"], tokens["effect"]) == (401, "answers 401: missing authorization token")
    assert edges["runs"] is edges["reached"] is False
    assert edges["reason"] == '"tokens" answers the request before'
    assert "assumptions" not in found


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        (ISSUED.token(claims(exp=5)), "it expired at 5"),
        (ISSUED.token(live_claims(iss="me")), "the issuer is 'me'"),
        (ISSUED.token(live_claims(aud="bank")), "it is for 'bank'"),
        (Issuer(number=1).token(live_claims()), "alg 'ES256', kid 'key-1': not signed by the key that it names"),
        (b"a.b", "the token has 2 parts instead of 3"),
    ],
)
def test_operators_are_told_why_a_token_is_refused(token: bytes, detail: str) -> None:
    guard = middleware("tokens", "jwt", issuer=ISSUER, jwksInline=KEYS, audiences=["shop"])
    found = ask(guard, headers=bearer(token))
    assert found["action"]["response"]["status"] == 401
    assert only(found)["details"]["refusal"]["detail"] == detail
    assert detail not in found["action"]["response"]["body"]


def test_what_claims_become_is_seen_further_inside() -> None:
    to_headers = [{"expr": "claims.sub", "header": "X-Sub"}]
    found = ask(
        middleware("tokens", "jwt", issuer=ISSUER, jwksInline=KEYS, claimToHeaders=to_headers),
        middleware("limits", "rateLimit", key={"claim": "sub"}),
        middleware("rules", "inlineAuthz", rules=[{"cel": 'request.headers["x-sub"] == "ann"', "action": "allow"}]),
        action={"forward": forward("backend")},
        headers=bearer(ISSUED.token(live_claims())),
    )
    tokens, limits, rules = found["middlewares"]
    assert tokens["request"] == {"set": [["x-sub", "ann"]], "removed": ["authorization"]}
    assert tokens["effect"] == "accepts the token of ann; sets x-sub: ann; removes authorization"
    assert tokens["details"]["claims"]["iss"] == ISSUER
    assert limits["details"]["key"] == {"by": "claim sub", "value": "ann"}
    assert rules["details"]["decidedBy"] == "rules[0]"
    assert found["outcome"] == "forward"
    assert found["assumptions"] == ['"limits" has a token left for the request']
    assert ["x-sub", "ann"] in found["action"]["request"]["headers"]


def test_of_keys_elsewhere_everything_is_judged_but_the_signature() -> None:
    settings = {"issuer": ISSUER, "jwksDestinationId": "backend", "jwksPath": "/keys"}
    guard = middleware("tokens", "jwt", **settings, assertClaims=['claims.role == "admin"'])
    good = ask(guard, headers=bearer(ISSUED.token(live_claims(role="admin"))))
    assert good["outcome"] == "directResponse"
    assert good["assumptions"] == ['"tokens" finds the signature of the token good']
    assert 'signature not known here: keys of destination "backend"' in only(good)["effect"]
    # Whether it is 401 or 403 depends on the signature, and so is said to.
    humble = ask(guard, headers=bearer(ISSUED.token(live_claims(role="guest"))))
    assert (only(humble)["answers"], humble["assumptions"]) == (403, good["assumptions"])
    expired = ask(guard, headers=bearer(ISSUED.token(claims(exp=5))))
    assert only(expired)["answers"] == 401
    assert "assumptions" not in expired
    lost = ask(middleware("tokens", "jwt", **settings | {"jwksDestinationId": "gone"}), headers=bearer(ISSUED.token()))
    assert only(lost)["answers"] == 401
    assert 'no keys: destination "gone" does not exist' in only(lost)["effect"]


def test_a_preflight_and_the_origins_of_others() -> None:
    web = middleware("web", "cors", allowOrigins=[{"value": "https://a.test"}], allowMethods=["PUT"], maxAge=5)
    asked = {"Origin": "https://a.test", "Access-Control-Request-Method": "PUT"}
    found = ask(web, method="OPTIONS", headers=asked)
    assert (found["outcome"], only(found)["effect"]) == ("rejected", "answers 204: the preflight request")
    assert ["access-control-allow-methods", "PUT"] in found["action"]["response"]["headers"]
    found = ask(web, headers={"Origin": "https://a.test"})
    assert only(found)["response"]["set"] == [["access-control-allow-origin", "https://a.test"], ["vary", "Origin"]]
    assert found["action"]["seenBy"] == ["web"]
    found = ask(web, headers={"Origin": "https://evil.test"})
    assert only(found)["details"] == {"origin": "https://evil.test", "allowed": False}
    assert only(found)["effect"] == "does not allow the origin https://evil.test; in the response sets vary: Origin"


def test_header_edits_are_shown_filled_in_and_in_the_answer() -> None:
    edges = middleware(
        "edges",
        "headers",
        requestHeadersToAdd=[{"key": "X-A", "value": "${request.path}", "append": False}],
        requestHeadersToRemove=["X-B", "X-Absent"],
        responseHeadersToAdd=[{"key": "X-Back", "value": "${request.header.x-a}"}],
        responseHeadersToRemove=["content-type"],
    )
    found = ask(edges, headers={"X-A": "0", "x-b": "1"})
    described = only(found)
    assert described["request"] == {"set": [["X-A", "/x"]], "removed": ["x-b"]}
    assert described["response"] == {"set": [["X-Back", "/x"]], "removed": ["content-type"]}
    assert described["effect"] == (
        "sets X-A: /x; removes x-b; in the response sets X-Back: /x and removes content-type"
    )
    assert found["action"]["response"]["headers"] == [["X-Back", "/x"]]


def test_values_in_responses_are_of_the_request_as_it_is_then() -> None:
    back = middleware("back", "headers", responseHeadersToAdd=[{"key": "X-Back", "value": "${request.header.x-a}"}])
    inner = middleware("inner", "headers", requestHeadersToAdd=[{"key": "X-A", "value": "2", "append": False}])
    found = ask(back, inner, headers={"x-a": "1"}, action={"forward": forward("backend")})
    assert found["middlewares"][0]["response"] == {"set": [["X-Back", "2"]]}


def test_more_fields_than_may_be_are_refused_as_they_are_by_proxies() -> None:
    many = [[f"x-{number}", "1"] for number in range(MAX_FIELDS - 2)]
    edges = middleware("edges", "headers", requestHeadersToAdd=[{"key": "X-A", "value": "1"}] * 2)
    found = ask(edges, headers=many)
    assert (found["outcome"], only(found)["answers"]) == ("rejected", 431)
    assert found["action"]["response"]["body"] == '{"error":"too many request headers"}'
    to_headers = [{"expr": "claims.sub", "header": f"X-{name}"} for name in ("A", "B", "C")]
    tokens = middleware("tokens", "jwt", issuer=ISSUER, jwksInline=KEYS, claimToHeaders=to_headers)
    found = ask(tokens, headers=many[1:] + [list(each) for each in bearer(ISSUED.token(live_claims())).items()])
    assert (found["outcome"], only(found)["answers"]) == ("rejected", 431)
    assert "request_headers_too_large" in found["action"]["response"]["body"]


def test_an_identifier_that_is_made_anew_each_time_is_not_told() -> None:
    copying = middleware(
        "edges", "headers", requestHeadersToAdd=[{"key": "X-Copy", "value": "${request.header.x-request-id}"}]
    )
    first = middleware("first", "headers", requestHeadersToAdd=[{"key": "X-First", "value": "1"}])
    found = ask(first, copying, action={"forward": forward("backend")})
    assert found == ask(first, copying, action={"forward": forward("backend")})
    assert ["X-Copy", "${request.header.x-request-id}"] in found["action"]["request"]["headers"]
    found = ask(first, copying, action={"forward": forward("backend")}, headers={"X-Request-Id": "mine"})
    assert ["X-Copy", "mine"] in found["action"]["request"]["headers"]


def test_the_rule_that_decides_is_named() -> None:
    stated = [{"cel": 'request.method == "PUT"', "action": "deny"}, {"cel": "true", "action": "deny"}]
    rules = middleware("rules", "inlineAuthz", rules=stated, denyStatus=418, denyBody="no")
    found = ask(rules)
    assert only(found)["details"] == {"decidedBy": "rules[1]", "expression": "true", "allows": False}
    assert found["action"]["response"] == {
        "status": 418,
        "headers": [["content-type", "application/json"]],
        "body": "no",
    }
    found = ask(middleware("rules", "inlineAuthz", rules=stated[:1], defaultAction="allow"))
    assert only(found)["effect"] == "allows it: no rule is true"


OF_THE_BODY = 'request.body.json.role == "admin"'


def test_what_depends_on_a_body_that_was_not_given_is_not_known() -> None:
    rules = middleware("rules", "inlineAuthz", rules=[{"cel": OF_THE_BODY, "action": "allow"}])
    limits = middleware("limits", "rateLimit", key={"cel": "request.body.raw"})
    edges = middleware("edges", "headers", requestHeadersToAdd=[{"key": "X-A", "value": "1"}])
    announced = {"content-type": "application/json", "content-length": "17"}
    found = ask(
        rules, limits, edges, overrides={"edges": {"onlyWhen": [OF_THE_BODY]}}, method="POST", headers=announced
    )
    assert found["outcome"] == "directResponse"
    described = {each["id"]: each for each in found["middlewares"]}
    assert described["rules"]["effect"] == "not known: rules[0] needs the body, which was not given"
    assert described["limits"]["effect"] == (
        "counts it under a key that needs the body, which was not given; tokens left: not known"
    )
    assert described["edges"]["runs"] is None
    assert described["edges"]["onlyWhen"][0]["holds"] is None
    assert len(found["assumptions"]) == 3
    # With it everything is known, and so it is of a request that has none.
    given = ask(rules, method="POST", headers={"content-type": "application/json"}, body='{"role": "admin"}')
    assert (given["outcome"], given.get("assumptions")) == ("directResponse", None)
    assert ask(rules, method="POST")["outcome"] == "rejected"


def test_a_route_that_needs_a_body_that_was_not_given_is_not_known() -> None:
    document = snapshot_document(
        "s",
        listeners=[listener(3000)],
        routes=[
            route("body", {"path": "/x", "cel": OF_THE_BODY}, directResponse={"status": 200}),
            route("rest", {"path": "/y"}, directResponse={"status": 200}),
            route("behind", {"pathPrefix": "/y", "cel": OF_THE_BODY}, directResponse={"status": 200}),
        ],
    )
    snapshot = ExplainedSnapshot(document, 60, 65536)

    def explained(path: str) -> Document:
        request = {"url": f"http://a.test{path}", "headers": {"transfer-encoding": "chunked"}, "method": "POST"}
        return snapshot.explain(Question.parse({"request": request}).request)

    assert explained("/x")["outcome"] == "unknown"
    assert "needs the body" in explained("/x")["action"]["reason"]
    found = explained("/y")
    assert (found["outcome"], found["route"]["id"]) == ("directResponse", "rest")
    assert [each["route"]["id"] for each in found["candidates"]] == ["rest", "behind"]


def test_who_is_asked_and_what_is_told() -> None:
    check = middleware(
        "check",
        "extAuthz",
        destinationId="other",
        path="/check",
        onCheck={"forwardHeaders": ["X-A"]},
        onAllow={"copyToUpstream": ["x-user"]},
    )
    found = ask(check, headers={"X-A": "1", "X-B": "2", "X-User": "me"})
    described = only(found)
    assert described["effect"] == (
        'not known: asks destination "other" (POST /check), on failure answers 403; removes x-user'
    )
    assert ["x-a", "1"] in described["details"]["told"]
    assert ["x-forwarded-uri", "/x"] in described["details"]["told"]
    assert "X-B" not in str(described["details"])
    assert found["assumptions"] == ['"check" lets the request pass unchanged (destination "other" decides)']
    grpc = only(ask(middleware("check", "extAuthz", destinationId="other", mode="grpc", contract="envoy")))
    assert grpc["details"]["asks"] == "envoy.service.auth.v3"
    lost = ask(middleware("check", "extAuthz", destinationId="gone"))
    assert lost["action"]["response"]["body"] == '{"error":"ext_authz: authz service unreachable"}'


def test_processors_are_asked_for_their_phases() -> None:
    processing = middleware("proc", "extProc", destinationId="other", phases={"responseHeaders": "skip"})
    found = ask(processing)
    assert only(found)["effect"] == 'not known: asks destination "other" (grpc), on failure answers 500'
    assert found["assumptions"] == ['"proc" lets the request pass unchanged (destination "other" decides)']
    assert [":path", "/x"] in only(found)["details"]["told"]
    changed = ask(processing, overrides={"proc": {"extProc": {"allowOnError": True}}})
    assert "on failure goes on" in only(changed)["effect"]
    assert only(changed)["changed"] == {"extProc": {"allowOnError": True}}
    watching = ask(middleware("proc", "extProc", destinationId="other", observeMode={"enabled": True}))
    assert "assumptions" not in watching
    unasked = ask(
        middleware("proc", "extProc", destinationId="other"),
        overrides={"proc": {"extProc": {"phases": {"requestHeaders": "skip", "responseHeaders": "skip"}}}},
    )
    assert "assumptions" not in unasked


def test_a_class_that_only_proxies_have() -> None:
    mine = middleware("mine", "python", **{"class": "mine:Own"}, settings={"a": 1})
    found = ask(mine, overrides={"mine": {"python": {"settings": {"a": 2}}}})
    assert only(found)["details"] == {"class": "mine:Own", "settings": {"a": 2}, "onFailure": "answers 500"}
    assert "not known: asks mine:Own, if the proxies have that" in only(found)["effect"]


def test_lines_of_access_logs_have_what_is_known() -> None:
    fields = {"path": "${request.path}", "status": "${response.status}", "id": "${id}"}
    log = middleware("log", "accessLog", path="stdout", onRequest={"fields": fields}, onResponse={"fields": fields})
    found = ask(log)
    assert only(found)["details"] == {
        "path": "stdout",
        "onRequest": "path=/x status=0 id=${id}",
        "onResponse": "path=/x status=200 id=${id}",
    }
    forwarded = ask(log, action={"forward": forward("backend")})
    assert only(forwarded)["details"]["onResponse"] == "path=/x status=${response.status} id=${id}"
    # It is the response that comes out of what is inside.
    rules = middleware("rules", "inlineAuthz", rules=[{"cel": "false", "action": "allow"}])
    denied = ask(log, rules)
    assert denied["middlewares"][0]["details"]["onResponse"] == "path=/x status=403 id=${id}"


def test_a_middleware_that_cannot_work_lets_nobody_past() -> None:
    found = ask(middleware_ids=["gone"])
    assert (found["outcome"], only(found)["answers"]) == ("unavailable", 500)
    assert found["action"]["middleware"] == {"id": "gone"}
    to_headers = [{"expr": "claims.sub", "header": "Host"}]
    found = ask(middleware("tokens", "jwt", issuer=ISSUER, jwksInline=KEYS, claimToHeaders=to_headers))
    assert found["outcome"] == "unavailable"


def test_warnings_about_middlewares_of_the_chain_are_repeated() -> None:
    edges = middleware("edges", "headers", requestHeadersToRemove=["x-a"])
    document = snapshot_document(
        "s",
        listeners=[listener(3000)],
        routes=[route("r", directResponse={"status": 200}) | {"middlewareIds": ["edges"]}],
        middlewares=[edges, edges | {"id": "other", "name": "other"}],
    )
    document["warnings"] = [
        {"kind": "middleware", "id": each, "name": each, "path": "headers", "reason": "is doubtful"}
        for each in ("edges", "other")
    ]
    found = ExplainedSnapshot(document, 60, 65536).explain(Question.parse({"request": {"host": "a.test"}}).request)
    assert found["warnings"] == ['middleware "edges": headers: is doubtful']


def test_a_call_of_grpc_is_answered_by_a_status() -> None:
    rules = middleware("rules", "inlineAuthz", rules=[{"cel": "false", "action": "allow"}])
    found = ask(rules, method="POST", headers={"content-type": "application/grpc"})
    assert found["action"]["response"]["status"] == 200
    assert ["grpc-status", "7"] in found["action"]["response"]["headers"]
    assert only(found)["answers"] == 403


def test_every_type_has_an_effect() -> None:
    assert set(EFFECTS) == set(get_args(MiddlewareType))
