"""Questions to authorizers that no client over a socket brings about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.authorizer_messages import message_class
from tests.support.callouts import services
from tests.support.downstream_client import DownstreamClient
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.request_message import accepted, message
from vrata.expressions import PeerCertificate
from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.failures import FailureAnswers
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.memory_connection import MemoryConnection
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.middleware.ext_authz.decision import Authorizer
from vrata.proxy.middleware.ext_authz.envoy_authorizer import EnvoyAuthorizer
from vrata.proxy.middleware.ext_authz.stage import ExtAuthzStage
from vrata.proxy.middleware.failure_log import FailureLog
from vrata.proxy.middleware.stage import Place


@dataclass(frozen=True)
class Certificate:
    """Implements ``PeerCertificate``."""

    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    subject: str = "CN=me"
    serial: str = "1"


SETTINGS = ExtAuthz.model_validate({"destinationId": "d", "mode": "grpc", "contract": "envoy"})


@on_our_loop
async def test_envoys_principal_is_the_first_name_of_the_certificate(proxy: InProcessProxy) -> None:
    authorizer = EnvoyAuthorizer(SETTINGS, services(proxy))
    for certificate, principal in (
        (Certificate(("spiffe://a/b", "spiffe://c"), ("a.test",)), "spiffe://a/b"),
        (Certificate((), ("a.test", "b.test")), "a.test"),
        (Certificate(), "CN=me"),
        (None, ""),
    ):
        shown: PeerCertificate | None = certificate
        hop = Hop(b"2001:db8::1", b"https", "[::1]:8443", None, b"", shown, 4711)
        request = DownstreamRequest(
            MemoryConnection(hop, FailureAnswers("standard")), accepted(message(line=b"GET / HTTP/1.1"))
        )
        question = authorizer.question(request, b"")
        attributes = message_class("envoy.service.auth.v3.CheckRequest").FromString(question).attributes
        assert attributes.source.principal == principal
        peers = [each.address.socket_address for each in (attributes.source, attributes.destination)]
        assert [(peer.address, peer.port_value) for peer in peers] == [("2001:db8::1", 4711), ("::1", 8443)]
        assert attributes.request.http.scheme == "https"


@on_our_loop
async def test_clients_have_no_say_in_what_is_told_of_them(proxy: InProcessProxy) -> None:
    check = {"forwardHeaders": ["X-Tenant", "X-Envoy-Auth-Partial-Body"]}
    settings = SETTINGS.model_validate({**SETTINGS.model_dump(by_alias=True), "onCheck": check, "includeBody": True})
    authorizer = EnvoyAuthorizer(settings, services(proxy))
    fields = (b"X-Tenant: mine", b"X_TENANT: yours", b"X-Envoy-Auth-Partial-Body: true")
    request = DownstreamRequest(
        MemoryConnection(Hop(b"127.0.0.1", b"http", "127.0.0.1:80", None), FailureAnswers("standard")),
        accepted(message(*fields)),
    )
    question = authorizer.question(request, b"")
    told = message_class("envoy.service.auth.v3.CheckRequest").FromString(question).attributes.request.http.headers
    assert (told["x-tenant"], told["x-envoy-auth-partial-body"]) == ("mine,yours", "false")


class Speechless:
    """An authorizer that fails to make a question."""

    def ask(self, request: ClientRequest, body: bytes, decide: Any, destination: Any) -> Any:
        raise RuntimeError("no words")


class Inside:
    """What is inside of the stage."""

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        raise AssertionError("nobody has allowed that")


class Incoherent:
    """An authorizer whose decision is none."""

    def ask(self, request: ClientRequest, body: bytes, decide: Any, destination: Any) -> Any:
        decide(None)


NO_QUESTION = (403, b'{"error":"ext_authz: failed to create check request"}', "no check could be made")
NO_DECISION = (500, b"internal_error", "a decision could not be acted on")


@pytest.mark.parametrize(
    ("authorizer", "outcomes"),
    [
        (Speechless(), [NO_QUESTION]),
        # Compiled modules do not even take what is no decision.
        (Incoherent(), [NO_QUESTION, NO_DECISION]),
    ],
)
def test_whatever_goes_wrong_there_is_an_answer_and_nobody_gets_past(
    authorizer: Authorizer, outcomes: list[tuple[int, bytes, str]]
) -> None:
    stage = ExtAuthzStage(Place("m", "m", "m"), Inside(), SETTINGS, authorizer, FailureLog("no authorization"))
    client = DownstreamClient(answer=lambda request: stage.run(request, None, b"", True))
    with capture_logs() as entries:
        client.send(message(line=b"GET / HTTP/1.1"))
    sent, events = client.transport.sent, {entry["event"] for entry in entries}
    assert [
        event
        for status, error, event in outcomes
        if sent.startswith(b"HTTP/1.1 %d " % status) and sent.endswith(error) and event in events
    ]
