"""CEL expressions: for now, whether a text is one.

An *expression* is CEL source text in an entity. `check` tells whether the text is well-formed; evaluating it on
a request is not part of this build. Flow: entity text → `check` → nothing, or an `ExpressionError`.
"""

from vrata.expressions.errors import ExpressionError, Position
from vrata.expressions.syntax import LONGEST_EXPRESSION, check

__all__ = ["LONGEST_EXPRESSION", "ExpressionError", "Position", "check"]
