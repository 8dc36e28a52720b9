"""Compiled expressions."""

from functools import lru_cache
from typing import Any, Final

from vrata.expressions.compiler import Compiler
from vrata.expressions.environment import CLAIMS, REQUEST, Environment
from vrata.expressions.errors import EvaluationError
from vrata.expressions.limits import BUDGET, Frame, LimitExceeded
from vrata.expressions.logic import decision
from vrata.expressions.parser import parse
from vrata.expressions.request import ClaimsVariables, RequestVariables
from vrata.expressions.syntax import Logic
from vrata.expressions.term import Code

__all__ = ["CLAIMS", "REQUEST", "Environment", "Expression", "compile_expression"]

_KEPT: Final = 4096


class Expression:
    """An expression, ready to be evaluated, by any number of threads.

    ``text`` is its source. ``reads_body`` tells whether it reads, or asks for, anything of the request's body.
    """

    __slots__ = ("_locals", "_value", "_verdicts", "reads_body", "text")

    def __init__(
        self, text: str, value: Code, verdicts: tuple[Code, ...], macro_variables: int, reads_body: bool
    ) -> None:
        self.text = text
        self.reads_body = reads_body
        self._value = value
        self._verdicts = verdicts
        self._locals = [None] * macro_variables

    def holds(self, variables: RequestVariables | ClaimsVariables) -> bool:
        """Tell whether the value is true; an error, and a value of another type, count as false."""
        frame: Frame = [variables, BUDGET, None, *self._locals]
        try:
            # An error of one of them cannot become true any more, so the others need not be asked.
            for verdict in self._verdicts:
                if verdict(frame) is not True:
                    return False
        except (EvaluationError, LimitExceeded, RecursionError):
            return False
        return True

    def evaluate(self, variables: RequestVariables | ClaimsVariables) -> Any:
        """Return the value.

        Raises EvaluationError when there is none, or when finding it would cost more than `limits.BUDGET`.
        """
        try:
            return self._value([variables, BUDGET, None, *self._locals])
        except LimitExceeded as error:
            raise EvaluationError(str(error)) from None
        except RecursionError:
            raise EvaluationError("the values are nested too deeply") from None

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


@lru_cache(maxsize=_KEPT)
def compile_expression(text: str, environment: Environment = REQUEST, *, any_result: bool = False) -> Expression:
    """Compile *text* for *environment*. The last few thousand results are kept, since a snapshot repeats every write.

    With *any_result* the value may be of any type; otherwise it must be able to be true.

    Raises:
        InvalidExpression: syntax, an unknown name, or types that can never be right; with the position.

    """
    node = parse(text)
    compiler = Compiler(text, environment)
    if isinstance(node, Logic) and node.operator == "&&":
        terms = [compiler.condition(operand) for operand in node.operands]
        value = decision(tuple([term.run for term in terms]), False)
    else:
        terms = [(compiler.term if any_result else compiler.condition)(node)]
        value = terms[0].run
    verdicts = tuple([term.verdict or term.run for term in terms])
    return Expression(text, value, verdicts, compiler.locals, compiler.reads_body)
