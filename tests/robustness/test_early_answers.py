"""Answers that come while the client still sends, and what a client then sends on the same connection."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.robustness.case import SMUGGLED, Answering, request
from tests.robustness.differential import Differential
from tests.robustness.message import Ending
from tests.robustness.response_readers import Answer, read_with_h11

CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        pytest.param(request(b"POST / HTTP/1.1", b"Content-Length: 9", body=b"abc"), b"defghi", id="the body"),
        pytest.param(request(b"POST / HTTP/1.1", b"Content-Length: 99"), b"", id="a request in place of the body"),
        pytest.param(request(b"GET / HTTP/1.1", b"Content-Length: 99"), b"", id="0.CL"),
        pytest.param(request(b"POST / HTTP/1.1", CHUNKED, body=b"3\r\nabc\r\n"), b"0\r\n\r\n", id="the last chunk"),
        pytest.param(request(b"POST / HTTP/1.1", CHUNKED, body=b"3\r\nabc\r\n"), b"", id="a request for a chunk"),
        pytest.param(
            request(b"POST / HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 99"),
            b"",
            id="a request after Expect",
        ),
    ],
)
def test_what_comes_after_an_early_answer_is_no_request(differential: Differential, begin: bytes, rest: bytes) -> None:
    # RFC 9112 §9.3: the body would have to be read before the next request could be found; the connection ends instead.
    # A backend that answers at the head does not care for the body, and that is what these attacks live on.
    answer = differential.run(_answer_then(differential, begin, rest + SMUGGLED))
    assert (answer.status, answer.ending, answer.rest) == (200, Ending.WHOLE, b"")
    assert answer.values(b"connection") == [b"close"]
    seen = differential.taken()
    assert len(seen) == 1
    assert seen[0].startswith(begin.split(b" ")[0] + b" / HTTP/1.1\r\n")
    assert SMUGGLED not in seen[0]
    differential.assert_serves()


async def _answer_then(differential: Differential, begin: bytes, rest: bytes) -> Answer:
    loop = asyncio.get_running_loop()
    differential.answer(Answering.AFTER_THE_HEAD)
    received = b""
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", differential.proxy.port))
        await loop.sock_sendall(sock, begin)
        async with asyncio.timeout(30):
            while not received.endswith(b"POST / 0") and not received.endswith(b"GET / 0"):
                data = await loop.sock_recv(sock, 1 << 16)
                assert data, received
                received += data
            await loop.sock_sendall(sock, rest)
            sock.shutdown(socket.SHUT_WR)
            while data := await loop.sock_recv(sock, 1 << 16):
                received += data
    await differential.settled()
    return read_with_h11(received, b"GET")


def test_a_request_without_host_gets_that_of_its_destination(differential: Differential) -> None:
    # RFC 9112 §3.2: HTTP/1.0 may do without, what goes on may not.
    found = differential.outcome([request(b"GET / HTTP/1.0", host=None)])
    assert [message.host for message in found.messages] == [b"127.0.0.1:%d" % differential.backend_port]
