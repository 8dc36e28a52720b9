"""The status of gRPC: its codes, how it is written, and what it is in terms of HTTP and the other way round.

The sources are the gRPC protocol over HTTP/2 ("Responses"), its status codes, and its table from HTTP statuses to
codes. The table says what a client makes of an answer that is not gRPC; where the proxy knows better what has happened
than a status of HTTP can say, the failure names its own code.
"""

from __future__ import annotations

import re
from typing import Final

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
OUT_OF_RANGE: Final = 11
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
UNAUTHENTICATED: Final = 16

NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of the codes, by code."""

_OF_HTTP: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    # Not in the table, which has UNKNOWN for all others. Implementations say this of too much metadata.
    431: RESOURCE_EXHAUSTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}

_IN_HTTP: Final = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 404, 500, 503, 500, 401]
"""By code. As the public definition of the codes has it (``google.rpc.Code``), but for UNIMPLEMENTED, which is 501
there. A client brings it about by asking for what does not exist, like 404; as a failure of the server it would let
every client have endpoints ejected."""

_ENCODED: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")
_MOST_DIGITS: Final = 10
_STATUS_FIELD: Final = b"grpc-status:"
_MESSAGE_FIELD: Final = b"grpc-message:"
_COLON: Final = 58
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def name_of(code: int) -> str:
    """Return the name of *code*, or its digits where it has none."""
    return NAMES[code] if code < len(NAMES) else str(code)


def of_http(status: int) -> int:
    """Return the code that a client of gRPC has for an answer with *status* that says nothing itself."""
    return _OF_HTTP.get(status, UNKNOWN)


def in_http(code: int) -> int:
    """Return the status of HTTP that says the same as *code*, so that calls and requests can be judged alike.

    A code that does not exist is UNKNOWN, as clients take it.
    """
    return _IN_HTTP[code] if 0 <= code < len(_IN_HTTP) else _IN_HTTP[UNKNOWN]


def encoded_message(message: str) -> bytes:
    """Write *message* as the value of ``grpc-message``: percent-encoded UTF-8, and visible ASCII and spaces as such."""
    return _ENCODED.sub(_escape, message.encode("utf-8", "surrogateescape"))


def status_lines(code: int, message: str) -> bytes:
    """Return the lines that tell *code* and *message*, each with its CRLF: of a head, or of trailers."""
    return b"grpc-status: %d\r\ngrpc-message: %s\r\n" % (code, encoded_message(message))


def read_code(values: list[bytes]) -> int:
    """Return the code in the first of *values*, those of ``grpc-status``; -1 where there is none to read."""
    return _code(values[0]) if values else -1


def code_in_trailers(trailers: bytes) -> int:
    """Return the code in *trailers*, lines that each have their CRLF; -1 where there is none to read."""
    return _code(_value(trailers, _STATUS_FIELD))


def read_message(values: list[bytes]) -> str:
    """Return what the first of *values*, those of ``grpc-message``, says; empty where there is none.

    What is no percent-encoding stays as it is, as the protocol demands, and bytes that are not UTF-8 are replaced.
    """
    return _text(values[0]) if values else ""


def message_in_trailers(trailers: bytes) -> str:
    """Return the message in *trailers*, lines that each have their CRLF; empty where there is none."""
    return _text(_value(trailers, _MESSAGE_FIELD))


def _value(trailers: bytes, field: bytes) -> bytes:
    """The first value of *field*, a name in lower case with its colon; empty where there is none."""
    size = len(field)
    for line in trailers.split(b"\r\n"):
        if len(line) >= size and line[size - 1] == _COLON and line[:size].lower() == field:
            return line[size:].strip(b"\t ")
    return b""


def _code(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else -1


def _text(value: bytes) -> str:
    return _ESCAPED.sub(_unescape, value).decode("utf-8", "replace") if value else ""


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def _escape(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]
