import pytest

from vrata.policy.header_rules import HeaderRules, is_untouchable


@pytest.mark.parametrize(
    ("allow", "deny", "allowed", "denied"),
    [
        ((), (), (b"x-a", b"cookie"), ()),
        (("X-A",), (), (b"x-a",), (b"x-ab", b"x", b"cookie")),
        (("x-*",), (), (b"x-a", b"x-"), (b"x", b"ax-")),
        (("*",), ("cookie",), (b"x-a",), (b"cookie",)),
        ((), ("X-Secret-*", "cookie"), (b"x-secret", b"cookies"), (b"x-secret-key", b"cookie")),
        (("x-*",), ("x-a",), (b"x-b",), (b"x-a", b"b")),
        (("x-a",), ("x-*",), (), (b"x-a", b"b")),
    ],
)
def test_that_a_denied_name_is_denied_even_where_it_is_allowed(
    allow: tuple[str, ...], deny: tuple[str, ...], allowed: tuple[bytes, ...], denied: tuple[bytes, ...]
) -> None:
    rules = HeaderRules(allow, deny)
    assert [name for name in allowed if not rules.allow(name)] == []
    assert [name for name in denied if rules.allow(name)] == []


def test_that_pseudo_headers_framing_and_host_are_the_proxys_own() -> None:
    names = (b":path", b":status", b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"upgrade")
    assert all(is_untouchable(name) for name in names)
    assert not any(is_untouchable(name) for name in (b"x-host", b"content-type", b"set-cookie", b"authorization"))
