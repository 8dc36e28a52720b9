from __future__ import annotations

from hashlib import sha256

from vrata.policy.jwt.claims import VerifiedClaims
from vrata.policy.jwt.token import LONGEST_TOKEN
from vrata.policy.jwt.verified_tokens import MOST_BYTES, MOST_TOKENS, VerifiedTokens


def digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def until(end: float) -> VerifiedClaims:
    return VerifiedClaims({}, 100.0, end)


def test_a_token_is_found_as_long_as_it_counts() -> None:
    tokens = VerifiedTokens()
    tokens.add(digest(1), until(200.0), 10)
    assert tokens.find(digest(1), 150) is not None
    assert tokens.find(digest(2), 150) is None
    assert tokens.find(digest(1), 200) is not None
    assert tokens.find(digest(1), 201) is None
    assert len(tokens) == 0


def test_a_clock_that_is_set_back() -> None:
    tokens = VerifiedTokens()
    tokens.add(digest(1), until(200.0), 10)
    assert tokens.find(digest(1), 99) is None


def test_the_oldest_goes() -> None:
    tokens = VerifiedTokens()
    for number in range(MOST_TOKENS):
        tokens.add(digest(number), until(200.0), 1)
    assert tokens.find(digest(0), 150) is not None
    tokens.add(digest(MOST_TOKENS), until(200.0), 1)
    assert len(tokens) == MOST_TOKENS
    assert tokens.find(digest(1), 150) is None
    assert tokens.find(digest(0), 150) is not None


def test_large_tokens_are_fewer() -> None:
    tokens = VerifiedTokens()
    for number in range(1000):
        tokens.add(digest(number), until(200.0), LONGEST_TOKEN)
    assert 100 < len(tokens) <= MOST_BYTES // (8 * LONGEST_TOKEN)
    assert tokens.find(digest(999), 150) is not None


def test_nothing_is_left() -> None:
    tokens = VerifiedTokens()
    tokens.add(digest(1), until(200.0), 10)
    tokens.clear()
    assert tokens.find(digest(1), 150) is None
    # What it believes to hold is nothing, too: as many fit as before.
    for number in range(MOST_TOKENS):
        tokens.add(digest(number), until(200.0), 1)
    assert len(tokens) == MOST_TOKENS
