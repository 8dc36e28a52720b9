"""Whatever is taken for a good token here, PyJWT takes for one as well; and the other way around where both mean to."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tokens import ALGORITHMS, ISSUER, Issuer, base64url, jwks
from vrata.policy.jwt.claims import ClaimRules
from vrata.policy.jwt.key_set import Verdict, read_key_set
from vrata.policy.jwt.refusal import TokenRefused
from vrata.policy.jwt.token import read_token

KINDS = ("RS256", "PS384", "ES256", "ES512", "EdDSA")
KEYS = {name: read_key_set(jwks(Issuer(name, kid="a").jwk)) for name in KINDS}
RULES = ClaimRules(ISSUER, ("shop",), 0.0)

SOON, LATE = 1000, -1000
"""Seconds from now."""
numbers = st.sampled_from([SOON, LATE]).map(lambda seconds: int(time.time()) + seconds)
sane_claims = st.fixed_dictionaries(
    {
        "iss": st.sampled_from([ISSUER, "https://other.example"]),
        "aud": st.sampled_from(["shop", "other", ["shop", "web"], ["web"], []]),
        "exp": numbers,
    },
    optional={"nbf": numbers, "name": st.text(max_size=5)},
)
odd = st.none() | st.booleans() | st.text(max_size=5) | numbers.map(str) | st.lists(st.just("shop"), max_size=1)
odd_claims = st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "aud", "exp", "nbf"), odd | numbers))


def is_good(name: str, token: bytes) -> bool:
    try:
        read = read_token(token)
        RULES.verified(read.claims, int(time.time()))
    except TokenRefused:
        return False
    return KEYS[name].verdict(read) is Verdict.SIGNED


def is_good_to_pyjwt(name: str, token: bytes) -> bool:
    try:
        jwt.decode(
            token,
            Issuer(name).key.public_key(),
            algorithms=[name],
            issuer=ISSUER,
            audience="shop",
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.InvalidTokenError:
        return False
    return True


@settings(max_examples=60)
@given(st.sampled_from(KINDS), sane_claims, st.sampled_from([0, 1]))
def test_both_agree_on_what_issuers_make(name: str, content: dict[str, Any], number: int) -> None:
    token = Issuer(name, kid="a", number=number).token(content)
    assert is_good(name, token) == is_good_to_pyjwt(name, token)


@settings(max_examples=120)
@given(st.data())
def test_nothing_is_good_here_alone(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(KINDS))
    signer = Issuer(data.draw(st.sampled_from([name, *KINDS])), number=data.draw(st.sampled_from([0, 0, 1])))
    header = {"alg": data.draw(st.sampled_from([name, "none", "HS256", *ALGORITHMS])), "kid": "a"}
    content = data.draw(sane_claims) | data.draw(odd_claims)
    token = signer.sign(json.dumps(header).encode(), json.dumps(content).encode())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(token) - 1))
        token = token[:at] + data.draw(st.sampled_from([b"", b"A", b".", b"=", b"-"])) + token[at + 1 :]
    if data.draw(st.integers(0, 9)) == 0:
        token = token.rpartition(b".")[0] + b"." + base64url(data.draw(st.binary(max_size=80)))
    assert not is_good(name, token) or is_good_to_pyjwt(name, token)
