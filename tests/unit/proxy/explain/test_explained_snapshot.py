"""What a snapshot says it would do. That a proxy does the same is shown in tests/property/test_explanations.py."""

from __future__ import annotations

import gc
import weakref
from typing import Any, get_args

import pytest

from tests.support.gateway import destination, forward, listener, route
from tests.support.in_process_proxy import snapshot_document
from vrata.model.balancing import DestinationBalancing, EndpointBalancing
from vrata.model.part import Part
from vrata.model.question import Question
from vrata.proxy.explain.snapshot import ExplainedSnapshot
from vrata.proxy.reading import SnapshotRejected

Document = dict[str, Any]


def compiled(*routes: Document, **others: Any) -> ExplainedSnapshot:
    others.setdefault("listeners", [listener(3000)])
    return ExplainedSnapshot(snapshot_document("s", routes=routes, **others), 60, 65536)


def ask(snapshot: ExplainedSnapshot, url: str = "", *, everything: bool = False, **members: Any) -> Document:
    request = members | ({"url": url} if url else {})
    return snapshot.explain(Question.parse({"request": request}).request, everything=everything)


def failed(candidate: Document) -> list[str]:
    return [check["condition"] for check in candidate["checks"] if not check["holds"]]


def test_each_candidate_has_the_verdict_of_every_matcher_in_order() -> None:
    snapshot = compiled(
        route("wide", {"pathPrefix": "/"}, directResponse={"status": 200}),
        route(
            "narrow",
            {"pathPrefix": "/api", "methods": ["PUT"], "headers": [{"name": "X-A", "value": "1"}]},
            directResponse={"status": 200},
        ),
        route("api", {"pathPrefix": "/api"}, directResponse={"status": 200}),
        route("elsewhere", {"path": "/elsewhere"}, directResponse={"status": 200}),
    )
    found = ask(snapshot, "http://proxy.test/api/x", headers={"x-a": "2"})

    assert found["outcome"] == "directResponse"
    assert found["route"] == {"id": "api", "name": "api"}
    assert found["matchedPath"] == "/api"
    assert [each["route"]["id"] for each in found["candidates"]] == ["narrow", "api", "wide"]
    narrow, api, wide = found["candidates"]
    assert narrow["checks"] == [
        {"condition": "path", "expected": "the prefix '/api'", "actual": "/api/x", "holds": True},
        {"condition": "method", "expected": "'PUT'", "actual": "GET", "holds": False},
        {"condition": "header x-a", "expected": "'1'", "actual": "2", "holds": False},
    ]
    assert [(each["matches"], each["reached"]) for each in (narrow, api, wide)] == [
        (False, True),
        (True, True),
        (True, False),
    ]
    assert found["ruledOutByPath"] == {"count": 1}
    everything = ask(snapshot, "http://proxy.test/api/x", everything=True)
    (other,) = everything["ruledOutByPath"]["routes"]
    assert other["route"]["id"] == "elsewhere"
    assert other["checks"][0]["expected"] == "'/elsewhere'"


def test_the_composed_conditions_of_a_route_in_a_group() -> None:
    snapshot = compiled(
        route("up", {"path": "/up", "hostnames": ["a.test"]}, directResponse={"status": 200}),
        groups=[
            {
                "id": "g",
                "name": "tenant",
                "routeIds": ["up"],
                "pathPrefix": "/t",
                "hostnames": ["b.test"],
                "headers": [{"name": "x-t"}],
            }
        ],
    )
    found = ask(snapshot, "http://a.test/t/up", headers={"x-t": "1"})
    assert found["group"] == {"id": "g", "name": "tenant"}
    assert found["match"] == {"path": "/t/up", "hostnames": ["b.test", "a.test"], "headers": [{"name": "x-t"}]}


def test_a_redirect_and_a_direct_response_are_given_as_they_are_sent() -> None:
    snapshot = compiled(
        route("old", {"pathPrefix": "/old"}, redirect={"scheme": "https", "host": "new.test", "code": 308}),
        route("up", {"path": "/up"}, directResponse={"status": 201, "body": '{"up": true}'}),
    )
    assert ask(snapshot, "http://a.test/old/x?q=1")["action"] == {
        "type": "redirect",
        "response": {
            "status": 308,
            "headers": [["location", "https://new.test/old/x?q=1"]],
            "location": "https://new.test/old/x?q=1",
        },
    }
    assert ask(snapshot, "http://a.test/up")["action"]["response"] == {
        "status": 201,
        "headers": [["content-type", "application/json"]],
        "body": '{"up": true}',
    }
    assert "body" not in ask(snapshot, "http://a.test/up", method="HEAD")["action"]["response"]


def test_where_a_request_would_be_forwarded_and_as_what() -> None:
    shop = {"id": "shop", "name": "Shop", "host": "shop.test", "port": 80, "endpoints": [{"host": "::1", "port": 9001}]}
    snapshot = compiled(
        route(
            "api",
            {"pathPrefix": "/api"},
            forward={
                "destinations": [
                    {"destinationId": "shop", "weight": 60},
                    {"destinationId": "catalog", "weight": 20},
                    {"destinationId": "gone", "weight": 20},
                ],
                "rewrite": {"path": "/v2", "autoHost": True},
                "timeouts": {"request": "5s"},
                "maxGrpcTimeout": "1s",
            },
        ),
        destinations=[shop, destination("catalog", 9002)],
        groups=[{"id": "g", "name": "g", "routeIds": ["api"], "retryDefault": {"attempts": 2}}],
    )
    found = ask(
        snapshot, "http://a.test/api/b%20c?q=1", clientAddress="192.0.2.1", headers={"Grpc-Timeout": "9S", "X-A": "1"}
    )
    action = found["action"]
    assert action["request"]["target"] == "/v2/b%20c?q=1"
    headers = dict(action["request"]["headers"])
    assert headers["x-forwarded-for"] == "192.0.2.1"
    assert headers["X-A"] == "1"
    assert headers["grpc-timeout"] == "1000m"
    assert not {"host", "x-request-id"} & {name.lower() for name in headers}
    first, second, third = action["destinations"]
    assert (first["id"], first["host"], first["probability"]) == ("shop", "shop.test", 0.75)
    assert first["endpoints"] == [{"address": "[::1]:9001", "weight": 1}]
    assert first["endpointBalancing"] == {"algorithm": "ROUND_ROBIN"}
    assert first["requestTimeout"] == {"limit": "5s", "setBy": "route"}
    assert first["timeouts"]["connect"] == "5s"
    assert (second["host"], second["probability"], second["endpoints"]) == (
        "127.0.0.1",
        0.25,
        [{"address": "127.0.0.1:9002", "weight": 1}],
    )
    assert third["probability"] == 0
    assert "left out" in third["reason"]
    assert (action["retry"]["attempts"], action["retry"]["setBy"]) == (2, "group")
    assert action["unknown"][:2] == ["which destination chance picks", "which endpoint's turn it is"]


CALL = {"content-type": "application/grpc+proto", "te": "trailers"}


@pytest.mark.parametrize(
    ("timeout", "limit"),
    [
        ("1H", {"limit": "2s", "setBy": "client"}),
        ("250m", {"limit": "0.25s", "setBy": "client"}),
        ("soon", {"limit": "5s", "setBy": "route"}),
    ],
)
def test_a_call_of_grpc_has_the_clients_deadline(timeout: str, limit: dict[str, str]) -> None:
    settings = {"timeouts": {"request": "5s"}, "maxGrpcTimeout": "2s"}
    snapshot = compiled(
        route("calls", {"grpc": True}, forward=forward("catalog", **settings)), destinations=[destination("catalog", 9)]
    )
    found = ask(snapshot, "http://a.test/a.B/C", method="POST", headers={**CALL, "grpc-timeout": timeout})
    assert found["action"]["destinations"][0]["requestTimeout"] == limit


def test_a_call_of_grpc_gets_a_status_for_an_answer() -> None:
    snapshot = compiled(route("calls", {"grpc": True}, forward=forward("gone")))
    found = ask(snapshot, "http://a.test/a.B/C", method="POST", headers=CALL)
    assert found["action"]["response"] == {
        "status": 200,
        "grpcStatus": "UNAVAILABLE",
        "error": "no_destination",
        "message": "no destination available",
    }
    # What is no call does not match, and is told why; a call that nothing matches is told in its own way.
    plain = ask(snapshot, "http://a.test/a.B/C", method="POST", headers={"content-type": "application/json"})
    assert plain["outcome"] == "noRoute"
    assert "application/grpc" in str(plain["nearMisses"])
    other = ask(compiled(route("none", {"path": "/x"}, directResponse={"status": 200})), "http://a.test/", headers=CALL)
    assert other["action"]["response"]["grpcStatus"] == "UNIMPLEMENTED"
    refused = ask(snapshot, "http://a.test/", headers={**CALL, "transfer-encoding": "x"})
    assert refused["action"]["response"]["grpcStatus"] == "INTERNAL"


def test_a_trace_that_upstreams_are_told_of_is_not_known() -> None:
    collector: Document = {"destinationId": "catalog"}
    for tracing in (Document(), {"tracing": collector}):
        snapshot = compiled(
            route("api", forward=forward("catalog")),
            destinations=[destination("catalog", 9)],
            listeners=[listener(3000, **tracing)],
        )
        found = ask(snapshot, "http://a.test/")
        assert "problems" not in found
        assert any("trace context" in each for each in found["action"]["unknown"]) == bool(tracing)


def test_without_a_destination_the_failure_is_said() -> None:
    found = ask(compiled(route("api", forward=forward("gone"))), "http://a.test/")
    assert found["action"]["response"]["error"] == "no_destination"


def test_no_match_comes_with_the_nearest_misses() -> None:
    snapshot = compiled(
        route(
            "two-off",
            {"pathPrefix": "/api", "methods": ["PUT"], "hostnames": ["b.test"]},
            directResponse={"status": 200},
        ),
        route("one-off", {"pathPrefix": "/api/x", "methods": ["PUT"]}, directResponse={"status": 200}),
        route("typo", {"path": "/api/users"}, directResponse={"status": 200}),
        route("far", {"path": "/zzz"}, directResponse={"status": 200}),
    )
    found = ask(snapshot, "http://a.test/api/x/users")
    assert found["outcome"] == "noRoute"
    assert found["action"]["response"] == {"status": 404, "error": "no_route", "message": "no matching route"}
    misses = found["nearMisses"]
    assert [each["route"]["id"] for each in misses] == ["one-off", "two-off", "typo"]
    assert misses[0]["failed"] == [{"condition": "method", "expected": "'PUT'", "actual": "GET", "holds": False}]
    assert misses[2]["failed"][0]["condition"] == "path"


@pytest.mark.parametrize(
    ("request_document", "status", "reason"),
    [
        ({"path": "/"}, 400, "no Host"),
        ({"url": "http://a.test/", "method": "GE T"}, 400, "malformed request line"),
        ({"url": "http://a.test/ü"}, 400, "malformed request line"),
        ({"url": "http://a.test/#x"}, 400, "fragment in the request target"),
        ({"url": "http://user@a.test/"}, 400, "malformed Host"),
        ({"url": "http://a.test/", "headers": {"x y": "1"}}, 400, "malformed header line"),
        ({"url": "http://a.test/", "headers": {"Host": "b", "host": "c"}}, 400, "more than one Host"),
        ({"url": "http://a.test/", "headers": {"x": "y" * 2000}}, 431, "request headers too large"),
        ({"url": "http://a.test/" + "x" * 20000}, 414, "request line too long"),
        ({"url": "http://a.test/", "method": "CONNECT"}, 501, "CONNECT is not offered here"),
    ],
)
def test_what_the_data_path_refuses_is_refused_with_its_reason(
    request_document: Document, status: int, reason: str
) -> None:
    snapshot = compiled(route("all", directResponse={"status": 200}), listeners=[listener(3000, maxRequestHeadersKB=1)])
    found = ask(snapshot, **request_document)
    assert found["outcome"] == "refused"
    assert found["action"]["reason"] == reason
    assert found["action"]["response"]["status"] == status


def test_the_listener_is_found_by_port_and_scheme_and_says_who_the_client_is() -> None:
    trusting = listener(3001, "trusting", trustedProxies=["10.0.0.0/8"])
    snapshot = compiled(route("all", directResponse={"status": 200}), listeners=[listener(3000), trusting])
    plain = ask(snapshot, "http://a.test/", clientAddress="10.0.0.1", headers={"X-Forwarded-For": "192.0.2.9"})
    assert plain["request"]["listener"]["id"] == "main"
    assert plain["request"]["clientIp"] == "10.0.0.1"
    trusted = ask(
        snapshot,
        "http://a.test:3001/",
        clientAddress="10.0.0.1",
        headers={"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"},
    )
    assert trusted["request"]["listener"]["id"] == "trusting"
    assert trusted["request"]["clientIp"] == "192.0.2.9"
    assert trusted["request"]["scheme"] == "https"
    named = ask(snapshot, "http://a.test/", listener="trusting")
    assert named["request"]["listener"]["id"] == "trusting"
    assert "warnings" not in named
    assert "does not exist" in ask(snapshot, "http://a.test/", listener="gone")["warnings"][0]
    assert "scheme" in ask(snapshot, "https://a.test/")["warnings"][0]


def test_a_client_certificate_that_no_connection_could_bring_is_doubted() -> None:
    files = {"cert": "/tls/cert.pem", "key": "/tls/key.pem"}
    demanding = listener(3001, "demanding", tls=files | {"clientAuth": {"mode": "require", "ca": "/tls/ca.pem"}})
    snapshot = compiled(route("all", directResponse={"status": 200}), listeners=[listener(3000), demanding])
    certificate = {"subject": "CN=me"}
    assert "warnings" not in ask(snapshot, "https://a.test/", clientCertificate=certificate)
    assert "warnings" not in ask(snapshot, "http://a.test/")
    assert "requires a client certificate" in ask(snapshot, "https://a.test/")["warnings"][0]
    assert "asks for no client" in ask(snapshot, "http://a.test/", clientCertificate=certificate)["warnings"][0]


def test_metrics_are_answered_by_the_listener_that_has_them() -> None:
    measured = listener(3001, "measured", metrics={"path": "/stats"})
    snapshot = compiled(route("all", directResponse={"status": 200}), listeners=[listener(3000), measured])
    assert ask(snapshot, "http://a.test:3001/stats")["outcome"] == "metrics"
    assert ask(snapshot, "http://a.test:3000/stats")["outcome"] == "directResponse"


def test_expressions_show_what_they_want_and_what_they_gave() -> None:
    cel = 'request.body.json.kind == "a" && request.tls.peerCertificate.subject.startsWith("CN=me")'
    snapshot = compiled(route("cel", {"pathPrefix": "/", "cel": cel}, directResponse={"status": 200}))
    certificate = {"subject": "CN=me,O=we", "uris": ["spiffe://a"]}
    given: Document = {"headers": {"Content-Type": "application/json"}, "method": "POST"}
    held = ask(snapshot, "http://a.test/", body='{"kind": "a"}', clientCertificate=certificate, **given)
    assert held["outcome"] == "directResponse"
    assert held["match"]["cel"] == cel
    missed = ask(snapshot, "http://a.test/", body='{"kind": "b"}', clientCertificate=certificate, **given)
    (check,) = missed["nearMisses"][0]["failed"]
    assert (check["condition"], check["actual"]) == ("cel", "false")
    assert cel in check["expected"]
    without = ask(snapshot, "http://a.test/", body='{"kind": "a"}', **given)
    assert without["nearMisses"][0]["failed"][0]["actual"].startswith("error: ")


def test_middlewares_that_would_run_and_why_not() -> None:
    attached = ["always", "off", "skipped", "kept", "only", "not-only", "broken", "gone"]
    middlewares = [
        {"id": each, "name": each, "type": "cors", "cors": {"allowOrigins": [{"value": "*"}]}} for each in attached[:-1]
    ]
    overrides = {
        "off": {"disabled": True},
        "skipped": {"skipWhen": ["false", 'request.method == "GET"']},
        "kept": {"skipWhen": ["false"]},
        "only": {"onlyWhen": ['request.headers["x-a"] == "1"']},
        "not-only": {"onlyWhen": ['request.path == "/other"']},
        "broken": {"onlyWhen": ['request.headers["absent"] == "1"']},
    }
    snapshot = compiled(
        route("r", directResponse={"status": 200}, middlewareIds=attached[4:], middlewareOverrides=overrides),
        groups=[{"id": "g", "name": "g", "routeIds": ["r"], "middlewareIds": attached[:4]}],
        middlewares=middlewares,
    )
    found = ask(snapshot, "http://a.test/", headers={"x-a": "1"})
    # What does not exist lets nobody past.
    assert found["outcome"] == "unavailable"
    assert found["action"]["response"]["status"] == 500
    chain = {each["id"]: each for each in found["middlewares"]}
    assert list(chain) == attached
    assert {name: each["runs"] for name, each in chain.items()} == {
        "always": True,
        "off": False,
        "skipped": False,
        "kept": True,
        "only": True,
        "not-only": False,
        "broken": False,
        "gone": True,
    }
    assert chain["always"]["attachedBy"] == "group"
    assert chain["off"]["overriddenBy"] == "route"
    assert chain["off"]["reason"] == "the route disables it"
    assert chain["skipped"]["skipWhen"][1] == {
        "expression": 'request.method == "GET"',
        "holds": True,
        "value": True,
    }
    assert chain["broken"]["onlyWhen"][0]["error"]
    assert chain["gone"]["reason"] == "it does not exist, or could not be read: the request is answered with 500"


def test_entities_left_out_are_named() -> None:
    snapshot = compiled(
        route("good", directResponse={"status": 200}),
        {"id": "bad", "name": "bad"},
        groups=[{"id": "g", "name": "g", "routeIds": ["good"], "pathRegex": "("}],
    )
    found = ask(snapshot, "http://a.test/")
    assert found["outcome"] == "noRoute"
    assert {(each["kind"], each["id"]) for each in found["problems"]} == {("route", "bad"), ("group", "g")}


def test_many_candidates_are_cut_and_counted_and_the_taken_one_is_shown() -> None:
    routes = [
        route(f"r{at:03}", {"pathPrefix": "/", "headers": [{"name": f"x-{at}"}]}, directResponse={"status": 200})
        for at in range(200)
    ]
    found = ask(compiled(*routes), "http://a.test/", headers={"x-150": "1"})
    assert len(found["candidates"]) == 50
    assert found["candidatesOmitted"] == 150
    assert found["candidates"][-1]["route"]["id"] == "r150"
    assert [each["reached"] for each in found["candidates"]] == [True] * 50


def test_a_document_that_is_no_snapshot_is_rejected_and_one_that_takes_long_is_given_up() -> None:
    with pytest.raises(SnapshotRejected):
        ExplainedSnapshot({}, 60, 65536)
    with pytest.raises(TimeoutError, match="within 0 s"):
        ExplainedSnapshot(snapshot_document("s", routes=[route("r", directResponse={"status": 200})]), 0, 65536)


def test_every_algorithm_has_words_for_what_is_not_known() -> None:
    for algorithm in algorithms(EndpointBalancing):
        shop = destination("shop", 9001, endpointBalancing={"algorithm": algorithm})
        found = ask(compiled(route("r", forward=forward("shop")), destinations=[shop]), "http://a.test/")
        assert len(found["action"]["unknown"]) == 2, algorithm
    for algorithm in algorithms(DestinationBalancing):
        balancing = {"destinationBalancing": {"algorithm": algorithm}}
        shops = [destination("a", 9001), destination("b", 9002)]
        found = ask(compiled(route("r", forward=forward("a", "b", **balancing)), destinations=shops), "http://a.test/")
        assert len(found["action"]["unknown"]) == 3, algorithm


def algorithms(balancing: type[Part]) -> tuple[str, ...]:
    return get_args(balancing.model_fields["algorithm"].annotation)


def spread(algorithm: str, *policy: Document) -> ExplainedSnapshot:
    member = {"RING_HASH": "ringHash", "MAGLEV": "maglev"}[algorithm]
    balancing = {"algorithm": algorithm, member: {"hashPolicy": list(policy)}}
    shop = destination("shop", 1, endpointBalancing=balancing)
    shop["endpoints"] = [{"host": f"10.0.0.{number}", "port": 80} for number in range(1, 9)]
    return compiled(route("r", forward=forward("shop")), destinations=[shop])


def preferred(snapshot: ExplainedSnapshot, **request: Any) -> Document | None:
    (found,) = ask(snapshot, "http://a.test/", **request)["action"]["destinations"]
    wanted: Document | None = found.get("preferred")
    return wanted


@pytest.mark.parametrize("algorithm", ["RING_HASH", "MAGLEV"])
def test_the_endpoint_of_a_hash_key_is_named_with_what_was_hashed(algorithm: str) -> None:
    snapshot = spread(algorithm, {"header": {"name": "X-User"}}, {"cookie": {"name": "s"}})
    found = [preferred(snapshot, headers={"x-user": str(number)}) for number in range(20)]
    assert {each["hashed"] for each in found if each} == {"header X-User"}
    assert len({each["address"] for each in found if each}) > 3
    assert preferred(snapshot, headers={"x-user": "1"}) == found[1]
    with_session = preferred(snapshot, headers={"Cookie": "s=1"})
    assert with_session is not None
    assert with_session["hashed"] == "cookie s"
    assert preferred(snapshot) is None  # a session begins, and its identifier is drawn
    by_address = preferred(spread(algorithm), clientAddress="192.0.2.1")
    assert by_address is not None
    assert by_address["hashed"] == "client address"


def test_nothing_of_a_snapshot_waits_for_the_garbage_collector() -> None:
    """The control plane runs full collections seldom, and a compiled snapshot can be large."""
    routes = [route(f"r{at}", {"pathPrefix": f"/{at}", "methods": ["GET"]}, forward=forward("d")) for at in range(3)]
    routes += [route("regex", {"pathRegex": "/[a-z]+"}, redirect={"path": "/"})]
    gc.collect()
    gc.disable()
    try:
        snapshot = compiled(*routes, destinations=[destination("d", 1)])
        ask(snapshot, "http://a.test/1")
        ask(snapshot, "http://a.test/", everything=True)
        parts: list[weakref.ref[Any]] = [weakref.ref(snapshot), *(weakref.ref(entry) for entry in snapshot._entries)]
        del snapshot
        assert [part() for part in parts] == [None] * 5
    finally:
        gc.enable()


@pytest.mark.parametrize("taken", [True, False])
def test_conditions_that_take_too_long_are_given_up(taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = compiled(route("r", {"cel": str(taken).lower()}, directResponse={"status": 200}))
    assert ask(snapshot, "http://a.test/")["outcome"] == ("directResponse" if taken else "noRoute")
    monkeypatch.setattr("vrata.proxy.explain.snapshot.EXPLAIN_SECONDS", 0.0)
    with pytest.raises(TimeoutError, match="takes too long"):
        ask(snapshot, "http://a.test/")


def test_a_class_of_the_users_own_is_not_needed() -> None:
    snapshot = compiled(
        route("r", directResponse={"status": 200}, middlewareIds=["p"]),
        middlewares=[{"id": "p", "name": "mine", "type": "python", "python": {"class": "nowhere:Near"}}],
    )
    found = ask(snapshot, "http://proxy.test/")
    assert found["outcome"] == "directResponse"
    (middleware,) = found["middlewares"]
    assert (middleware["type"], middleware["runs"]) == ("python", True)
