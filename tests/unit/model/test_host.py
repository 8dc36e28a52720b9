"""Authorities: hosts with and without a port."""

from __future__ import annotations

import pytest

from vrata.model.host import check_authority


@pytest.mark.parametrize(
    "text",
    ["a", "a.example", "A.Example.", "my_service:80", "10.0.0.1", "10.0.0.1:65535", "[::1]", "[2001:db8::1]:1"],
)
def test_an_authority(text: str) -> None:
    check_authority(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":80", "a:", "a:0", "a:65536", "a:080000", "a:+1", "a: 1", "a:80:80"),
        *("::1", "[::1", "::1]", "[::1]80", "[]", "[a]", "[10.0.0.1]", "[::g]", "[:]", "[fe80::1%eth0]"),
        *(
            "a/b",
            "https://a",
            "a?b",
            "a#b",
            "user@a",
            "a\\b",
            "a b",
            "a\r\nb",
            "a\n",
            "é.example",
            "a..b",
            "-a",
            "10.0.0.256",
        ),
    ],
)
def test_no_authority(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        check_authority(text)
