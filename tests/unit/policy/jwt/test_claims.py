from __future__ import annotations

from typing import Any

import pytest

from tests.support.tokens import ISSUER, NOW, claims
from vrata.policy.jwt.claims import ClaimRules
from vrata.policy.jwt.refusal import Fault, TokenRefused

EXACT = ClaimRules(ISSUER, (), 0.0)
SKEWED = ClaimRules(ISSUER, (), 30.0)
SHOP = ClaimRules(ISSUER, ("shop", "web"), 0.0)


def refusal(rules: ClaimRules, content: dict[str, Any], now: int = NOW) -> str:
    with pytest.raises(TokenRefused) as refused:
        rules.verified(content, now)
    assert refused.value.fault is Fault.VALIDATION
    return refused.value.detail


@pytest.mark.parametrize("issuer", [None, "", "https://issuer.example/", "HTTPS://issuer.example", 1, [ISSUER]])
def test_the_issuer_is_one(issuer: object) -> None:
    assert "issuer" in refusal(EXACT, claims(iss=issuer))


@pytest.mark.parametrize("audience", ["shop", "web", ["web"], ["other", "shop"], [1, None, ["shop"], "shop"]])
def test_audiences_that_are_meant(audience: object) -> None:
    assert SHOP.verified(claims(aud=audience), NOW).claims["aud"] == audience


@pytest.mark.parametrize("audience", [None, "", "Shop", "shop web", [], ["other"], {"shop": 1}, 5, [["shop"]], True])
def test_audiences_that_are_not_meant(audience: object) -> None:
    assert "it is for" in refusal(SHOP, claims(aud=audience))
    EXACT.verified(claims(aud=audience), NOW)


@pytest.mark.parametrize("expiry", [NOW, NOW + 1, float(NOW), NOW + 0.5, 1e300, 2**62])
def test_expiries_to_come(expiry: float) -> None:
    assert EXACT.verified(claims(exp=expiry), NOW).hold_at(NOW)


@pytest.mark.parametrize("expiry", [NOW - 1, NOW - 0.5, 0, -1, -1e300])
def test_expiries_that_are_over(expiry: float) -> None:
    assert "expired" in refusal(EXACT, claims(exp=expiry))


@pytest.mark.parametrize("expiry", [str(NOW + 60), True, [NOW + 60], {"at": NOW + 60}, ""])
def test_expiries_that_are_no_numbers(expiry: object) -> None:
    assert refusal(EXACT, claims(exp=expiry)) == "its exp is no number"
    assert refusal(EXACT, claims(nbf=expiry)) == "its nbf is no number"


def test_an_expiry_is_there() -> None:
    assert "when it expires" in refusal(EXACT, claims(exp=None))
    assert "when it expires" in refusal(EXACT, {"iss": ISSUER, "exp": None})


def test_not_before() -> None:
    EXACT.verified(claims(nbf=NOW), NOW)
    assert "not to be used before" in refusal(EXACT, claims(nbf=NOW + 1))
    assert "not to be used before" in refusal(EXACT, claims(nbf=NOW + 0.5))


def test_clocks_that_differ() -> None:
    for content, now in ((claims(exp=NOW), NOW + 30), (claims(nbf=NOW), NOW - 30)):
        verified = SKEWED.verified(content, now)
        assert verified.hold_at(now)
        assert not verified.hold_at(now + 1 if now > NOW else now - 1)
    assert "expired" in refusal(SKEWED, claims(exp=NOW), NOW + 31)
    assert "before" in refusal(SKEWED, claims(nbf=NOW), NOW - 31)


def test_a_detail_stays_short() -> None:
    assert len(refusal(SHOP, claims(aud="x" * 10_000))) < 200
