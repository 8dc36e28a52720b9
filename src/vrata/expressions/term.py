"""Terms: parts of an expression that are compiled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from vrata.expressions.limits import Frame
from vrata.expressions.types import Type

Code = Callable[[Frame], Any]
"""Computes a value in a frame. Raises EvaluationError when there is none, LimitExceeded when it costs too much."""

Entry = tuple[Callable[[Frame, str], str | None], str]
"""How to look an entry up, and its name; what it gives is None when there is no such entry."""

NOT_CONSTANT: Final = object()


@dataclass(frozen=True)
class Term:
    """A part of an expression that has a value."""

    type: Type
    run: Code
    weight: int = 1
    """Operations of one evaluation; what macros repeat counts once here."""
    constant: Any = NOT_CONSTANT
    """The value, if it is always the same."""
    entry: Entry | None = None
    """Of a term that is an entry with a constant name."""
    verdict: Code | None = None
    """Says what is true of the value, too, but false, and no error, where an entry is absent: errors cost more."""

    @property
    def is_constant(self) -> bool:
        """Whether the value is always the same."""
        return self.constant is not NOT_CONSTANT


def constant(type_: Type, value: Any) -> Term:
    """Return a term that always has *value*."""
    return Term(type_, lambda frame: value, 1, value)
