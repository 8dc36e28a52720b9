"""Compiled RE2 patterns.

RE2 is the only regular expression engine for anything a user or a client wrote: its time is linear in the text,
whatever the pattern. Texts are matched as UTF-8 bytes, because the binding would otherwise convert every offset.
"""

from typing import Any, Final

import re2

LONGEST_PATTERN: Final = 4096
"""Characters that a configuration may state. To find that one is too large takes 0.2 s and 25 MiB at most."""
LARGEST_PROGRAM: Final = 2500
"""Instructions, of the kind that :attr:`programsize` counts, that what a configuration states may compile to.

The worst patterns take about 7 ns for each instruction and byte: 0.15 s for the longest path. Usual ones have under 200
instructions, and take 2 ns for each byte.
"""
_MEMORY: Final = 1 << 20
"""Bytes that a compiled pattern may take: a quarter for its program, the rest for what matching remembers."""


class InvalidPattern(ValueError):  # noqa: N818 - what the user gave is invalid, the program did not err
    """A regular expression that RE2 does not accept.

    ``pattern`` is the text that failed, ``reason`` what RE2 says of it.
    """

    def __init__(self, pattern: str, reason: str) -> None:
        super().__init__(f"invalid regular expression {pattern!r}: {reason}")
        self.pattern = pattern
        self.reason = reason


def pattern_options() -> Any:
    """Return RE2's options, with errors not written to the process's standard error."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


_CAPTURING: Final = pattern_options()
_PLAIN: Final = pattern_options()
# Without groups a match needs no more than the automaton that finds its end.
_PLAIN.never_capture = True


def check_pattern(pattern: str) -> None:
    """Demand what a configuration may state: a pattern that compiles and is of bearable size. Raises InvalidPattern."""
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidPattern(pattern, f"is longer than {LONGEST_PATTERN} characters")
    size = compile_pattern(pattern).programsize
    if size > LARGEST_PROGRAM:
        raise InvalidPattern(
            pattern,
            f"compiles to {size} instructions, at most {LARGEST_PROGRAM} are allowed: repetitions count as often as "
            "they may occur, and classes of characters by their ranges",
        )


def compile_pattern(pattern: str, *, capture: bool = False) -> Any:
    """Compile *pattern* for matching bytes; groups are kept only with *capture*. Raises InvalidPattern.

    Of its size only the memory is bounded, with room for a pattern made of two that :func:`check_pattern` accepts.
    """
    try:
        text = pattern.encode()
    except UnicodeEncodeError:
        raise InvalidPattern(pattern, "not encodable as UTF-8") from None
    options = _CAPTURING if capture else _PLAIN
    # A filter compiles what it is given, and gives it back, three times as fast as `re2.compile` (9 µs to 27), whose
    # cache has room for 128 patterns and reads every option twice. But it does not say what is wrong.
    maker = re2.Filter()
    try:
        maker.Add(text, options)
    except re2.error:
        raise InvalidPattern(pattern, _reason(text, options)) from None
    return maker.re(0)


def _reason(pattern: bytes, options: Any) -> str:
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return "not accepted"
