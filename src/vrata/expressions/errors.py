"""What is wrong with an expression, and where."""

from typing import NamedTuple


class Position(NamedTuple):
    """A place in the source text; line and column both count from 1."""

    line: int
    column: int


class ExpressionError(ValueError):
    """The text is not a well-formed CEL expression."""

    def __init__(self, position: Position, reason: str) -> None:
        super().__init__(f"line {position.line}, column {position.column}: {reason}")
        self.position = position
        self.reason = reason
