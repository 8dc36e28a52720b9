"""Content-Length and Transfer-Encoding in one request: the classic of request smuggling."""

from __future__ import annotations

from tests.robustness.case import SMUGGLED, Case, forwarded, refused, request
from tests.robustness.message import Message

POST = b"POST / HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
RULE = "RFC 9112 §6.3 rule 3"

CASES = (
    Case(
        "CL.TE: prefix behind the last chunk",
        f"{RULE}; Linhart et al. 2005, Kettle 2019",
        request(POST, b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG"),
        refused(),
    ),
    Case(
        "CL.TE: whole request behind the last chunk",
        f"{RULE}; Linhart et al. 2005",
        request(POST, b"Content-Length: %d" % (5 + len(SMUGGLED)), CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL.TE: GPOST",
        f"{RULE}; Kettle 2019",
        request(POST, b"Content-Length: 10", CHUNKED, body=b"0\r\n\r\nGPOST") + request(POST, b"Content-Length: 0"),
        refused(),
    ),
    Case(
        "CL.TE: length that leaves the chunks out",
        f"{RULE}; Linhart et al. 2005",
        request(POST, b"Content-Length: 0", CHUNKED, body=b"5\r\nabcde\r\n0\r\n\r\n"),
        refused(),
    ),
    Case(
        "TE.CL: request within a chunk",
        f"{RULE}; Kettle 2019",
        request(POST, b"Content-Length: 4", CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
        refused(),
    ),
    Case(
        "TE.CL: GPOST within a chunk",
        f"{RULE}; Kettle 2019",
        request(POST, b"Content-Length: 4", CHUNKED, body=b"12\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
        refused(),
    ),
    Case(
        "TE before CL",
        RULE,
        request(POST, CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "TE and CL that agree on the end",
        f"{RULE}; a proxy may pass this on without Content-Length, Vrata does not",
        request(POST, b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"),
        refused(),
    ),
    Case(
        "TE between two equal CL",
        f"{RULE}; RFC 9112 §6.3 rule 5",
        request(POST, b"Content-Length: 5", CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"),
        refused(),
    ),
    Case(
        "TE with a CL that is no number",
        f"{RULE}; HTTP Garden 2024",
        request(POST, b"Content-Length: x", CHUNKED, body=b"0\r\n\r\n"),
        refused(),
    ),
    Case(
        "TE with an empty CL",
        f"{RULE}; HTTP Garden 2024",
        request(POST, b"Content-Length:", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL with TE identity",
        "RFC 9112 §6.1; RFC 7230 dropped identity",
        request(POST, b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL with an empty TE",
        "RFC 9112 §6.1",
        request(POST, b"Content-Length: 5", b"Transfer-Encoding:", body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL with an unknown TE",
        "RFC 9112 §6.1; TE.TE, Kettle 2019",
        request(POST, b"Content-Length: 5", b"Transfer-Encoding: cow", body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL with TE in HTTP/1.0",
        "RFC 9112 §6.1",
        request(b"POST / HTTP/1.0", b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL with TE in a GET",
        RULE,
        request(b"GET / HTTP/1.1", b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "CL with TE in an OPTIONS",
        f"{RULE}; TE.0, Arnolfo, Pinnola and Leone 2024",
        request(b"OPTIONS / HTTP/1.1", b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        refused(),
    ),
    Case(
        "TE.0: chunks in an OPTIONS",
        "RFC 9112 §6.3 rule 4; Arnolfo, Pinnola and Leone 2024",
        request(b"OPTIONS / HTTP/1.1", CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
        forwarded(Message(b"OPTIONS", b"/", content=SMUGGLED)),
    ),
    Case(
        "nothing but TE",
        "RFC 9112 §6.3 rule 4",
        request(POST, CHUNKED, body=b"5\r\nabcde\r\n0\r\n\r\n"),
        forwarded(Message(b"POST", b"/", content=b"abcde")).lacking(b"content-length"),
    ),
    Case(
        "nothing but CL",
        "RFC 9112 §6.3 rule 6",
        request(POST, b"Content-Length: 5", body=b"0\r\n\r\n"),
        forwarded(Message(b"POST", b"/", content=b"0\r\n\r\n")).lacking(b"transfer-encoding"),
    ),
    Case(
        "neither, with bytes of a body",
        "RFC 9112 §6.3 rule 7; CL.0, Kettle 2022",
        request(POST, body=SMUGGLED),
        forwarded(Message(b"POST", b"/"), Message(b"GET", b"/smuggled", b"evil.test")),
    ),
)
