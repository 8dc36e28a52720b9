"""1xx responses, bytes that nobody asked for, and connections that end too early."""

from __future__ import annotations

from tests.robustness.response_case import ResponseCase, cut, refused, relayed, response
from tests.robustness.scripted_upstream import Then

OK = b"HTTP/1.1 200 OK"
THREE = b"Content-Length: 3"
ABC = response(OK, THREE, body=b"abc")
EVIL = response(OK, b"Content-Length: 4", body=b"evil")
INTERIM = "RFC 9110 §15.2"
BEHIND = "RFC 9112 §9.2; response queue poisoning, Kettle 2021"
EARLY_END = "RFC 9112 §8"


def _interim(name: str, heads: bytes, *informational: int, source: str = INTERIM) -> ResponseCase:
    return ResponseCase(name, source, heads + ABC, relayed(informational=informational))


INFORMATIONAL = (
    _interim("100 that nobody waits for", response(b"HTTP/1.1 100 Continue"), source="RFC 9110 §10.1.1"),
    _interim("102", response(b"HTTP/1.1 102 Processing"), 102),
    _interim("103 with fields", response(b"HTTP/1.1 103 Early Hints", b"Link: </a>"), 103, source="RFC 8297"),
    _interim("two 103", response(b"HTTP/1.1 103 Early Hints") * 2, 103, 103),
    _interim("a thousand 103", response(b"HTTP/1.1 103 Early Hints") * 1000, *[103] * 1000),
    _interim("a thousand 100", response(b"HTTP/1.1 100 Continue") * 1000),
    _interim("an unknown one", response(b"HTTP/1.1 199 X"), 199),
    _interim("with a length of zero", response(b"HTTP/1.1 103 X", b"Content-Length: 0"), 103, source="RFC 9110 §8.6"),
    ResponseCase(
        "103 with a body",
        INTERIM,
        response(b"HTTP/1.1 103 X", THREE, body=b"abc") + ABC,
        refused(informational=(103,)),
    ),
    ResponseCase(
        "103 with a response for a body",
        INTERIM,
        response(b"HTTP/1.1 103 X", b"Content-Length: %d" % len(EVIL)) + EVIL + ABC,
        relayed(b"evil", informational=(103,), reused=False),
    ),
    ResponseCase("103 and the end", EARLY_END, response(b"HTTP/1.1 103 X"), refused(informational=(103,)), Then.CLOSE),
    ResponseCase(
        "103 and nonsense", INTERIM, response(b"HTTP/1.1 103 X") + b"evil\r\n\r\n", refused(informational=(103,))
    ),
    ResponseCase(
        "101 that nobody asked for",
        "RFC 9110 §7.8",
        response(b"HTTP/1.1 101 X", b"Upgrade: websocket") + ABC,
        refused(),
    ),
    ResponseCase(
        "101 to h2c", "RFC 9110 §7.8", response(b"HTTP/1.1 101 X", b"Connection: Upgrade", b"Upgrade: h2c"), refused()
    ),
)

BYTES_BEHIND = (
    ResponseCase("another response behind a length", BEHIND, ABC + EVIL, relayed(reused=False)),
    ResponseCase(
        "another response behind chunks",
        BEHIND,
        response(OK, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n") + EVIL,
        relayed(reused=False),
    ),
    ResponseCase("one byte behind", BEHIND, ABC + b"X", relayed(reused=False)),
    ResponseCase("an empty line behind", BEHIND, ABC + b"\r\n", relayed(reused=False)),
    ResponseCase(
        "a body behind a length of zero", BEHIND, response(OK, b"Content-Length: 0") + EVIL, relayed(b"", reused=False)
    ),
    ResponseCase("a 1xx behind", BEHIND, ABC + response(b"HTTP/1.1 100 Continue"), relayed(reused=False)),
    ResponseCase("half a response behind", BEHIND, ABC + EVIL[:-2], relayed(reused=False)),
    ResponseCase("another response later", BEHIND, ABC, relayed(reused=False), late=EVIL),
    ResponseCase("one byte later", BEHIND, ABC, relayed(reused=False), late=b"X"),
    ResponseCase("an empty line later", BEHIND, ABC, relayed(reused=False), late=b"\r\n"),
    ResponseCase(
        "a 408 later",
        "RFC 9110 §15.5.9",
        ABC,
        relayed(reused=False),
        late=response(b"HTTP/1.1 408 X", b"Content-Length: 0"),
    ),
    ResponseCase("the end later", "RFC 9112 §9.5", ABC, relayed(reused=False), Then.CLOSE),
    ResponseCase("a reset later", "RFC 9112 §9.5", ABC, relayed(reused=False), Then.RESET),
    ResponseCase("a megabyte behind", BEHIND, ABC + b"x" * 1_000_000, relayed(reused=False)),
)

EARLY_ENDS = (
    ResponseCase("nothing at all", EARLY_END, b"", refused(), Then.CLOSE),
    ResponseCase("half a status line", EARLY_END, b"HTTP/1.", refused(), Then.CLOSE),
    ResponseCase("half a head", EARLY_END, b"HTTP/1.1 200 OK\r\nContent-Le", refused(), Then.CLOSE),
    ResponseCase(
        "a head without its empty line", EARLY_END, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", refused(), Then.CLOSE
    ),
    ResponseCase("half a head and a reset", EARLY_END, b"HTTP/1.1 200 OK\r\n", refused(), Then.RESET),
    ResponseCase(
        "a body that is too short", EARLY_END, response(OK, b"Content-Length: 9", body=b"abc"), cut(), Then.CLOSE
    ),
    ResponseCase("a body that does not come", EARLY_END, response(OK, THREE), cut(b""), Then.CLOSE),
    ResponseCase(
        "a body that ends in a reset", EARLY_END, response(OK, b"Content-Length: 9", body=b"abc"), cut(), Then.RESET
    ),
    ResponseCase(
        "a length that no body has",
        EARLY_END,
        response(OK, b"Content-Length: 999999999999999999", body=b"abc"),
        cut(),
        Then.CLOSE,
    ),
    ResponseCase(
        "an error with a body that is too short",
        EARLY_END,
        response(b"HTTP/1.1 500 X", b"Content-Length: 9", body=b"abc"),
        cut(status=500),
        Then.CLOSE,
    ),
)
