"""Bounds on what an expression may be, and on what its evaluation may cost.

Cost is counted in *units*, each worth about a tenth of a microsecond. What stands in the text once is not counted: its
length is bounded. Counted is what values multiply: the elements that a macro visits times the operations it does on
each, and the characters that are searched, compared, decoded or put together.
"""

from typing import Any, Final

LONGEST_EXPRESSION: Final = 16_384
"""Characters of source text."""
DEEPEST_NESTING: Final = 64
"""Brackets, branches and signs that may be open at once."""
DEEPEST_TREE: Final = 100
"""Operations that may wait for each other, each a call on the stack. Operands of one `&&` or `||` are side by side."""
BUDGET: Final = 250_000
"""Units of one evaluation."""
ABSORBED_ERROR: Final = 16
"""Units of an error that did not matter: raising it takes longer than most operations."""
UNKNOWN_ZONE: Final = 1_000
"""Units of finding a time zone that is not known before the evaluation: it may take reading directories."""
TIMESTAMP_TEXT: Final = 30
"""Units of reading a timestamp from a text, or of writing one."""
LONG_TEXT: Final = 256
"""Characters up to which handling a text is not counted beyond the operation itself."""
LONGEST_DYNAMIC_PATTERN: Final = 256
"""Characters of a regular expression that is not known before the evaluation."""
DYNAMIC_PATTERN: Final = 5_000
"""Units of compiling one."""

Frame = list[Any]
"""One evaluation: what it is about, the units left, the decoded body, then the variables of macros."""

VARIABLES: Final = 0
UNITS: Final = 1
RAW_BODY: Final = 2
FIRST_LOCAL: Final = 3


class LimitExceeded(Exception):  # noqa: N818 - what was exceeded is the news
    """The evaluation would cost more than `BUDGET`. It is no EvaluationError, so that nothing absorbs it."""


def charge(frame: Frame, units: int) -> None:
    """Take *units* from what the evaluation has left. Raises LimitExceeded."""
    left = frame[UNITS] - units
    if left < 0:
        raise LimitExceeded(f"the evaluation needs more than {BUDGET} units")
    frame[UNITS] = left


def charge_reading(frame: Frame, size: int) -> None:
    """Charge for going once through *size* characters or bytes."""
    if size > LONG_TEXT:
        charge(frame, size >> 6)


def charge_making(frame: Frame, size: int) -> None:
    """Charge for a new text of *size* characters or bytes: 4 MB in one evaluation at most."""
    if size > LONG_TEXT:
        charge(frame, size >> 4)
