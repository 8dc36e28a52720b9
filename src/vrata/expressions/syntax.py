"""Syntax of CEL, judged by cel-python's grammar."""

from functools import cache, lru_cache
from typing import Any

from vrata.expressions.errors import ExpressionError, Position

LONGEST_EXPRESSION = 16_384
"""Characters. The parser needs about 6 µs for each, and whoever may write entities chooses the text."""


def check(text: str) -> None:
    """Pass if `text` is a well-formed CEL expression.

    Only the syntax is judged: unknown variables, unknown functions and type errors show when it is evaluated.

    Raises:
        ExpressionError: with the position of the first token that does not fit.

    """
    failure = _failure(text)
    if failure is not None:
        position, reason = failure
        raise ExpressionError(position, reason)


@lru_cache(maxsize=16_384)
def _failure(text: str) -> tuple[Position, str] | None:
    """Cached because a snapshot repeats what every write of an entity has already checked."""
    if not text.strip():
        return Position(1, 1), "the expression is empty"
    if len(text) > LONGEST_EXPRESSION:
        return Position(1, 1), f"the expression has {len(text)} characters, at most {LONGEST_EXPRESSION} are allowed"

    from celpy.celparser import CELParseError
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    try:
        _parser().parse(text)
    except CELParseError as error:
        match error.__context__:
            case UnexpectedToken(token=token) if token.type == "$END":
                return _end_of(text), "the expression ends too early"
            case UnexpectedToken(token=token, line=line, column=column):
                return Position(line, column), f'unexpected "{token}"'
            case UnexpectedCharacters(char=char, line=line, column=column):
                if char in "\"'":
                    return Position(line, column), "the string is not closed"
                return Position(line, column), f"unexpected character {char!r}"
            case _:
                return Position(1, 1), str(error.args[0])
    return None


def _end_of(text: str) -> Position:
    lines = text.rstrip().split("\n")
    return Position(len(lines), len(lines[-1]) + 1)


@cache
def _parser() -> Any:
    # Loading the grammar takes about half a second, and most processes never meet an expression.
    from celpy.celparser import CELParser

    return CELParser()
