"""``POST /explain``: what would become of a request."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api_client import ApiClient

UP = {"id": "up", "name": "up", "match": {"path": "/up"}, "directResponse": {"status": 200, "body": "yes"}}
REQUEST = {"url": "http://example.test/up"}


def stage(api: ApiClient, **up: Any) -> None:
    api.create("listeners", id="edge", name="edge", port=3000)
    api.create("routes", **UP | up)


def capture(api: ApiClient) -> str:
    identity: str = api.create("snapshots", name="first")["id"]
    return identity


def explain(api: ApiClient, **question: Any) -> Any:
    answer = api.post("/explain", {"request": REQUEST, **question})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    text: str = answer.json()["error"]
    return text


def test_the_active_snapshot_is_asked_unless_another_is_named(api: ApiClient) -> None:
    stage(api)
    first = capture(api)
    api.activate(first)
    api.put("/routes/up", UP | {"directResponse": {"status": 503}})
    second = capture(api)

    found = explain(api)
    assert found["snapshot"] == {"source": "active", "id": first, "name": "first"}
    assert found["outcome"] == "directResponse"
    assert found["route"] == {"id": "up", "name": "up"}
    assert found["request"]["listener"]["id"] == "edge"
    assert found["action"]["response"]["body"] == "yes"
    assert explain(api, snapshot={"source": second})["action"]["response"]["status"] == 503
    assert explain(api, snapshot={"source": first})["action"]["response"]["status"] == 200


def test_what_is_staged_is_asked_as_it_is_now(api: ApiClient) -> None:
    stage(api)
    staged = {"source": "staged"}
    assert explain(api, snapshot=staged)["action"]["response"]["status"] == 200
    api.put("/routes/up", UP | {"directResponse": {"status": 503}})
    found = explain(api, snapshot=staged)
    assert found["snapshot"] == staged
    assert found["action"]["response"]["status"] == 503
    assert "refusals" not in found
    api.delete("/routes/up")
    assert explain(api, snapshot=staged)["outcome"] == "noRoute"


def test_what_a_change_will_do(api: ApiClient) -> None:
    stage(api)
    api.activate(capture(api))
    compared = explain(api, compareWith={"source": "staged"})
    assert compared["differences"] == []
    api.put("/routes/up", UP | {"directResponse": {"status": 503, "body": "yes"}})
    compared = explain(api, compareWith={"source": "staged"})
    assert compared["differences"] == [{"path": "action.response.status", "before": 200, "after": 503}]
    assert compared["before"]["snapshot"]["source"] == "active"
    assert compared["after"]["snapshot"]["source"] == "staged"


def test_a_staged_state_that_would_be_refused_says_so(api: ApiClient) -> None:
    stage(api, middlewareIds=["gone"])
    api.create("listeners", id="other", name="other", port=3000)
    found = explain(api, snapshot={"source": "staged"})
    assert {refusal["path"] for refusal in found["refusals"]} >= {"middlewareIds[0]", "port"}
    assert found["outcome"] == "unavailable"


def test_warnings_about_what_is_taken_are_repeated(api: ApiClient) -> None:
    stage(api)
    gone = {"destinations": [{"destinationId": "gone"}]}
    api.create("routes", id="lost", name="lost", match={"path": "/lost"}, forward=gone)
    lost = {"url": "http://example.test/lost"}
    for source in ("staged", capture(api)):
        (warning,) = explain(api, snapshot={"source": source}, request=lost)["warnings"]
        assert warning.startswith(
            'route "lost": forward.destinations[0].destinationId: destination "gone" does not exist'
        )
        assert "warnings" not in explain(api, snapshot={"source": source})


def test_secrets_are_resolved(api: ApiClient) -> None:
    stage(api, directResponse={"status": 200, "body": "{{secret:value:s}}"})
    found = explain(api, snapshot={"source": "staged"})
    assert "s" in found["refusals"][0]["reason"]
    api.create("secrets", id="s", name="s", value="hidden")
    found = explain(api, snapshot={"source": "staged"})
    assert found["action"]["response"]["body"] == "hidden"
    assert "refusals" not in found


def test_there_has_to_be_such_a_snapshot(api: ApiClient) -> None:
    assert refused(api.post("/explain", {"request": REQUEST}), 404) == "no snapshot is active"
    answer = api.post("/explain", {"request": REQUEST, "snapshot": {"source": "gone"}})
    assert refused(answer, 404) == 'snapshot "gone": resource not found'


def test_a_deleted_snapshot_is_not_asked_any_more(api: ApiClient) -> None:
    stage(api)
    first = capture(api)
    assert explain(api, snapshot={"source": first})["outcome"] == "directResponse"
    api.delete(f"/snapshots/{first}")
    refused(api.post("/explain", {"request": REQUEST, "snapshot": {"source": first}}), 404)


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({}, "request: is required"),
        ({"request": {"url": "/up"}}, "request.url: must begin with http:// or https://"),
        ({"request": REQUEST, "snapshots": {}}, 'snapshots: unknown field, did you mean "snapshot"?'),
        ({"request": REQUEST | {"ip": "1"}}, "request.ip: unknown field"),
        ({"request": {"headers": [["a", "b\r\nc: d"]]}}, "request.headers[0][1]: must not contain line breaks"),
    ],
)
def test_a_question_that_makes_no_sense(api: ApiClient, question: Any, problem: str) -> None:
    assert refused(api.post("/explain", question), 400) == problem


def test_what_the_proxy_refuses_is_an_explanation_too(api: ApiClient) -> None:
    stage(api)
    found = explain(api, snapshot={"source": "staged"}, request={"url": "http://exa mple/"})
    assert found["outcome"] == "refused"
    assert found["action"]["response"] == {"status": 400, "error": "bad_request", "message": "malformed Host"}


def test_the_answers_are_described(api: ApiClient) -> None:
    stage(api, middlewareIds=["gone"])
    api.create("groups", id="g", name="g", routeIds=["up"])
    schemas = api.get("/docs/doc.json").json()["components"]["schemas"]
    described, candidate = (
        schemas["Explanation"],
        schemas["Explanation"]["properties"]["candidates"]["items"],
    )
    for url in ("http://example.test/up", "http://example.test/down", "http://exa mple/"):
        request = {"url": url, "listener": "gone"}
        found = explain(api, snapshot={"source": "staged"}, request=request, all=True)
        assert set(described["required"]) <= set(found) <= set(described["properties"])
        assert found["outcome"] in described["properties"]["outcome"]["enum"]
        for each in found.get("candidates", ()):
            assert set(candidate["required"]) <= set(each) <= set(candidate["properties"])
    middleware = described["properties"]["middlewares"]["items"]
    rules = {"rules": [{"cel": "false", "action": "allow"}]}
    api.create("middlewares", id="rules", name="rules", type="inlineAuthz", inlineAuthz=rules)
    edits = {"responseHeadersToAdd": [{"key": "x-a", "value": "1"}], "requestHeadersToRemove": ["x-b"]}
    api.create("middlewares", id="edges", name="edges", type="headers", headers=edits)
    limits = {"requestsPerSecond": 1}
    api.create("middlewares", id="limits", name="limits", type="rateLimit", rateLimit=limits)
    override = {"edges": {"skipWhen": ["false"], "headers": edits}}
    attached = {"middlewareIds": ["edges", "limits", "rules", "gone"], "middlewareOverrides": override}
    api.put("/routes/up", UP | attached)
    found = explain(api, snapshot={"source": "staged"}, request=REQUEST | {"headers": {"x-b": "1"}})
    assert found["outcome"] == "rejected"
    assert found["assumptions"] == ['"limits" has a token left for the request']
    members: set[str] = set()
    for each in found["middlewares"]:
        assert set(middleware["required"]) <= set(each)
        members |= set(each)
    assert members == set(middleware["properties"]) - {"onlyWhen"}
    compared = explain(api, snapshot={"source": "staged"}, compareWith={"source": "staged"})
    assert set(compared) == set(schemas["Comparison"]["required"])
