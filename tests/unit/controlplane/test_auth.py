from __future__ import annotations

import pytest

from vrata.controlplane.auth import Authenticator, RefusedError

KEYS = [("deploy", "first-key"), ("console", "second-key")]


@pytest.mark.parametrize(("header", "name"), [(b"Bearer first-key", "deploy"), (b"Bearer second-key", "console")])
def test_every_configured_key_is_known_by_its_name(header: bytes, name: str) -> None:
    assert Authenticator(KEYS).authenticate(header) == name


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing authorization header"),
        (b"", "authorization header must use Bearer scheme"),
        (b"Basic Zm9vOmJhcg==", "authorization header must use Bearer scheme"),
        (b"bearer first-key", "authorization header must use Bearer scheme"),
        (b"Bearer", "authorization header must use Bearer scheme"),
        (b"Bearerfirst-key", "authorization header must use Bearer scheme"),
        (b"Bearer ", "invalid API key"),
        (b"Bearer  first-key", "invalid API key"),
        (b"Bearer first-key ", "invalid API key"),
        (b"Bearer first-ke", "invalid API key"),
        (b"Bearer deploy", "invalid API key"),
        (b"Bearer \xff\xfe", "invalid API key"),
    ],
)
def test_everything_else_is_refused_with_the_reason(header: bytes | None, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        Authenticator(KEYS).authenticate(header)
    assert str(refused.value) == reason


def test_without_keys_it_is_open() -> None:
    assert Authenticator([]).is_open
    assert not Authenticator(KEYS).is_open


def test_keys_do_not_appear_in_its_repr() -> None:
    assert repr(Authenticator(KEYS)) == "<Authenticator 2 keys>"
