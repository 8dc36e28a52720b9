"""Signed tokens: what is read is what a general reader of JSON and base64 finds as well, and nothing verifies."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from vrata.policy.jwt.refusal import TokenRefused
from vrata.policy.jwt.token import LONGEST_TOKEN, read_token

DICTIONARY = (
    b".",
    b"eyJ",
    b'{"alg":"',
    b'"kid":',
    b"none",
    b"HS256",
    b"RS256",
    b"\\u0000",
    b"NaN",
    b"1e999",
    b"=",
    b"-_",
)


def seeds() -> Iterator[bytes]:
    """Tokens that are read, and some that are not quite."""
    for header in ('{"alg":"RS256","kid":"a"}', '{"alg":"none"}', '{"alg":"ES256","crit":["x"]}', '{"alg":1}', "[]"):
        for claims in ('{"exp":1,"iss":"a","aud":["b"]}', '{"exp":1,"exp":2}', '{"exp":NaN}', "{}"):
            yield b".".join((_part(header.encode()), _part(claims.encode()), _part(b"signature")))
    yield b"a.b"
    yield b"a.b.c.d"


def check(data: bytes) -> None:
    """Raise ``AssertionError`` where a token is read that means something else to others, or more than may be."""
    try:
        token = read_token(data)
    except TokenRefused:
        return
    assert len(data) <= LONGEST_TOKEN
    header, claims, signature = data.split(b".")
    assert token.signed == header + b"." + claims
    assert _part(token.signature) == signature
    assert json.loads(_decoded(header))["alg"] == token.algorithm
    assert json.loads(_decoded(header)).get("kid") == token.kid
    assert json.loads(_decoded(claims)) == token.claims


def _part(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
