from __future__ import annotations

import hashlib

import pytest

from vrata.policy.balancing.stable_hash import mixed, stable_hash

# Of MurmurHash3's finalizer as published: fmix32 of these numbers.
FINALIZED = {0: 0, 1: 0x514E28B7, 2: 0x30F4C306, 0xFFFFFFFF: 0x81F16F39}


@pytest.mark.parametrize(("number", "expected"), FINALIZED.items())
def test_the_finalizer_is_the_published_one(number: int, expected: int) -> None:
    assert mixed(number) == expected


def test_hashes_are_the_same_for_ever() -> None:
    # Whoever changes the hash moves every session of every installation.
    texts = b"".join(b"%08x" % stable_hash(b"session-%d:route" % number) for number in range(1000))
    assert hashlib.sha256(texts).hexdigest()[:16] == "d31d2b9265b4527e"
    assert stable_hash(b"") == 0


def test_texts_that_differ_in_a_digit_differ_in_half_of_the_bits() -> None:
    changed = [(stable_hash(b"10.0.0.1:%d" % n) ^ stable_hash(b"10.0.0.2:%d" % n)).bit_count() for n in range(2000)]
    assert 15.5 < sum(changed) / len(changed) < 16.5
    assert len({stable_hash(b"10.0.0.1:%d" % n) ^ stable_hash(b"10.0.0.2:%d" % n) for n in range(2000)}) > 1990
