"""Requests with somebody in between: whatever is inside is relayed, and observed from the inside out."""

from __future__ import annotations

import weakref

import pytest
from structlog.testing import capture_logs

from tests.support.downstream_client import GET, POST, DownstreamClient, HandledRequest, local, response_head
from vrata.proxy.contracts import ClientRequest, Failure, FailureClass, LocalResponse
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.relayed_request import RelayedRequest
from vrata.wire.http1.editing import SAME_LENGTH, edited_response
from vrata.wire.http1.head import ResponseHead


class Observer:
    """Adds its name to a field of the response, and keeps what it is told of the end."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.end: tuple[int, bool] | None = None

    def on_response(self, head: ResponseHead) -> ResponseHead:
        return edited_response(head, (), b"x-by: %s\r\n" % self.name, SAME_LENGTH)

    def on_response_end(self, size: int, complete: bool) -> None:
        assert self.end is None
        self.end = size, complete


class Scene:
    """A client's request, twice relayed, with an observer at each level."""

    def __init__(self, message: bytes, *, relays: int = 2) -> None:
        self.client = DownstreamClient()
        self.observers = [Observer(b"%d" % level) for level in range(relays + 1)]
        self.client.send(message)
        request: ClientRequest = self.client.last.request
        request.observed_by(self.observers[0])
        for level in range(1, relays + 1):
            request = RelayedRequest(request)
            request.observed_by(self.observers[level])
        self.request = request
        # What the innermost has is what an action would have.
        self.handled = HandledRequest(request, b"", True)  # type: ignore[arg-type]

    def answer(self) -> tuple[bytes, list[bytes], bytes]:
        """Status line, the observers in the order of the response's fields, and the rest."""
        head, _, body = self.client.transport.sent.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        return lines[0], [line[6:] for line in lines if line.startswith(b"x-by: ")], body

    def ends(self) -> set[tuple[int, bool] | None]:
        return {observer.end for observer in self.observers}


@pytest.mark.parametrize("relays", [0, 1, 2])
def test_a_response_is_observed_from_the_inside_out(relays: int) -> None:
    scene = Scene(GET % b"", relays=relays)
    scene.request.start_response(response_head(b"Content-Length: 5"), b"on", False)
    assert scene.ends() == {None}
    scene.request.send_content(b"ion", True)
    order = [b"%d" % level for level in range(relays, -1, -1)]
    assert scene.answer() == (b"HTTP/1.1 200 OK", order, b"onion")
    assert scene.ends() == {(5, True)}


@pytest.mark.parametrize("relays", [0, 1, 2])
def test_a_response_of_our_own_is_one_like_any_other(relays: int) -> None:
    scene = Scene(GET % b"", relays=relays)
    scene.request.respond(local(b"mine", 403))
    status, observed, body = scene.answer()
    assert (status, len(observed), body) == (b"HTTP/1.1 403 Forbidden", relays + 1, b"mine")
    assert scene.ends() == {(4, True)}


@pytest.mark.parametrize("fields", [100 * b"x-a: b\r\n", b"x-a: " + 65536 * b"b" + b"\r\n"])
def test_a_head_that_nobody_would_read_is_a_failure_with_and_without_observers(fields: bytes) -> None:
    response = LocalResponse(403, fields, b"no")
    for relays in (0, 1, 2):
        scene = Scene(GET % b"", relays=relays)
        scene.request.respond(response)
        status, observed, body = scene.answer()
        assert (status, len(observed), body) == (b"HTTP/1.1 500 Internal Server Error", relays + 1, b"internal_error")
    alone = DownstreamClient()
    alone.send(GET % b"")
    alone.last.request.respond(response)
    assert alone.transport.sent.startswith(b"HTTP/1.1 500 ")
    assert LocalResponse(403, 99 * b"x-a: b\r\n", b"no").head().status == 403
    assert not LocalResponse(403, 99 * b"x-a: b\r\n", b"no").is_too_large


@pytest.mark.parametrize("relays", [0, 1, 2])
def test_a_failure_is_a_response_until_one_has_begun(relays: int) -> None:
    scene = Scene(GET % b"", relays=relays)
    scene.request.fail(Failure(FailureClass.NO_ENDPOINT))
    status, observed, body = scene.answer()
    assert (status, len(observed), body) == (b"HTTP/1.1 502 Bad Gateway", relays + 1, b"no_endpoint")
    scene = Scene(GET % b"", relays=relays)
    scene.request.start_response(response_head(), b"half", False)
    scene.request.fail(Failure(FailureClass.CONNECTION_RESET))
    assert scene.client.transport.aborted
    scene.client.loop.settle()
    assert scene.ends() == {(4, False)}


def test_a_response_to_head_has_no_content_to_count() -> None:
    scene = Scene(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    scene.request.respond(local(b"mine"))
    assert scene.answer()[2] == b""
    assert scene.ends() == {(0, True)}


def test_what_the_client_does_is_relayed() -> None:
    scene = Scene(POST % 6)
    scene.handled.end = False
    scene.client.send(b"abc")
    scene.client.send(b"def")
    assert (scene.handled.content, scene.handled.end) == (b"abcdef", True)
    scene.client.transport.abort()
    scene.client.loop.settle()
    assert scene.handled.client_gone == 1
    assert scene.ends() == {(0, False)}


def test_an_edited_head_is_everybodys() -> None:
    scene = Scene(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n")
    scene.request.edit((b"x-a",), b"x-b: 2\r\n")
    outermost = scene.client.last.request
    assert isinstance(outermost, DownstreamRequest)
    for request in (scene.request, outermost):
        assert (request.header("x-a"), request.header("x-b")) == (None, "2")
    assert b"x-b: 2\r\n" in scene.request.upstream_head(b"/", b"a")


class Faulty(Observer):
    """Fails whenever it is asked."""

    def on_response(self, head: ResponseHead) -> ResponseHead:
        raise RuntimeError("begun")

    def on_response_end(self, size: int, complete: bool) -> None:
        raise RuntimeError("ended")


def test_an_observer_that_fails_keeps_nothing_from_anybody() -> None:
    scene = Scene(GET % b"", relays=0)
    scene.client.last.request.observed_by(Faulty(b"faulty"))
    last = Observer(b"last")
    scene.client.last.request.observed_by(last)
    with capture_logs() as logs:
        scene.request.respond(local(b"mine"))
        scene.client.loop.settle()
    assert scene.answer() == (b"HTTP/1.1 200 OK", [b"last", b"0"], b"mine")
    assert scene.ends() == {last.end} == {(4, True)}
    assert [entry["log_level"] for entry in logs] == ["error", "error"]
    scene.client.send(GET % b"next")
    assert scene.client.targets[1:] == [b"/next"]


def test_observers_are_forgotten_with_the_response() -> None:
    scene = Scene(GET % b"", relays=1)
    observer = Observer(b"last")
    scene.request.observed_by(observer)
    remembered = weakref.ref(observer)
    scene.request.respond(local(b"mine"))
    scene.client.loop.settle()
    del observer
    assert remembered() is None
