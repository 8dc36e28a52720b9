"""Requests whose route depends on the body, divided at every byte: found and passed on as if they had come at once."""

from __future__ import annotations

import json
from functools import partial

import pytest
from structlog.testing import capture_logs

from tests.support.downstream_client import DownstreamClient, head_and_body, local
from tests.support.memory_transport import HIGH_WATER, LOW_WATER
from vrata.net.deadlines import INTERVAL
from vrata.proxy.body_gate import LOG_INTERVAL, MAX_LOGGED, BodyGate
from vrata.proxy.contracts import BodyNeeded
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.routing.composition import MatchConditions
from vrata.proxy.routing.table import RouteTable
from vrata.proxy.seen_body import SeenBody

LIMIT = 40
LARGE = "request.body.json.model == 'large'"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RoutingClient(DownstreamClient):
    """A client whose requests are routed by a table with one expression on the body, and an entry for the rest."""

    def __init__(self, limit: int = LIMIT, *, cel: str = LARGE) -> None:
        self.table = RouteTable.of([(MatchConditions(cel=cel), "chosen"), (MatchConditions(), "rest")])
        self.found: list[str] = []
        super().__init__()
        self.gate = BodyGate(limit, self.loop.time)

    def _handle(self, request: DownstreamRequest, content: bytes, end: bool) -> None:
        try:
            match = self.table.match(request)
        except BodyNeeded as needed:
            self.gate.hold_back(request, content, end, str(needed), partial(self._handle, request))
        else:
            assert match is not None
            self.found.append(match.payload)
            super()._handle(request, content, end)


def message(body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    fields = (b"Host: a", b"Content-Type: application/json", *lines, b"Content-Length: %d" % len(body))
    return b"%s / HTTP/1.1\r\n%s\r\n\r\n%s" % (method, b"\r\n".join(fields), body)


def in_chunks(*pieces: bytes, trailers: bytes = b"") -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x;x=y\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n" + trailers + b"\r\n"


WHOLE = b'{"model": "large"}'
OTHER = b'{"model": "small", "a": {"b": [1, 2.5]}}'
TOO_LONG = json.dumps({"model": "large", "padding": "x" * 20}).encode()
assert len(OTHER) == LIMIT < len(TOO_LONG)

MESSAGES = [
    pytest.param(message(WHOLE), "chosen", WHOLE, b"", id="length"),
    pytest.param(message(OTHER), "rest", OTHER, b"", id="length at the limit"),
    pytest.param(message(TOO_LONG), "rest", TOO_LONG, b"", id="length over the limit"),
    pytest.param(in_chunks(WHOLE), "chosen", WHOLE, b"", id="one chunk"),
    pytest.param(
        in_chunks(WHOLE[:3], WHOLE[3:4], WHOLE[4:], trailers=b"X-Sum: 1\r\n"),
        "chosen",
        WHOLE,
        b"X-Sum: 1\r\n",
        id="chunks",
    ),
    pytest.param(in_chunks(TOO_LONG[:39], TOO_LONG[39:]), "rest", TOO_LONG, b"", id="chunks over the limit"),
    pytest.param(in_chunks(), "rest", b"", b"", id="no chunk"),
]


def served(client: RoutingClient, name: str, body: bytes, trailers: bytes) -> None:
    """Check what has become of the request, and answer it."""
    last = client.last
    assert (client.found[-1], last.content, last.end) == (name, body, True)
    assert last.request.trailers == trailers
    client.answer()
    lines, content = head_and_body(client.transport.take())
    assert (lines[0], content) == (b"HTTP/1.1 200 OK", b"own")
    assert client.connection.is_idle


@pytest.mark.parametrize(("data", "name", "body", "trailers"), MESSAGES)
def test_divided_in_two_at_every_byte(data: bytes, name: str, body: bytes, trailers: bytes) -> None:
    with capture_logs():
        client = RoutingClient()
        for cut in range(len(data) + 1):
            client.send(data[:cut])
            client.send(data[cut:])
            served(client, name, body, trailers)
        assert len(client.found) == len(data) + 1


@pytest.mark.parametrize(("data", "name", "body", "trailers"), MESSAGES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_in_pieces(data: bytes, name: str, body: bytes, trailers: bytes, size: int) -> None:
    with capture_logs():
        client = RoutingClient()
        for _ in range(2):
            for at in range(0, len(data), size):
                client.send(data[at : at + size])
            served(client, name, body, trailers)


@pytest.mark.parametrize(("data", "name", "body", "trailers"), MESSAGES)
def test_with_the_next_request_right_behind_it(data: bytes, name: str, body: bytes, trailers: bytes) -> None:
    both = data + message(WHOLE)
    with capture_logs():
        for cut in range(0, len(both) + 1, 3):
            client = RoutingClient()
            client.send(both[:cut])
            client.send(both[cut:])
            assert len(client.handled) == 1
            served_first = client.last
            assert (client.found, served_first.content, served_first.end) == ([name], body, True)
            client.answer()
            client.transport.take()
            served(client, "chosen", WHOLE, b"")


@pytest.mark.parametrize("limit", range(1, len(WHOLE) + 2))
def test_at_every_limit(limit: int) -> None:
    with capture_logs():
        client = RoutingClient(limit, cel=f"request.body.raw == '{WHOLE[:limit].decode()}'")
        for data in (message(WHOLE), in_chunks(WHOLE[:5], WHOLE[5:])):
            for at in range(0, len(data), 4):
                client.send(data[at : at + 4])
            served(client, "chosen", WHOLE, b"")


def test_no_more_is_held_back_than_the_limit_and_what_came_at_once() -> None:
    with capture_logs():
        client = RoutingClient()
        data = message(b"x" * 200)
        head = len(data) - 200
        client.send(data[: head + LIMIT])
        assert not client.handled
        client.send(data[head + LIMIT : head + LIMIT + 1])
        assert (client.found, client.last.content, client.last.end) == (["rest"], b"x" * (LIMIT + 1), False)
        client.send(data[head + LIMIT + 1 :])
        served(client, "rest", b"x" * 200, b"")


# -- Expect: 100-continue ---------------------------------------------------------------------------------------------


def test_a_client_that_expects_it_is_told_to_go_on() -> None:
    client = RoutingClient()
    data = message(WHOLE, b"Expect: 100-continue")
    client.send(data[: -len(WHOLE)])
    assert client.transport.take() == CONTINUE
    client.send(data[-len(WHOLE) :])
    served(client, "chosen", WHOLE, b"")


@pytest.mark.parametrize("sent", [1, len(WHOLE)])
def test_a_client_that_does_not_wait_for_it_is_not(sent: int) -> None:
    client = RoutingClient()
    data = message(WHOLE, b"Expect: 100-continue")
    cut = len(data) - len(WHOLE) + sent
    client.send(data[:cut])
    assert not client.transport.take()
    client.send(data[cut:])
    served(client, "chosen", WHOLE, b"")


def test_nobody_is_told_when_expressions_see_no_bodies() -> None:
    client = RoutingClient(0)
    data = message(WHOLE, b"Expect: 100-continue")
    client.send(data[: -len(WHOLE)])
    assert (client.transport.take(), client.found) == (b"", ["rest"])
    client.send(data[-len(WHOLE) :])
    served(client, "rest", WHOLE, b"")


def test_who_takes_nothing_is_not_answered_before_it_does() -> None:
    # The answer before this request has filled the connection but for a little, which the 100 takes.
    client = RoutingClient()
    client.send(message(b"x"))
    client.transport.stop_reading()
    client.last.request.respond(local(b"x" * (HIGH_WATER - 90)))
    client.loop.settle()
    data = message(TOO_LONG * 3, b"Expect: 100-continue")
    head = len(data) - len(TOO_LONG * 3)
    while client.transport.get_write_buffer_size() <= HIGH_WATER - len(CONTINUE):
        client.transport._unsent += b"x"
    client.send(data[:head])
    with capture_logs():
        client.send(data[head : head + LIMIT + 1])
        assert len(client.handled) == 1
        assert not client.transport.is_reading()
        client.transport.read_some(HIGH_WATER - LOW_WATER + 100)
        assert client.transport.is_reading()
        assert len(client.handled) == 2
    client.send(data[head + LIMIT + 1 :])
    assert (client.last.content, client.last.end) == (TOO_LONG * 3, True)


# -- the end, before there is a route ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(len(message(b"")), len(message(WHOLE)) - 1))
def test_a_client_that_goes_reaches_nobody(cut: int) -> None:
    client = RoutingClient()
    client.send(message(WHOLE)[:cut])
    client.transport.reset()
    assert not client.handled
    assert (client.owner.in_flight, client.owner.connections) == (0, set())


def test_the_time_for_a_request_holds() -> None:
    client = RoutingClient()
    client.send(message(WHOLE)[:-1])
    client.loop.advance(client.owner.settings.timeouts.client_request - 1)
    assert not client.transport.is_lost()
    client.loop.advance(1 + 2 * INTERVAL)
    assert client.transport.aborted
    assert not client.handled


@pytest.mark.parametrize(
    "rest", [b"nonsense\r\n", b"3\r\nabcd\r\n", b"0\r\nno trailer\r\n\r\n", b"0\r\nContent-Length: 1\r\n\r\n"]
)
def test_chunks_that_are_malformed_are_refused(rest: bytes) -> None:
    data = in_chunks(WHOLE).removesuffix(b"0\r\n\r\n") + rest
    for cut in range(len(data)):
        client = RoutingClient()
        client.send(data[:cut])
        client.send(data[cut:])
        assert head_and_body(client.transport.take())[0][0] == b"HTTP/1.1 400 Bad Request"
        assert not client.handled


# -- what is seen and said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("Application/JSON", True),
        ("application/json; charset=utf-8", True),
        ("application/json-patch+json", True),
        ("application/x-json", False),
        ("text/json", False),
        (" application/json", False),
        ("", False),
        (None, False),
    ],
)
def test_json_is_what_says_to_be(content_type: str | None, is_json: bool) -> None:
    assert SeenBody(WHOLE, True).json(content_type) == ({"model": "large"} if is_json else None)
    assert SeenBody(WHOLE, False).json(content_type) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"1", b'"a"', b"null", b'{"a": NaN}', b"{'a': 1}", b'{"a": 1} x', b"\xff"]
)
def test_what_is_no_object_is_absent(content: bytes) -> None:
    assert SeenBody(content, True).json("application/json") is None


def test_json_is_decoded_once() -> None:
    seen = SeenBody(WHOLE, True)
    assert seen.json("application/json") is seen.json("application/json")


def test_a_body_that_is_too_large_is_in_the_log_now_and_then() -> None:
    client = RoutingClient()
    now = 0.0
    gate = BodyGate(1, lambda: now)
    client.send(message(TOO_LONG))
    request = client.last.request
    with capture_logs() as entries:

        def see(*expressions: str) -> list[str]:
            entries.clear()
            for expression in expressions:
                gate.hold_back(request, b"ab", True, expression, lambda content, end: None)
            return [entry["expression"] for entry in entries]

        assert see("a", "a", "b") == ["a", "b"]
        now = LOG_INTERVAL - 1
        assert see("a", "b", "c") == ["c"]
        now = LOG_INTERVAL
        assert see("a", "b", "c") == ["a", "b"]
        assert len(see(*map(str, range(3 * MAX_LOGGED)))) == 3 * MAX_LOGGED
        assert repr(gate) == "<BodyGate 1 bytes>"
