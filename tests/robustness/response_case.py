"""One case of the corpus of responses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.robustness.scripted_upstream import Then


class Fate(Enum):
    """What becomes of a response."""

    RELAYED = "the client gets it whole"
    REFUSED = "the client gets a 502 of the proxy"
    CUT = "the client gets a part and then a reset"


@dataclass(frozen=True, slots=True)
class ExpectedResponse:
    """What has to become of the backend's bytes."""

    fate: Fate
    status: int
    content: bytes = b""
    """What the client gets of the body; when it is cut, at most."""
    informational: tuple[int, ...] = ()
    """1xx responses that the client gets before."""
    reused: bool = True
    """Whether the upstream connection serves another request."""
    may_be_refused: bool = False
    """A body that is cut when its head is on its way already, and refused when it came with the head."""
    carries: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    """Fields and all their values."""
    lacks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseCase:
    """Bytes of a backend. *source* is the rule or the published technique that they stand for."""

    name: str
    source: str
    data: bytes
    expected: ExpectedResponse
    then: Then = Then.STAY
    method: bytes = b"GET"
    late: bytes = b""
    """What the backend sends when the client has had its answer."""


def relayed(
    content: bytes = b"abc",
    status: int = 200,
    *,
    informational: tuple[int, ...] = (),
    reused: bool = True,
    carries: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (),
    lacks: tuple[bytes, ...] = (),
) -> ExpectedResponse:
    """The client gets it."""
    return ExpectedResponse(Fate.RELAYED, status, content, informational, reused, carries=carries, lacks=lacks)


def refused(*, informational: tuple[int, ...] = ()) -> ExpectedResponse:
    """The client gets a 502, and the connection to the backend is closed."""
    return ExpectedResponse(Fate.REFUSED, 502, informational=informational, reused=False)


def cut(content: bytes = b"abc", status: int = 200) -> ExpectedResponse:
    """The head and at most *content* are relayed, then the client's connection is cut."""
    return ExpectedResponse(Fate.CUT, status, content, reused=False)


def broken(content: bytes = b"abc", status: int = 200) -> ExpectedResponse:
    """The same, or a 502 when the head was not on its way yet."""
    return ExpectedResponse(Fate.CUT, status, content, reused=False, may_be_refused=True)


def response(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """The bytes of a response; *fields* are lines without their ends, and *body* is framed as they say."""
    return b"".join(text + b"\r\n" for text in [line, *fields, b""]) + body
