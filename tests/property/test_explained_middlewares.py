"""What is explained of middlewares is what they do: random chains of them, asked and run for real."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.conditions import eventually_async
from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, run_scenario, snapshot_document
from tests.support.jwks_server import JwksServer
from tests.support.middlewares import middleware
from tests.support.processors import HttpProcessor, Processor
from tests.support.raw_http import Response
from tests.support.staged_backend import ReceivedRequest, StagedBackend
from tests.support.stream_client import request as message
from tests.support.tokens import ISSUER, Issuer, jwks, live_claims, raw_token
from vrata.middleware import Middleware, Request
from vrata.model.question import SupposedRequest
from vrata.proxy.explain.snapshot import ExplainedSnapshot
from vrata.proxy.middleware.python.modules import PythonModules

ISSUED = Issuer()
OTHER = Issuer(number=1)
KEYS = jwks(ISSUED.jwk).decode()
TOKENS = {
    "good": ISSUED.token(live_claims(role="admin", sub="ann")),
    "humble": ISSUED.token(live_claims(role="guest", sub="bo\u00e9")),
    "expired": ISSUED.token(live_claims(exp=1)),
    "alien": ISSUED.token(live_claims(iss="https://other.example")),
    "for another": ISSUED.token(live_claims(aud="bank")),
    "forged": OTHER.token(live_claims(role="admin")),
    "unsigned": raw_token({"alg": "none"}, live_claims()),
    "no token": b"a.b",
}
NOBODY = "gone"
"""A destination that does not exist."""


class Passing(Middleware):
    """Lets everything pass."""

    def on_request(self, request: Request) -> None:
        """Nothing is to be done about it."""


def modules() -> PythonModules:
    """A module that proxies have."""
    module = ModuleType("mine")
    vars(module)["Passing"] = Passing
    return PythonModules({"mine": module}, {}, has_directories=True)


def jwt(**members: Any) -> Document:
    return {"issuer": ISSUER, "jwksInline": KEYS, **members}


TO_HEADERS = [{"expr": "claims.sub", "header": "X-Sub"}, {"expr": "claims.role", "header": "x-role"}]
POOL: list[tuple[str, Document]] = [
    ("jwt", jwt()),
    ("jwt", jwt(forwardJwt=True, claimToHeaders=TO_HEADERS)),
    ("jwt", jwt(audiences=["shop"], claimToHeaders=TO_HEADERS)),
    ("jwt", jwt(assertClaims=['claims.role == "admin"'])),
    ("jwt", {"issuer": ISSUER, "jwksDestinationId": NOBODY, "jwksPath": "/keys"}),
    ("jwt", {"issuer": ISSUER, "jwksDestinationId": "issuer", "jwksPath": "/keys", "claimToHeaders": TO_HEADERS}),
    (
        "jwt",
        {
            "issuer": ISSUER,
            "jwksDestinationId": "issuer",
            "jwksPath": "/keys",
            "forwardJwt": True,
            "assertClaims": ['claims.role == "admin"'],
        },
    ),
    ("cors", {"allowOrigins": [{"value": "*"}], "allowMethods": ["GET", "PUT"], "maxAge": 60}),
    ("cors", {"allowOrigins": [{"value": "https://a.test"}], "allowCredentials": True, "exposeHeaders": ["X-A"]}),
    ("cors", {"allowOrigins": [{"value": "https://[a-z]+\\.test", "regex": True}], "allowHeaders": ["X-A"]}),
    (
        "headers",
        {
            "requestHeadersToAdd": [
                {"key": "X-User", "value": "for ${request.host} ${request.header.x-user}"},
                {"key": "X-A", "value": "${request.path}", "append": False},
            ],
            "responseHeadersToAdd": [{"key": "X-Back", "value": "${request.header.x-a}"}],
        },
    ),
    ("headers", {"requestHeadersToRemove": ["X-User", "x-a"], "responseHeadersToRemove": ["content-type", "X-Back"]}),
    ("headers", {"requestHeadersToAdd": [{"key": "Origin", "value": "https://b.test", "append": False}]}),
    ("headers", {"requestHeadersToAdd": [{"key": "X-Request-Id", "value": "mine", "append": False}]}),
    ("inlineAuthz", {"rules": [{"cel": 'request.headers["x-user"] == "ann"', "action": "allow"}]}),
    (
        "inlineAuthz",
        {
            "rules": [
                {"cel": 'request.method == "DELETE"', "action": "deny"},
                {"cel": 'request.body.json.role == "admin"', "action": "deny"},
            ],
            "defaultAction": "allow",
            "denyStatus": 418,
            "denyBody": "no",
        },
    ),
    ("inlineAuthz", {"rules": [{"cel": 'request.headers["x-sub"] == "ann"', "action": "allow"}], "denyStatus": 404}),
    ("rateLimit", {"requestsPerSecond": 1000000, "key": {"header": "x-user"}}),
    ("rateLimit", {"requestsPerSecond": 1000000, "key": {"cel": "request.body.raw"}, "responseHeaders": True}),
    ("rateLimit", {"requestsPerSecond": 1000000, "store": "redis"}),
    (
        "extAuthz",
        {
            "destinationId": "authorizer",
            "decisionTimeout": "10s",
            "path": "/check",
            "onCheck": {"forwardHeaders": ["X-User", "origin"]},
        },
    ),
    (
        "extAuthz",
        {
            "destinationId": "authorizer",
            "decisionTimeout": "10s",
            "includeBody": True,
            "maxBodyBytes": 20,
            "onCheck": {"injectHeaders": [{"key": "X-Why", "value": "${request.path}"}]},
            "onAllow": {"copyToUpstream": ["x-user", "x-s*"]},
        },
    ),
    ("extAuthz", {"destinationId": NOBODY}),
    ("extAuthz", {"destinationId": NOBODY, "failureModeAllow": True, "onAllow": {"copyToUpstream": ["x-user"]}}),
    ("extProc", {"destinationId": NOBODY, "statusOnError": 502}),
    ("extProc", {"destinationId": NOBODY, "allowOnError": True, "phases": {"responseHeaders": "skip"}}),
    ("extProc", {"destinationId": "processor", "mode": "http", "phaseTimeout": "10s"}),
    (
        "extProc",
        {
            "destinationId": "processor",
            "mode": "http",
            "phaseTimeout": "10s",
            "phases": {"requestBody": "buffered", "maxBodyBytes": 20},
            "forwardRules": {"denyHeaders": ["x-user"]},
        },
    ),
    *[
        (
            "extProc",
            {
                "destinationId": NOBODY,
                "mode": mode,
                "phases": {"requestHeaders": "skip", "requestBody": "buffered", "maxBodyBytes": 20} | phases,
            },
        )
        for mode in ("http", "grpc")
        for phases in ({}, {"responseHeaders": "skip"})
    ],
    ("python", {"class": "mine:Passing"}),
    ("python", {"class": "mine:Passing", "requestBody": "buffered", "maxBodyBytes": 20}),
    (
        "accessLog",
        {"path": "/dev/null", "onRequest": {"fields": {"a": "${request.path}"}}, "onResponse": {"fields": {}}},
    ),
]
OVERRIDES: list[Document] = [
    {"disabled": True},
    {"skipWhen": ['request.headers["x-user"] == "ann"']},
    {"onlyWhen": ['request.method == "POST"', 'request.body.raw.startsWith("{")']},
    {"onlyWhen": ['request.headers["x-a"] == "/a"']},
    {"headers": {"requestHeadersToAdd": [{"key": "X-Override", "value": "${request.method}"}]}},
]
ACTIONS: list[Document] = [
    {"forward": forward("backend")},
    {"directResponse": {"status": 200, "body": "direct"}},
    {"redirect": {"path": "/elsewhere", "code": 307}},
]
FIELDS = [
    ("X-User", "ann"),
    ("X-User", "b\u00e9"),
    ("X-A", "1"),
    ("Origin", "https://a.test"),
    ("Origin", "https://evil.example"),
    ("Access-Control-Request-Method", "PUT"),
    ("Content-Type", "application/json"),
    ("X-Request-Id", "client-made-it"),
    ("X-Sub", "ann"),
]
BODIES = ["", '{"role": "admin"}', '{"role": "guest", "name": "somebody"}']
OF_THE_MOMENT = {"date", "server", "content-length", "ratelimit", "ratelimit-policy"}


@dataclass(frozen=True)
class Asked:
    """A request, as a question and as bytes."""

    method: str
    path: str
    fields: tuple[tuple[str, str], ...]
    body: str

    @property
    def supposed(self) -> SupposedRequest:
        return SupposedRequest(
            method=self.method, host="proxy.test", path=self.path, headers=self.fields, body=self.body
        )

    @property
    def is_forged(self) -> bool:
        return f"Bearer {TOKENS['forged'].decode()}" in dict(self.fields).values()

    @property
    def bytes(self) -> bytes:
        lines = [f"{name}: {value}".encode().decode("latin-1") for name, value in self.fields]
        return message(f"{self.method} {self.path}", *lines, body=self.body.encode() or None)


class Chain:
    """Some middlewares around a route, and requests for it."""

    def __init__(self, random: Random, **ports: int) -> None:
        """*ports* of destinations, by their IDs."""
        weights = [0.3 if NOBODY in str(each) else 0.6 if each[0] == "jwt" else 1 for each in POOL]
        chosen = random.choices(POOL, weights, k=random.randint(1, 5))
        self.middlewares = [middleware(f"m{at}", kind, **members) for at, (kind, members) in enumerate(chosen)]
        names = [each["id"] for each in self.middlewares]
        if random.random() < 0.05:
            names.insert(random.randrange(len(names)), "missing")
        overrides = {name: random.choice(OVERRIDES) for name in names if random.random() < 0.3}
        self.route = route("r", **random.choice(ACTIONS)) | {"middlewareIds": names, "middlewareOverrides": overrides}
        self.destinations = [destination(name, port) for name, port in ports.items()]
        self.requests = [self._request(random) for _ in range(8)]

    def document(self, listeners: list[Document]) -> Document:
        """The snapshot."""
        return snapshot_document(
            "s",
            listeners=listeners,
            routes=[self.route],
            destinations=self.destinations,
            middlewares=self.middlewares,
        )

    def _request(self, random: Random) -> Asked:
        fields = dict(random.sample(FIELDS, random.randint(0, 5)))
        if random.random() < 0.85:
            fields["Authorization"] = f"Bearer {random.choice([*TOKENS.values(), *[TOKENS['good']] * 8]).decode()}"
        body = random.choice(BODIES)
        method = random.choice(["POST", "PUT"] if body else ["GET", "OPTIONS", "DELETE", "HEAD"])
        return Asked(method, random.choice(["/a", "/b%20c?q=1"]), tuple(fields.items()), body)


def fields_of(pairs: Any) -> Counter[tuple[str, str]]:
    """The fields of a head without those that nobody can foretell."""
    found = ((name.lower(), value.encode().decode("latin-1")) for name, value in pairs)
    return Counter(pair for pair in found if pair[0] not in OF_THE_MOMENT)


def check_answer(response: Response, answer: Document) -> None:
    assert response.status == answer["status"]
    got = Counter(each for each in response.headers if each[0] not in OF_THE_MOMENT)
    assert got == fields_of(answer["headers"])
    assert response.body.decode() == answer.get("body", "")


class Trial:
    """Requests that are explained, and then sent."""

    def __init__(
        self, proxy: InProcessProxy, backend: StagedBackend, authorizer: StagedBackend, processor: Processor
    ) -> None:
        self._proxy = proxy
        self._backend = backend
        self._authorizer = authorizer
        self._processor = processor

    async def run(self, chain: Chain) -> None:
        """Hold what happens to the requests of *chain* against what was said."""
        await self._proxy.apply(chain.route, destinations=chain.destinations, middlewares=chain.middlewares)
        snapshot = ExplainedSnapshot(chain.document([self._proxy.listener()]), 60, 65536)
        client = await self._proxy.connect()
        for asked in chain.requests:
            found = snapshot.explain(asked.supposed)
            passed, checked, shown = (
                len(each) for each in (self._backend.requests, self._authorizer.requests, self._processor.seen)
            )
            client.send(asked.bytes)
            response = await client.read_response(asked.method)
            try:
                self._check(found, asked, response, self._backend.requests[passed:])
                self._check_told(found, checked, shown)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{chain.route}\n{asked}\n{found}\n{response}") from None

    def _check(self, found: Document, asked: Asked, response: Response, forwarded: list[ReceivedRequest]) -> None:
        broken = _broken(" ".join(found.get("assumptions", ())), asked)
        if broken:
            assert response.status in broken
        elif found["outcome"] == "forward":
            (got,) = forwarded
            action = found["action"]
            sent = fields_of([["host", action["destinations"][0]["host"]], *action["request"]["headers"]])
            is_said = any(name == "x-request-id" for name, _ in sent)
            seen = Counter(each for each in got.fields if is_said or each[0] != "x-request-id")
            assert seen - Counter(("content-length", each) for each in got.all("content-length")) == sent
            assert got.line.split(" ")[:2] == [action["request"]["method"], action["request"]["target"]]
            assert response.status == 200
            outermost: Document = next((each["response"] for each in found["middlewares"] if "response" in each), {})
            assert fields_of(outermost.get("set", ())).keys() <= set(response.headers)
        else:
            assert not forwarded
            check_answer(response, found["action"]["response"])

    def _check_told(self, found: Document, checked: int, shown: int) -> None:
        """What was said to be told to others is what they were told."""
        assumed = [
            each["details"]["told"]
            for each in found["middlewares"]
            if "assumes" in each and "details" in each and "told" in each["details"]
        ]
        questions = [Counter(each.fields) for each in self._authorizer.requests[checked:]]
        questions += [fields_of(each.pairs) for each in self._processor.seen[shown:] if each.phase == "requestHeaders"]
        for question in questions:
            assert any(_told(question) == _told(fields_of(told)) for told in assumed), (question, assumed)


def _broken(assumptions: str, asked: Asked) -> set[int]:
    """The statuses that come of *assumptions* that do not hold here; which one depends on who is further inside."""
    statuses: set[int] = set()
    if "sessionStore" in assumptions:  # this proxy has none
        statuses.add(500)
    if "signature" in assumptions and asked.is_forged:
        statuses.add(401)
    if "response pass unchanged" in assumptions and "does not exist" in assumptions:
        statuses.add(500)
    return statuses


def _told(fields: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """*fields* without those of the question itself, and without an identifier."""
    return Counter(each for each in fields.elements() if each[0] not in ("host", "content-length", "x-request-id"))


async def agree(proxy: InProcessProxy, seeds: list[int]) -> None:
    """Try random chains."""
    with JwksServer(KEYS.encode()) as issuer, HttpProcessor() as processor:
        async with StagedBackend() as backend, StagedBackend() as authorizer:
            trial = Trial(proxy, backend, authorizer, processor)
            ports = {
                "backend": backend.port,
                "authorizer": authorizer.port,
                "issuer": issuer.port,
                "processor": processor.port,
            }
            for seed in seeds:
                await trial.run(Chain(Random(seed), **ports))


def run(seeds: list[int]) -> None:
    run_scenario(
        asyncio.new_event_loop, lambda proxy: agree(proxy, seeds), lambda: InProcessProxy(python_modules=modules())
    )


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**31))
def test_middlewares_do_what_was_explained(seed: int) -> None:
    run([seed + at for at in range(20)])


def test_the_chains_that_are_tried_come_to_everything_that_a_chain_can() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(60):
        chain = Chain(Random(seed), backend=1, authorizer=1, issuer=1, processor=1)
        snapshot = ExplainedSnapshot(chain.document([]), 60, 65536)
        outcomes.update(snapshot.explain(asked.supposed)["outcome"] for asked in chain.requests)
    assert set(outcomes) == {"forward", "directResponse", "redirect", "rejected", "unavailable"}
    assert min(outcomes.values()) > 5, outcomes


LINES = {
    "json": True,
    "onRequest": {"fields": {"a": "${request.method} ${request.path} ${request.header.x-user} ${request.clientIp}"}},
    "onResponse": {
        "fields": {
            "b": "${response.status} ${response.bytes} ${response.header.x-back} ${request.header.x-user}",
            "c": "${response.header.content-type} ${response.header.content-length}",
        }
    },
}


async def log(proxy: InProcessProxy, path: Path) -> None:
    """Hold the lines of an access log against those that were said, with edits and answers further inside."""
    middlewares = [
        middleware("log", "accessLog", path=str(path), **LINES),
        middleware(
            "edges",
            "headers",
            requestHeadersToAdd=[{"key": "X-User", "value": "edited", "append": False}],
            responseHeadersToAdd=[{"key": "X-Back", "value": "${request.path}"}],
        ),
        middleware("rules", "inlineAuthz", rules=[{"cel": 'request.path == "/a"', "action": "allow"}]),
    ]
    direct = route("r", directResponse={"status": 200, "body": "direct"})
    direct |= {"middlewareIds": [each["id"] for each in middlewares]}
    await proxy.apply(direct, middlewares=middlewares)
    document = snapshot_document("s", listeners=[proxy.listener()], routes=[direct], middlewares=middlewares)
    snapshot = ExplainedSnapshot(document, 60, 65536)
    client = await proxy.connect()
    said: list[str] = []
    for method, target in (("GET", "/a"), ("HEAD", "/a"), ("POST", "/b?q=1")):
        asked = Asked(method, target, (("X-User", "bo\u00e9"),), "")
        details = snapshot.explain(asked.supposed)["middlewares"][0]["details"]
        said += [details["onRequest"], details["onResponse"]]
        client.send(asked.bytes)
        await client.read_response(method)
    written: list[str] = []

    def is_written() -> bool:
        written[:] = path.read_text(encoding="ascii").splitlines() if path.exists() else []
        return len(written) >= len(said)

    await eventually_async(is_written, 20, what="all lines are written")
    assert written == said


def test_lines_of_access_logs_are_those_that_were_explained(tmp_path: Path) -> None:
    run_scenario(asyncio.new_event_loop, lambda proxy: log(proxy, tmp_path / "access.log"))
