"""Patterns: splitting and trimming their text, compiling, and many at once."""

from __future__ import annotations

from typing import Any

import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st

from vrata.expressions.pattern import InvalidPattern, compile_pattern
from vrata.proxy.routing import pattern as module
from vrata.proxy.routing.pattern import (
    PatternSet,
    branches,
    escape,
    literal_prefix,
    without_end,
    without_start_anchor,
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("a|b|", ["a", "b", ""]),
        ("(a|b)|c", ["(a|b)", "c"]),
        ("[|]|b", ["[|]", "b"]),
        ("[]|]|b", ["[]|]", "b"]),
        ("[^]|]|b", ["[^]|]", "b"]),
        (r"[\]|]|b", [r"[\]|]", "b"]),
        ("[[:alpha:]|]|b", ["[[:alpha:]|]", "b"]),
        (r"a\|b|c", [r"a\|b", "c"]),
        (r"\Qa|b\E|c", [r"\Qa|b\E", "c"]),
        (r"a|\Qb|c", ["a", r"\Qb|c\E"]),
        ("((a|b)|c", ["((a|b)|c"]),
        ("[a|b", ["[a|b"]),
        ("a|b\\", ["a", "b\\"]),
    ],
)
def test_branches(pattern: str, expected: list[str]) -> None:
    assert branches(pattern) == expected


@given(st.lists(st.sampled_from([*r"ab|()[]^$\?*QE", "[:alpha:]", r"\Q", r"\E"]), max_size=12).map("".join))
def test_branches_joined_again_mean_the_same(pattern: str) -> None:
    joined = "|".join(branches(pattern))
    try:
        original = compile_pattern(pattern)
    except InvalidPattern:
        with pytest.raises(InvalidPattern):
            compile_pattern(joined)
        return
    again = compile_pattern(joined)
    for text in (b"", b"a", b"b", b"a|b", b"ab", b"(", b"|", b"Q"):
        assert (again.match(text) is None) == (original.match(text) is None)


@example("/a(?i)?")
@example(r"/a\Q\E*b")
@given(st.lists(st.sampled_from([*r"ab/.|()[]^?*+{}2,\-é", "(?i)", "(?:", r"\."]), max_size=10).map("".join))
def test_everything_a_pattern_matches_begins_with_its_literal_prefix(pattern: str) -> None:
    try:
        compiled = compile_pattern(pattern)
    except InvalidPattern:
        return
    prefix = literal_prefix(pattern).encode()
    for text in ("", "a", "b", "aa", "ab", "/", "/a", "a/b", "A", ".", "a.b", "-", "é", "aab", "2", "a2"):
        encoded = text.encode()
        if compiled.match(encoded) is not None:
            assert encoded.startswith(prefix)


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ("^/a", "/a"),
        ("^^/a", "/a"),
        ("/a^", "/a^"),
        ("(?i)^/a", "(?i)/a"),
        ("", ""),
        ("^", ""),
        # A repeated anchor is none that always holds.
        ("^?/a", "^?/a"),
        ("^(?i)*/a", "^(?i)*/a"),
    ],
)
def test_without_start_anchor(branch: str, expected: str) -> None:
    assert without_start_anchor(branch) == expected


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ("/a$", "/a"),
        ("/a/", "/a"),
        ("/a/$", "/a"),
        (r"/a\$", r"/a\$"),
        (r"/a\\$", r"/a\\"),
        (r"/a\/", r"/a\/"),
        ("", ""),
    ],
)
def test_without_end(branch: str, expected: str) -> None:
    assert without_end(branch, "$/") == expected


@given(st.text(max_size=20))
def test_an_escaped_text_matches_itself_alone(text: str) -> None:
    pattern = compile_pattern(f"^(?:{escape(text)})$")

    assert pattern.match(text.encode()) is not None
    assert pattern.match(text.encode() + b"x") is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing )"),
        ("[a", "missing ]"),
        ("(?=a)", "invalid perl operator"),
        ("a{5000}", "repetition"),
        ("\ud800", "UTF-8"),
    ],
)
def test_an_invalid_pattern_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidPattern, match=r"invalid regular expression") as refusal:
        compile_pattern(pattern)

    assert refusal.value.pattern == pattern
    assert reason in refusal.value.reason


def test_a_refusal_writes_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern("(")

    assert capfd.readouterr() == ("", "")


def test_a_pattern_outlives_what_it_was_compiled_with() -> None:
    patterns = [compile_pattern(f"/{number}$") for number in range(200)]

    assert all(pattern.match(b"/%d" % number) is not None for number, pattern in enumerate(patterns))


def built(patterns: list[Any]) -> PatternSet:
    """Make a set, once as it is before it is built: it answers the same."""
    unbuilt, made = PatternSet(patterns), PatternSet(patterns)
    steps = len(list(made.building()))
    assert (steps > 0) is (len(patterns) > 2)
    assert sorted(unbuilt.matching(b"/x3")) == sorted(made.matching(b"/x3"))
    return made


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 9000])
def test_a_set_answers_like_its_patterns_one_by_one(count: int) -> None:
    patterns = built([compile_pattern(f"^(?:/(?:[a-z]+|{number})/x{number % 7})") for number in range(count)])

    assert sorted(patterns.matching(b"/5/x5/y")) == ([5] if count > 5 else [])
    assert sorted(patterns.matching(b"/abc/x3")) == [number for number in range(count) if number % 7 == 3]
    assert patterns.matching(b"") == []
    assert sorted(patterns.matching(b"/" + b"a" * 5000 + b"/x3")) == [n for n in range(count) if n % 7 == 3]


class ExhaustedSet:
    """A set that has no memory left: it answers as if nothing matched, not even the pattern that always does."""

    def __init__(self, options: object) -> None:
        pass

    def Add(self, pattern: bytes) -> None:  # noqa: N802
        pass

    def Compile(self) -> None:  # noqa: N802
        pass

    def Match(self, text: bytes) -> None:  # noqa: N802
        return None


def test_a_set_that_runs_out_of_memory_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re2.Set, "MatchSet", ExhaustedSet)
    patterns = built([compile_pattern(f"^(?:/x{number})") for number in range(10)])

    assert patterns.matching(b"/x3") == [3]


def test_a_set_that_cannot_be_made_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SET_MEMORY", 100)
    patterns = built([compile_pattern(f"^(?:/x{number})") for number in range(10)])

    assert patterns.matching(b"/x3") == [3]
