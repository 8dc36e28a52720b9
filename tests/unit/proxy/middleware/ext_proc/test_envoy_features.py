"""What Envoy's contract has beside ours: trailers, and modes that the processor chooses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import DIE, Do, EnvoyProcessor, Reject, Reply, Seen, VrataProcessor
from tests.support.recording_backend import RecordingBackend
from tests.support.staged_backend import StagedBackend, StagedConnection

TRAILERS = {"requestTrailers": "send", "responseTrailers": "send"}
REQUEST = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\n12345\r\n0\r\nX-Sum: 1\r\nX-Old: 2\r\n\r\n"
)
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\nx-old: 4\r\n\r\n"


class TrailingBackend(StagedBackend):
    """Answers with trailers."""

    def __init__(self) -> None:
        async def answer(connection: StagedConnection) -> None:
            while True:
                await connection.read_request()
                connection.send(RESPONSE)

        super().__init__(answer)


@pytest.mark.parametrize("mode", ["none", "buffered", "bufferedPartial", "streamed"])
@on_our_loop
async def test_that_trailers_are_shown_and_changed(proxy: InProcessProxy, mode: str) -> None:
    def script(seen: Seen) -> Reply:
        if not seen.phase.endswith("Trailers"):
            return Do()
        return Do({"x-new": seen["x-sum"], "content-length": "9", "authorization": "a"}, ("x-old",))

    async with TrailingBackend() as backend:
        with EnvoyProcessor(script) as found:
            await process(proxy, found, backend.port, phases={**TRAILERS, "requestBody": mode, "responseBody": mode})
            client = await proxy.connect()
            client.send(REQUEST)
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"abc", (("x-sum", "3"), ("x-new", "3")))
            (request,) = backend.requests
            assert (request.body, request.trailers) == (b"12345", (b"X-Sum: 1", b"x-new: 1"))
            assert [seen.pairs for seen in found.of("requestTrailers")] == [(("x-sum", "1"), ("x-old", "2"))]
            assert [seen.pairs for seen in found.of("responseTrailers")] == [(("x-sum", "3"), ("x-old", "4"))]
            assert not [seen for seen in found.seen if seen.end and not seen.phase.endswith("Trailers")]


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
@on_our_loop
async def test_that_trailers_follow_bodies_that_were_replaced(proxy: InProcessProxy, mode: str) -> None:
    async with TrailingBackend() as backend:
        with EnvoyProcessor(lambda seen: Do(body=b"<>") if seen.body else Do()) as found:
            await process(proxy, found, backend.port, phases={"requestBody": mode, "responseBody": mode})
            client = await proxy.connect()
            client.send(REQUEST)
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"<>", (("x-sum", "3"), ("x-old", "4")))
            (request,) = backend.requests
            assert (request.body, request.trailers) == (b"<>", (b"X-Sum: 1", b"X-Old: 2"))


@on_our_loop
async def test_that_trailers_pass_when_the_processor_dies_of_them(proxy: InProcessProxy) -> None:
    async with TrailingBackend() as backend:
        with EnvoyProcessor(lambda seen: DIE if seen.phase.endswith("Trailers") else Do()) as found:
            await process(proxy, found, backend.port, phases=TRAILERS, allowOnError=True)
            client = await proxy.connect()
            client.send(REQUEST)
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"abc", (("x-sum", "3"), ("x-old", "4")))
            assert backend.requests[0].trailers == (b"X-Sum: 1", b"X-Old: 2")


@pytest.mark.parametrize("is_allowed", [True, False])
@on_our_loop
async def test_that_modes_are_overridden_where_that_is_allowed(proxy: InProcessProxy, is_allowed: bool) -> None:
    mode = {"response_header_mode": 2, "request_body_mode": 2, "response_body_mode": 1, "request_trailer_mode": 1}

    def script(seen: Seen) -> Reply:
        return Do(mode=mode) if seen.phase == "requestHeaders" else Do()

    async with TrailingBackend() as backend:
        with EnvoyProcessor(script) as found:
            await process(proxy, found, backend.port, allowModeOverride=is_allowed)
            client = await proxy.connect()
            client.send(REQUEST)
            assert (await client.read_response()).body == b"abc"
            expected = ["requestHeaders", "responseHeaders"]
            if is_allowed:
                expected = ["requestHeaders", "requestBody", "requestTrailers", "responseBody"]
            assert list(dict.fromkeys(found.phases)) == expected


@on_our_loop
async def test_that_an_answer_about_a_response_chooses_what_is_shown_of_it(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Reply:
        return Do(mode={"response_body_mode": 2}) if seen.phase == "responseHeaders" else Do(body=b"instead")

    with RecordingBackend() as backend, EnvoyProcessor(script) as found:
        await process(proxy, found, backend.port, allowModeOverride=True)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"instead"
        assert found.phases == ["requestHeaders", "responseHeaders", "responseBody"]
        assert found.seen[0].message.HasField("protocol_config")
        assert not found.seen[1].message.HasField("protocol_config")


@on_our_loop
async def test_that_rejections_have_a_content_type(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, EnvoyProcessor(lambda seen: rejection) as found:
        await process(proxy, found, backend.port)
        client = await proxy.connect()
        rejection = Reject(401, body=b"no")
        assert (await client.exchange("GET /"))["content-type"] == "text/plain"
        rejection = Reject(401, (("content-type", "text/html"),), b"no")
        assert (await client.exchange("GET /")).all("content-type") == ["text/html"]


@on_our_loop
async def test_that_more_time_is_given_once_where_that_is_allowed(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Iterator[bytes]:
        yield found.message(override_message_timeout={"seconds": 15})
        yield found.message(override_message_timeout={"nanos": 1_000_000})  # a second time: ignored
        if seen.phase == "requestHeaders":
            found.pause.wait(0.9)
        yield found.answer_to(seen.phase)

    with RecordingBackend() as backend, EnvoyProcessor() as found:
        found.script = script
        await process(proxy, found, backend.port, phaseTimeout="600ms", maxPhaseTimeout="20s")
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        await process(proxy, found, backend.port, phaseTimeout="600ms", maxPhaseTimeout="10s")
        assert (await client.exchange("GET /")).status == 500


@on_our_loop
async def test_that_rejections_say_what_calls_of_grpc_are_told(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, EnvoyProcessor() as found:
        immediate = {"status": {"code": 503}, "body": b"later", "grpc_status": {"status": 8}, "details": "too many"}
        found.script = lambda seen: [found.message(immediate_response=immediate)]
        await process(proxy, found, backend.port)
        client = await proxy.connect()
        with capture_logs() as logs:
            response = await client.exchange("POST /", "Content-Type: application/grpc")
        assert (response.status, response["grpc-status"], response["grpc-message"]) == (200, "8", "later")
        assert [line["details"] for line in logs if "details" in line] == ["too many"]


@on_our_loop
async def test_that_more_time_is_asked_for_in_vain(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Any:
        return found._responses(override_message_timeout={"seconds": 10}).SerializeToString()

    with RecordingBackend() as backend, EnvoyProcessor(script) as found:
        await process(proxy, found, backend.port, phaseTimeout="200ms")
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 500


@on_our_loop
async def test_that_other_contracts_have_no_trailers(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, VrataProcessor() as found:
        documents = found.entities()
        documents["destinations"].append(destination("backend", backend.port))
        entry = route("all", forward=forward("backend"), middlewareIds=["processing"])
        entry["middlewareOverrides"] = {"processing": {"extProc": {"phases": TRAILERS}}}
        report = await proxy.apply(entry, **documents)
        assert "extProc.phases.requestTrailers needs contract" in str(report.problems)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (500, b'{"error":"middleware unavailable"}')
