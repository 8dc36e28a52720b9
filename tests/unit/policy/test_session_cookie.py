from __future__ import annotations

import pytest

from vrata.policy.session_cookie import SessionCookie

PIN = SessionCookie("pin", 3600.0)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([], b""),
        ([b"pin=a"], b"a"),
        ([b"x=1; pin=a; y=2"], b"a"),
        ([b"x=1;pin=a;y=2"], b"a"),
        ([b"pin=a; pin=b"], b"a"),
        ([b"x=1", b"y=2; pin=b"], b"b"),
        ([b"pin="], b""),
        ([b"pin=; pin=b"], b"b"),
        ([b"pin"], b""),
        ([b'pin="a"'], b"a"),
        ([b"pin=a=b"], b"a=b"),
        ([b"PIN=a"], b""),
        ([b"spin=a; pins=b"], b""),
        ([b"x=pin=a"], b""),
        ([b"pin=\xff\xfe"], b"\xff\xfe"),
    ],
)
def test_its_value(fields: list[bytes], value: bytes) -> None:
    assert PIN.value(fields) == value


def test_the_line_that_sets_it() -> None:
    assert PIN.line(b"ab", secure=False) == b"set-cookie: pin=ab; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax\r\n"
    assert (
        PIN.line(b"ab", secure=True) == b"set-cookie: pin=ab; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure\r\n"
    )


def test_its_age_is_in_whole_seconds() -> None:
    assert b"; Max-Age=1;" in SessionCookie("pin", 1.9).line(b"", secure=False)


@pytest.mark.parametrize("value", [b"A-z_09", b"x" * 128])
def test_a_strict_one_has_what_could_be_ours(value: bytes) -> None:
    assert SessionCookie("pin", 60, is_strict=True).value([b"pin=" + value]) == value


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"a:b", b"a b", b"a.b", b"\xc3\xa9", b"*", b"a\tb", b"a%0d"])
def test_a_strict_one_has_nothing_else(value: bytes) -> None:
    assert SessionCookie("pin", 60, is_strict=True).value([b"pin=" + value]) == b""
