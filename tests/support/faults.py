"""What can go wrong with a backend, each fault by the name that a request asks for it with. ``ok`` is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.support.faulty_connection import AFTER_BODY, AT_HEAD, Fault, FaultyConnection, Request

INFORMATIONAL = 200
"""Interim responses of a flood."""
STATUS_LINES = (
    b"HTTP/2 200\r\n",
    b"HTTP/1.1 99 Too Low\r\n",
    b"HTTP/1.1 0200 OK\r\n",
    b"HTTP/1.1 2000 OK\r\n",
    b"HTTP/1.1 abc OK\r\n",
    b"HTTP/1.1\r\n",
    b"HTTP/1.1  200 OK\r\n",
    b"http/1.1 200 OK\r\n",
    b"HTTP/1.1 200 \x00\r\n",
    b"HTTP/1.1 200 OK\n",
    b"ICY 200 OK\r\n",
    b" HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
)
"""First lines that none of a response to a plain request can have."""
FRAMINGS = (
    b"Content-Length: 1\r\nContent-Length: 2\r\n",
    b"Content-Length: 1, 2\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0x10\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"X: folded\r\n line\r\nContent-Length: 1\r\n",
    b"X : 1\r\nContent-Length: 1\r\n",
    b"Content-Length: 1\r\nX: \x00\r\n",
)
"""Header lines that leave no way to say where the body ends, or that are none."""
CHUNKS = (b"zz\r\n", b"-1\r\nx\r\n", b"1\r\nxyz\r\n", b"0x5\r\nabcde\r\n", b"fffffffffffffffff\r\n", b"3\nabc\n0\n\n")
"""Bodies that begin with no chunk."""


def at_head(name: str) -> Callable[[Fault], Fault]:
    """Register a fault that happens before the request's body is read."""

    def register(fault: Fault) -> Fault:
        AT_HEAD[name] = fault
        return fault

    return register


def after_body(name: str) -> Callable[[Fault], Fault]:
    """Register a fault that happens when the whole request was read."""

    def register(fault: Fault) -> Fault:
        AFTER_BODY[name] = fault
        return fault

    return register


@after_body("ok")
def _ok(connection: FaultyConnection, request: Request) -> None:
    connection.answer(request)


def _ending(how: str) -> None:
    """Register the ways to ``reset``, ``close`` or ``stall`` at each point of an exchange."""

    @at_head(f"{how}-at-head")
    def at_request_head(connection: FaultyConnection, request: Request) -> None:
        request.answered = True
        connection.end(how)

    @after_body(how)
    def before_response(connection: FaultyConnection, request: Request) -> None:
        connection.end(how)

    @after_body(f"{how}-mid-head")
    def in_head(connection: FaultyConnection, request: Request) -> None:
        connection.send(connection.whole(request)[:20])
        connection.end(how)

    @after_body(f"{how}-after-head")
    def after_head(connection: FaultyConnection, request: Request) -> None:
        connection.send(connection.head(request, len(request.body())))
        connection.end(how)

    @after_body(f"{how}-mid-body")
    def in_body(connection: FaultyConnection, request: Request) -> None:
        connection.send(connection.half(request))
        connection.end(how)

    @at_head(f"{how}-mid-upload")
    def in_both(connection: FaultyConnection, request: Request) -> None:
        request.answered = True
        connection.send(connection.half(request))
        connection.end(how)


for _how in ("reset", "close", "stall"):
    _ending(_how)


@after_body("trickle")
def _trickle(connection: FaultyConnection, request: Request) -> None:
    ended = "close" if request.framing == "close" else ""
    connection.trickle(connection.whole(request), lambda: connection.end(ended))


@after_body("trickle-cut")
def _trickle_cut(connection: FaultyConnection, request: Request) -> None:
    connection.trickle(connection.half(request), lambda: connection.end("close"))


@after_body("garbage")
def _garbage(connection: FaultyConnection, request: Request) -> None:
    connection.send(b"\x16\x03\x01\x02\x00\x01\x00\xfe\r\n\r\n" + b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@after_body("status-line")
def _status_line(connection: FaultyConnection, request: Request) -> None:
    connection.send(request.pick(STATUS_LINES) + b"Content-Length: 6\r\n\r\nabcdef")


@after_body("framing")
def _framing(connection: FaultyConnection, request: Request) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n" + request.pick(FRAMINGS) + b"\r\nabcdef")


@after_body("endless-head")
def _endless_head(connection: FaultyConnection, request: Request) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: %b\r\n" % (b"f" * 1000) * 100)


@after_body("bad-chunk")
def _bad_chunk(connection: FaultyConnection, request: Request) -> None:
    body = request.body()
    good = b"%x\r\n%b\r\n" % (10, body[:10])
    connection.send(connection.head(dataclasses.replace(request, framing="chunked"), 0) + good)
    # Apart, so that the head is on its way to the client before the fault can be seen.
    connection.later(0.02, lambda: connection.send(request.pick(CHUNKS)))


@after_body("garbage-after")
def _garbage_after(connection: FaultyConnection, request: Request) -> None:
    connection.send(connection.whole(request) + b"garbage\r\n\r\n")


@after_body("second-response")
def _second_response(connection: FaultyConnection, request: Request) -> None:
    connection.send(connection.whole(request) + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")


@after_body("late-garbage")
def _late_garbage(connection: FaultyConnection, request: Request) -> None:
    connection.answer(request)
    connection.later(0.02, lambda: connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"))


@after_body("informational")
def _informational(connection: FaultyConnection, request: Request) -> None:
    flood = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" * (
        INFORMATIONAL // 2
    )
    connection.send(flood)
    connection.answer(request)


@after_body("informational-only")
def _informational_only(connection: FaultyConnection, request: Request) -> None:
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 20)
    connection.later(0.005, lambda: _informational_only(connection, request))


@after_body("doom-close")
def _doom_close(connection: FaultyConnection, request: Request) -> None:
    connection.answer(request)
    connection.doom = "close"


@after_body("doom-reset")
def _doom_reset(connection: FaultyConnection, request: Request) -> None:
    connection.answer(request)
    connection.doom = "reset"


@after_body("close-after")
def _close_after(connection: FaultyConnection, request: Request) -> None:
    connection.answer(request)  # without a word of the close, which is on its way with it
    connection.end("close")


@at_head("early")
def _early(connection: FaultyConnection, request: Request) -> None:
    """Answer first, read then."""
    request.answered = True
    connection.answer(request)


@at_head("early-close")
def _early_close(connection: FaultyConnection, request: Request) -> None:
    request.answered = True
    connection.send(connection.whole(request, b"Connection: close\r\n"))
    connection.transport.write_eof()


@at_head("early-unread")
def _early_unread(connection: FaultyConnection, request: Request) -> None:
    request.answered = True
    connection.answer(request)
    connection.read_no_more()


@at_head("unread")
def _unread(connection: FaultyConnection, request: Request) -> None:
    connection.read_no_more()


@at_head("slow-read")
def _slow_read(connection: FaultyConnection, request: Request) -> None:
    """Read a little, wait a little."""

    def turn(reading: bool) -> None:
        if reading or not connection.reads(request):
            connection.transport.resume_reading()
        else:
            connection.transport.pause_reading()
        if connection.reads(request):
            connection.later(0.002 if reading else 0.01, lambda: turn(not reading))

    turn(False)


AFTER_BODY["slow-read"] = _ok
FAULTS = tuple(sorted({*AT_HEAD, *AFTER_BODY}))
"""Every name that a target can begin with."""
