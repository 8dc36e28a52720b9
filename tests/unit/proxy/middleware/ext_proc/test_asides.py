"""What a processor is told beside what it is shown: attributes, and what other services have said of the request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from tests.support.conditions import eventually_async
from tests.support.gateway import Document, destination, forward, route
from tests.support.grpc_service import GrpcService
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import Do, EnvoyProcessor, Seen
from tests.support.proto_files import message_class
from tests.support.recording_backend import Exchange, RecordingBackend
from vrata.model.middleware.ext_proc import _OF_REQUESTS, _OF_RESPONSES

AUTHORIZATION = "envoy/service/auth/v3/external_auth.proto"
NAMESPACE = "envoy.filters.http.ext_proc"


def attributes_of(seen: Seen) -> dict[str, Any]:
    """What is told by name; no attribute is told under another key."""
    told = dict(seen.message.attributes.items())
    assert set(told) <= {NAMESPACE}
    found: dict[str, Any] = json_format.MessageToDict(told[NAMESPACE]) if told else {}
    return found


def metadata_of(seen: Seen) -> dict[str, Any]:
    kept = seen.message.metadata_context.filter_metadata
    return {name: json_format.MessageToDict(struct) for name, struct in kept.items()}


@on_our_loop
async def test_the_attributes_of_a_request_and_its_response(proxy: InProcessProxy) -> None:
    names = sorted(_OF_REQUESTS) + ["request.headers['x-a']", 'request.headers["x-none"]']
    of_response = [*sorted(_OF_RESPONSES), "request.method", "response.headers['content-type']"]
    of_response.append("request.headers['x-a']")
    with RecordingBackend() as backend, EnvoyProcessor() as found:
        settings: dict[str, Any] = {"requestAttributes": names, "responseAttributes": of_response}
        await process(proxy, found, backend.port, phases={"requestBody": "streamed"}, **settings)
        client = await proxy.connect()
        before = datetime.now(UTC)
        response = await client.exchange("POST /a%20b?c=d", "X-A: 1", "X-A: 2", "User-Agent: us", body=b"abc")
        told, body, of_the_response = (attributes_of(seen) for seen in found.seen[:3])
        assert before <= datetime.fromisoformat(told.pop("request.time")) <= datetime.now(UTC)
        address, port = client.writer.get_extra_info("sockname")
        listener = client.writer.get_extra_info("peername")
        assert told == {
            "request.path": "/a%20b?c=d",
            "request.url_path": "/a%20b",
            "request.query": "c=d",
            "request.host": "proxy.test",
            "request.scheme": "http",
            "request.method": "POST",
            "request.useragent": "us",
            "request.id": found.seen[0]["x-request-id"],
            "request.protocol": "HTTP/1.1",
            "request.size": 3,
            "request.headers['x-a']": "1,2",
            "source.address": f"{address}:{port}",
            "source.port": port,
            "destination.address": f"{listener[0]}:{listener[1]}",
            "destination.port": listener[1],
            "connection.mtls": False,
        }
        assert body == {}  # with the first message of each direction
        assert of_the_response == {
            "response.code": 200,
            "response.size": len(response.body),
            "response.headers['content-type']": response["content-type"],
            "request.method": "POST",
            "request.headers['x-a']": "1,2",
        }


@pytest.mark.parametrize(("said", "told"), [("7", {"response.grpc_status": 7}), ("9" * 400, {}), ("9" * 5000, {})])
@on_our_loop
async def test_that_a_status_that_is_none_is_not_told(proxy: InProcessProxy, said: str, told: dict[str, Any]) -> None:
    def script(exchange: Exchange) -> None:
        exchange.respond(headers=[("grpc-status", said)])

    with RecordingBackend(script=script) as backend, EnvoyProcessor() as found:
        await process(proxy, found, backend.port, responseAttributes=["response.grpc_status"])
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        assert attributes_of(found.of("responseHeaders")[0]) == told


@on_our_loop
async def test_that_who_only_watches_is_told_as_well(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, EnvoyProcessor() as found:
        settings: dict[str, Any] = {"requestAttributes": ["request.path"], "responseAttributes": ["response.code"]}
        await process(proxy, found, backend.port, observeMode={"enabled": True}, **settings)
        client = await proxy.connect()
        await client.exchange("GET /a")
        await eventually_async(lambda: len(found.seen) == 2, what="both heads were shown")
        assert [attributes_of(seen) for seen in found.seen] == [{"request.path": "/a"}, {"response.code": 200}]


@on_our_loop
async def test_that_what_others_have_said_is_passed_on(proxy: InProcessProxy) -> None:
    """An authorizer says something, then a processor, whose later word counts; the next one is told what it may be."""
    said = {"user": "ada", "level": 1}

    def check(message: bytes, context: grpc.ServicerContext) -> bytes:
        found = message_class(AUTHORIZATION, "envoy.service.auth.v3.CheckResponse")(dynamic_metadata=said)
        return bytes(found.SerializeToString())

    def first_script(seen: Seen) -> list[bytes]:
        if seen.phase != "requestHeaders":
            return [first.answer_to(seen.phase)]
        own = {"mine": {"a": 1, "b": 1}, "other": {"c": 2}, "no object": 3}
        more = {"mine": {"b": 2}}
        return [first.message(request_headers={}, dynamic_metadata=own if len(first.seen) == 1 else more)]

    handler = grpc.unary_unary_rpc_method_handler(check)
    with (
        GrpcService({"envoy.service.auth.v3.Authorization": {"Check": handler}}) as authorizer,
        RecordingBackend() as backend,
        EnvoyProcessor() as first,
        EnvoyProcessor() as second,
    ):
        first.script = first_script
        documents = first.entities(metadata={"receiveNamespaces": ["mine", "no object"]})
        others = second.entities(
            metadata={"forwardNamespaces": ["envoy.filters.http.ext_authz", "mine", "other", "no object"]},
            phases={"requestBody": "buffered"},
        )
        middleware: Document = others["middlewares"][0] | {"id": "second", "name": "second"}
        middleware["extProc"]["destinationId"] = "second"
        authz = {"destinationId": "authorizer", "mode": "grpc", "contract": "envoy"}
        documents["middlewares"] += [
            middleware,
            {"id": "authz", "name": "authz", "type": "extAuthz", "extAuthz": authz},
        ]
        documents["destinations"] += [
            destination("second", second.port, http2=True),
            destination("authorizer", authorizer.port, http2=True),
            destination("backend", backend.port),
        ]
        entry = route("all", forward=forward("backend"), middlewareIds=["authz", "processing", "second"])
        report = await proxy.apply(entry, **documents)
        assert not report.problems, report
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"abc")).status == 200
        expected = {"envoy.filters.http.ext_authz": said, "mine": {"a": 1, "b": 1}}
        assert [metadata_of(seen) for seen in second.seen] == [expected] * 3
        assert (await client.exchange("GET /")).status == 200
        assert metadata_of(second.seen[3]) == expected | {"mine": {"b": 2}}
        assert metadata_of(first.seen[0]) == {}


@pytest.mark.parametrize("way", ["request", "response"])
@on_our_loop
async def test_that_who_says_too_much_has_failed(proxy: InProcessProxy, way: str) -> None:
    def script(seen: Seen) -> Any:
        if seen.phase != f"{way}Headers":
            return Do()
        return [found.message(**{f"{way}_headers": {}}, dynamic_metadata={"mine": {"a": "b" * 70_000}})]

    with RecordingBackend() as backend, EnvoyProcessor(script) as found:
        await process(proxy, found, backend.port, metadata={"receiveNamespaces": ["mine"]})
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 500
        await process(proxy, found, backend.port)
        assert (await client.exchange("GET /")).status == 200
