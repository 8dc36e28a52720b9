import pytest

from vrata.policy.header_mutation import (
    ADD_IF_ABSENT,
    APPEND,
    REPLACE,
    REPLACE_IF_PRESENT,
    FieldEdit,
    HeaderMutation,
    InvalidMutation,
    field_lines,
    settled,
)
from vrata.policy.header_rules import HeaderRules

ALL = HeaderRules()


def outcome(
    *edits: FieldEdit, removals: tuple[bytes, ...] = (), present: tuple[bytes, ...] = (), rules: HeaderRules = ALL
) -> tuple[set[bytes], bytes]:
    found = settled(HeaderMutation(removals, edits), rules, present)
    return found.removed, found.added


def test_that_removals_come_first_and_sets_replace() -> None:
    assert outcome(FieldEdit(b"X-A", b"1"), removals=(b"X-A", b"x-b")) == ({b"x-a", b"x-b"}, b"x-a: 1\r\n")


def test_that_the_last_of_two_sets_holds() -> None:
    assert outcome(FieldEdit(b"x-a", b"1"), FieldEdit(b"X-A", b"2")) == ({b"x-a"}, b"x-a: 2\r\n")


@pytest.mark.parametrize(
    ("action", "present", "removals", "removed", "added"),
    [
        (REPLACE, (), (), {b"x-a"}, b"x-a: 1\r\n"),
        (REPLACE, (b"x-a",), (), {b"x-a"}, b"x-a: 1\r\n"),
        (APPEND, (), (), set(), b"x-a: 1\r\n"),
        (APPEND, (b"x-a",), (), set(), b"x-a: 1\r\n"),
        (ADD_IF_ABSENT, (), (), {b"x-a"}, b"x-a: 1\r\n"),
        (ADD_IF_ABSENT, (b"x-a",), (), set(), b""),
        (ADD_IF_ABSENT, (b"x-a",), (b"x-a",), {b"x-a"}, b"x-a: 1\r\n"),
        (REPLACE_IF_PRESENT, (), (), set(), b""),
        (REPLACE_IF_PRESENT, (b"x-a",), (), {b"x-a"}, b"x-a: 1\r\n"),
        (REPLACE_IF_PRESENT, (b"x-a",), (b"x-a",), {b"x-a"}, b""),
    ],
)
def test_what_each_action_does(
    action: int, present: tuple[bytes, ...], removals: tuple[bytes, ...], removed: set[bytes], added: bytes
) -> None:
    assert outcome(FieldEdit(b"x-a", b"1", action), present=present, removals=removals) == (removed, added)


def test_that_appended_values_stand_beside_one_that_was_set() -> None:
    edits = (FieldEdit(b"set-cookie", b"a=1"), FieldEdit(b"Set-Cookie", b"b=2", APPEND))
    assert outcome(*edits) == ({b"set-cookie"}, b"set-cookie: a=1\r\nset-cookie: b=2\r\n")


def test_that_what_is_not_allowed_stays_as_it_is() -> None:
    rules = HeaderRules(("x-*",), ("x-secret",))
    edits = (FieldEdit(b"x-a", b"1"), FieldEdit(b"x-secret", b"2"), FieldEdit(b"cookie", b"3"))
    assert outcome(*edits, removals=(b"x-b", b"X-Secret", b"cookie"), rules=rules) == ({b"x-a", b"x-b"}, b"x-a: 1\r\n")


def test_that_nobody_changes_what_the_proxy_itself_writes() -> None:
    names = (b":path", b":status", b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection")
    assert outcome(*(FieldEdit(name, b"1") for name in names), removals=names) == (set(), b"")


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"", b""), (b"x a", b""), (b"x:a", b""), (b"x\r\n", b""), ("ü".encode(), b"")]
    + [(b"x-a", value) for value in (b"1\r\nx-b: 2", b"1\n", b"\0", b"\x7f")],
)
def test_that_what_is_no_field_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(InvalidMutation):
        outcome(FieldEdit(name, value))


def test_that_white_space_around_values_goes_and_other_bytes_stay() -> None:
    assert outcome(FieldEdit(b"x-a", b" \t\xc3\xbc a\t "))[1] == b"x-a: \xc3\xbc a\r\n"


def test_that_the_lines_of_an_own_answer_have_no_framing_of_others() -> None:
    edits = (FieldEdit(b"Content-Length", b"7"), FieldEdit(b"X-A", b"1"), FieldEdit(b"x-a", b"2", APPEND))
    assert field_lines(edits) == b"x-a: 1\r\nx-a: 2\r\n"
