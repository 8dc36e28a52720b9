"""RE2 patterns: the text operations that composing them needs, and asking many at once.

Compiling one is :func:`vrata.expressions.pattern.compile_pattern`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

from vrata.expressions.pattern import pattern_options

_META: Final = str.maketrans({character: "\\" + character for character in r"\.+*?()|[]{}^$"})
# Pure literals, escaped punctuation included, from the start of a pattern (which never holds user-made repetition
# of this expression itself: the standard library's engine sees only these two plain alternatives).
_LITERALS: Final = re.compile(r"(?:[^\\.+*?()|\[\]{}^$]++|\\[^\w\s])*+", re.ASCII | re.DOTALL)
_FLAGS: Final = re.compile(r"\(\?[a-zA-Z]*(?:-[a-zA-Z]+)?\)")
# What stands between an element and its repetition, and is nothing itself.
_NOTHING: Final = re.compile(r"(?:\(\?[a-zA-Z]*(?:-[a-zA-Z]+)?\)|\\Q\\E)*+")
_MAYBE_NONE: Final = ("*", "?", "{")
_REPETITIONS: Final = (*_MAYBE_NONE, "+")

_SET_WORTH_IT: Final = 3
"""Patterns from which on a set is made. Asking it costs less than asking one pattern; having it costs memory."""
_SET_SIZE: Final = 4096
_SET_PROGRAM: Final = 100_000
"""Instructions in one set: bounds the size of one state of its automaton, of which it must be able to keep twenty."""
_SET_MEMORY: Final = 32 << 20
_SET_TEXT: Final = 512
"""Bytes of text up to which a set is asked. Patterns with several `.*` each can make every byte of a hostile text cost
a new state over all patterns (measured: 7 µs a byte for a hundred of them); single patterns do not suffer from it."""


def escape(text: str) -> str:
    """Return a pattern that matches exactly *text*."""
    return text.translate(_META)


def branches(pattern: str) -> list[str]:
    """Split *pattern* at its top-level alternation bars; an open ``\\Q`` is closed.

    A pattern that RE2 would refuse comes back in some form that RE2 refuses, too.
    """
    if "|" not in pattern and "\\Q" not in pattern:
        return [pattern]
    parts: list[str] = []
    depth = start = at = 0
    size = len(pattern)
    while at < size:
        character = pattern[at]
        if character == "\\":
            if pattern.startswith("\\Q", at):
                end = pattern.find("\\E", at)
                if end < 0:
                    return [*parts, pattern[start:] + "\\E"]
                at = end
            at += 2
            continue
        if character == "[":
            at = _class_end(pattern, at)
            continue
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "|" and depth == 0:
            parts.append(pattern[start:at])
            start = at + 1
        at += 1
    return [*parts, pattern[start:]]


def _class_end(pattern: str, at: int) -> int:
    """Return where the character class that opens at *at* is over."""
    at += 1
    if pattern.startswith("^", at):
        at += 1
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        if pattern[at] == "\\":
            at += 2
        elif pattern.startswith("[:", at) and (end := pattern.find(":]", at)) > 0:
            at = end + 2
        else:
            at += 1
    return at + 1


def without_start_anchor(branch: str) -> str:
    """Drop the ``^`` that a *branch* begins with, after flags if any: composed behind something it never matches."""
    flags = _FLAGS.match(branch)
    head = flags.end() if flags else 0
    rest = branch[head:].lstrip("^")
    # One that is repeated may be left out, and without it the repetition would be an error.
    nothing = _NOTHING.match(rest)
    is_repeated = nothing is not None and rest.startswith(_REPETITIONS, nothing.end())
    return branch if is_repeated else branch[:head] + rest


def begins_with_slash(pattern: str) -> bool:
    """Tell whether every branch of *pattern* visibly begins with a slash."""
    return all(_FLAGS.sub("", branch, count=1).startswith(("/", "\\/")) for branch in branches(pattern))


def without_end(branch: str, dropped: str) -> str:
    """Drop the unescaped characters of *dropped* that a *branch* ends with."""
    while branch and branch[-1] in dropped:
        escapes = len(branch) - 1 - len(branch[:-1].rstrip("\\"))
        if escapes % 2:
            break
        branch = branch[:-1]
    return branch


def literal_prefix(pattern: str) -> str:
    """Return a text that everything *pattern* matches, anchored at its start, begins with; maybe the empty one."""
    if "|" in pattern and len(branches(pattern)) > 1:
        return ""
    pattern = pattern.lstrip("^")
    found = _LITERALS.match(pattern)
    literals = found.group() if found else ""
    nothing = _NOTHING.match(pattern, len(literals))
    assert nothing is not None
    if pattern.startswith(_MAYBE_NONE, nothing.end()):
        # The last literal is optional. It goes whole: an escaped one is two characters.
        literals = re.sub(r"(?:\\.|.)\Z", "", literals, flags=re.DOTALL)
    return re.sub(r"\\(.)", r"\1", literals, flags=re.DOTALL) if "\\" in literals else literals


class PatternSet:
    """Tells which of many compiled patterns match a text from its start, at about the cost of asking one.

    Sets of RE2 do it in one pass. They answer the same when nothing matches and when they ran out of memory; a last
    pattern that always matches tells the two apart, and then the patterns are asked one by one.
    """

    __slots__ = ("_patterns", "_sets")

    def __init__(self, patterns: Sequence[Any]) -> None:
        self._patterns = tuple(patterns)
        self._sets: tuple[tuple[int, int, Any], ...] = ()

    def building(self) -> Iterator[None]:
        """Make the sets, one a step; without them the answers are the same, and take longer."""
        if len(self._patterns) < _SET_WORTH_IT:
            return
        sets = []
        for start, end in self._chunks():
            sets.append((start, end, self._set(start, end)))
            yield
        self._sets = tuple(sets)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        start = program = 0
        for at, pattern in enumerate(self._patterns):
            program += pattern.programsize
            if at > start and (program > _SET_PROGRAM or at - start >= _SET_SIZE):
                yield start, at
                start, program = at, pattern.programsize
        yield start, len(self._patterns)

    def _set(self, start: int, end: int) -> Any | None:
        options = pattern_options()
        options.never_capture = True
        options.max_mem = _SET_MEMORY
        patterns = re2.Set.MatchSet(options)
        try:
            for pattern in self._patterns[start:end]:
                patterns.Add(pattern.pattern)
            patterns.Add(b"")
            patterns.Compile()
        except re2.error:
            return None
        return patterns

    def matching(self, text: bytes) -> list[int]:
        """Return the positions of the patterns that match *text* from its start, in any order."""
        if not self._sets or len(text) > _SET_TEXT:
            return self._one_by_one(text, 0, len(self._patterns))
        found: list[int] = []
        for start, end, patterns in self._sets:
            hits = patterns.Match(text) if patterns is not None else None
            if hits is None:
                found += self._one_by_one(text, start, end)
            else:
                found += [start + hit for hit in hits if start + hit < end]
        return found

    def _one_by_one(self, text: bytes, start: int, end: int) -> list[int]:
        patterns = self._patterns
        return [at for at in range(start, end) if patterns[at].match(text) is not None]
