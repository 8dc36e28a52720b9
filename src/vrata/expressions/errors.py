"""What is wrong with an expression, and where."""

from typing import NamedTuple


class Position(NamedTuple):
    """A place in the source text; line and column both count from 1, columns in characters."""

    line: int
    column: int


class InvalidExpression(ValueError):  # noqa: N818 - what the user gave is invalid, the program did not err
    """The text is not an expression that can be evaluated: syntax, names or types are wrong.

    ``position`` is where, ``reason`` what; the message has both.
    """

    def __init__(self, position: Position, reason: str) -> None:
        super().__init__(f"line {position.line}, column {position.column}: {reason}")
        self.position = position
        self.reason = reason


class EvaluationError(Exception):
    """An expression has no value for what it was evaluated on; the message says why.

    `&&`, `||`, `all` and `exists` absorb it where their other operands decide, as the language defines.
    """


def position_of(text: str, offset: int) -> Position:
    """Return the position of the character at *offset*."""
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
