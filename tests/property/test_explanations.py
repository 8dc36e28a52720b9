"""An explanation says what happens: what the table finds, what the brute-force router finds, and what a proxy does."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_routing_against_brute_force import SCENARIOS, Scenario
from tests.support.brute_force_router import WireRequest
from tests.support.compiled_routing import CompiledRouting
from tests.support.in_process_proxy import InProcessProxy, run_scenario, snapshot_document
from tests.support.staged_backend import StagedBackend
from vrata.model.question import SupposedRequest
from vrata.proxy.explain.snapshot import ExplainedSnapshot

Document = dict[str, Any]


def supposed(request: WireRequest) -> SupposedRequest:
    return SupposedRequest(method=request.method, host=request.host, path=request.target, headers=request.headers)


def explained(document: Document) -> ExplainedSnapshot:
    return ExplainedSnapshot(document, 60, 65536)


def entry_of(found: Document) -> tuple[str, str] | None:
    return (found.get("group", {}).get("id", ""), found["route"]["id"]) if "route" in found else None


@settings(max_examples=100)
@given(SCENARIOS)
def test_the_explained_route_is_the_one_that_table_and_brute_force_find(scenario: Scenario) -> None:
    configuration = scenario.configuration
    routing = CompiledRouting(configuration)
    document = snapshot_document("s", routes=configuration.routes, groups=configuration.groups)
    snapshot = explained(document)
    for request in scenario.requests:
        found = snapshot.explain(supposed(request))
        taken = configuration.taken(request)
        assert entry_of(found) == routing.taken(request) == taken, request

        candidates = found["candidates"]
        assert [entry_of(each) for each in candidates if each["matches"] and each["reached"]] == [taken] * bool(taken)
        for candidate in candidates:
            assert candidate["matches"] == all(check["holds"] for check in candidate["checks"])
        if taken is None:
            assert all(each["failed"] for each in found["nearMisses"])
        else:
            assert "nearMisses" not in found


class Actions:
    """Gives the routes of a scenario random actions, and its configuration to an explanation and to a proxy."""

    def __init__(self, scenario: Scenario, seed: int, backend_port: int) -> None:
        self._random = Random(seed)
        self._backend_port = backend_port
        self.routes = [self._acting(dict(route)) for route in scenario.configuration.routes]
        self.groups = [dict(group) for group in scenario.configuration.groups]
        self.destinations = [{"id": "d", "name": "d", "host": "localhost", "port": backend_port}]
        self.destinations[0]["endpoints"] = [{"host": "127.0.0.1", "port": backend_port}]

    def _acting(self, route: Document) -> Document:
        del route["directResponse"]
        match self._random.choice(["redirect", "directResponse", "forward", "forward"]):
            case "redirect":
                route["redirect"] = self._some(
                    scheme="https",
                    host="new.test",
                    path="/é new",
                    stripQuery=True,
                    code=self._random.choice([302, 308]),
                )
            case "directResponse":
                status = self._random.choice([200, 204, 404, 503])
                route["directResponse"] = {"status": status, "body": self._random.choice(["", "text", "{}"])}
            case _:
                destination = self._random.choice(["d", "d", "d", "gone"])
                rewrite = self._random.choice(
                    [
                        {},
                        {"path": "/new"},
                        {"path": "/"},
                        {"pathRegex": {"pattern": "/([a-z]+)", "substitution": r"/\1-\1?new=1"}},
                        {"host": "fixed.test"},
                        {"hostFromHeader": "x-a", "path": "/p"},
                        {"autoHost": True},
                    ]
                )
                route["forward"] = {"destinations": [{"destinationId": destination, "weight": 100}]}
                if rewrite:
                    route["forward"]["rewrite"] = rewrite
        return route

    def _some(self, **members: Any) -> Document:
        return {name: value for name, value in members.items() if self._random.random() < 0.5}


async def agree(proxy: InProcessProxy, scenarios: list[Scenario]) -> None:
    """Send every request of *scenarios*, and hold what happens against what was said."""
    async with StagedBackend() as backend:
        outcomes = set()
        for seed, scenario in enumerate(scenarios):
            actions = Actions(scenario, seed, backend.port)
            entities: Document = {"groups": actions.groups, "destinations": actions.destinations}
            report = await proxy.apply(*actions.routes, **entities)
            document = snapshot_document("s", listeners=[proxy.listener()], routes=actions.routes, **entities)
            snapshot = explained(document)
            assert report.problems == ()
            client = await proxy.connect()
            for request in scenario.requests:
                found = snapshot.explain(supposed(request))
                outcomes.add(found["outcome"])
                before = len(backend.requests)
                client.send(request.message)
                response = await client.read_response(request.method)
                forwarded = backend.requests[before:]
                action = found["action"]
                if action["type"] == "forward" and "response" not in action:
                    assert len(forwarded) == 1, (request, response, found)
                    (got,) = forwarded
                    assert response.status == 200
                    sent = action["request"]
                    assert got.line.split(" ")[:2] == [sent["method"], sent["target"]], request
                    names = [[name, value.encode().decode("latin-1")] for name, value in sent["headers"]]
                    expected = [["host", action["destinations"][0]["host"]], *names]
                    unsaid = [[name, value] for name, value in map(list, got.fields) if name != "x-request-id"]
                    assert unsaid == [[name.lower(), value] for name, value in expected], request
                    continue
                assert not forwarded
                answer = action["response"]
                assert response.status == answer["status"], (request, found)
                assert response.all("location") == [answer[name] for name in ("location",) if name in answer], request
                if "error" not in answer:
                    assert response.body.decode() == answer.get("body", ""), request
        assert outcomes == {"forward", "redirect", "directResponse", "noRoute"}


@settings(max_examples=2)
@given(st.integers(0, 2**31))
def test_a_proxy_does_what_was_explained(seed: int) -> None:
    scenarios = [Scenario(seed + at) for at in range(40)]
    run_scenario(asyncio.new_event_loop, lambda proxy: agree(proxy, scenarios))


async def prefer(proxy: InProcessProxy) -> None:
    """Send requests to three backends that are chosen by hash, and hold what happens against what was said."""
    async with StagedBackend() as one, StagedBackend() as two, StagedBackend() as three:
        backends = {f"127.0.0.1:{backend.port}": backend for backend in (one, two, three)}
        for algorithm, member in (("RING_HASH", "ringHash"), ("MAGLEV", "maglev")):
            policy = {"hashPolicy": [{"header": {"name": "x-user"}}, {"cookie": {"name": "s"}}]}
            options = {"endpointBalancing": {"algorithm": algorithm, member: policy}}
            endpoints = [
                {"host": "127.0.0.1", "port": backend.port, "weight": weight}
                for weight, backend in enumerate(backends.values(), 1)
            ]
            destination = {"id": "d", "name": "d", "host": "d.test", "port": 80} | {
                "endpoints": endpoints,
                "options": options,
            }
            route = {"id": "r", "name": "r", "forward": {"destinations": [{"destinationId": "d"}]}}
            await proxy.apply(route, destinations=[destination])
            snapshot = explained(
                snapshot_document("s", listeners=[proxy.listener()], routes=[route], destinations=[destination])
            )
            client = await proxy.connect()
            for number in range(30):
                request = WireRequest(headers=(("x-user", str(number)) if number % 2 else ("cookie", f"s={number}"),))
                (said,) = snapshot.explain(supposed(request))["action"]["destinations"]
                before = {address: len(backend.requests) for address, backend in backends.items()}
                client.send(request.message)
                await client.read_response()
                taken = [address for address, backend in backends.items() if len(backend.requests) > before[address]]
                assert taken == [said["preferred"]["address"]]


def test_a_hash_key_leads_where_it_was_said_to_lead() -> None:
    run_scenario(asyncio.new_event_loop, prefer)


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12)
PIECES = st.lists(
    st.sampled_from(["/", "a", "%ff", "%2F", "%", "?", "q=", "&", "é", "#", ":", "@", "[", "]", "*", " ", "80", "\0"]),
    max_size=8,
).map("".join)


@settings(max_examples=500)
@given(
    st.builds(
        SupposedRequest,
        method=st.sampled_from(["GET", "OPTIONS", "CONNECT", "G T", "", "é"]),
        host=PIECES,
        path=PIECES,
        headers=st.lists(st.tuples(st.sampled_from(["x-a", "Host", "", "é", "Cookie", "content-length"]), LINES)).map(
            tuple
        ),
        body=LINES,
        clientAddress=st.sampled_from(["127.0.0.1", "::1", "::ffff:192.0.2.1", "fe80::1%eth0"]),
    )
)
def test_whatever_is_asked_has_an_explanation_that_json_can_hold(request: SupposedRequest) -> None:
    found = HOSTILE.explain(request, everything=True)
    assert json.loads(json.dumps(found, allow_nan=False).encode()) == found
    assert found["outcome"] in ("forward", "redirect", "directResponse", "noRoute", "refused")
    json.dumps(found, ensure_ascii=False).encode()


HOSTILE = explained(
    snapshot_document(
        "s",
        listeners=[{"id": "l", "name": "l", "port": 80, "trustedProxies": ["127.0.0.1"]}],
        routes=[
            {"id": "a", "name": "a", "match": {"pathPrefix": "/a"}, "redirect": {"scheme": "https"}},
            {"id": "b", "name": "b", "match": {"pathRegex": "/[a-z%]*"}, "redirect": {"stripQuery": True}},
            {
                "id": "c",
                "name": "c",
                "match": {"queryParams": [{"name": "q"}], "cel": 'request.body.raw != "" && request.host != ""'},
                "forward": {
                    "destinations": [{"destinationId": "d"}],
                    "rewrite": {"path": "/é", "hostFromHeader": "x-a"},
                },
            },
        ],
        destinations=[
            {
                "id": "d",
                "name": "d",
                "host": "d",
                "port": 1,
                "options": {
                    "endpointBalancing": {
                        "algorithm": "RING_HASH",
                        "ringHash": {"hashPolicy": [{"header": {"name": "x-a"}}, {"cookie": {"name": "c"}}]},
                    }
                },
            }
        ],
    )
)
