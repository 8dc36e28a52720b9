"""Closures of functions, operators and regular expressions: overloads chosen beforehand where types allow it."""

from collections.abc import Sequence
from typing import Any

from vrata.expressions.errors import EvaluationError
from vrata.expressions.functions import Implementation, Overload
from vrata.expressions.limits import DYNAMIC_PATTERN, LONGEST_DYNAMIC_PATTERN, Frame, charge
from vrata.expressions.pattern import InvalidPattern, compile_pattern
from vrata.expressions.term import Code, Term
from vrata.expressions.types import CLASSES, DYN, STRING, accepts, join
from vrata.expressions.values import type_name


def call(name: str, overloads: Sequence[Overload], operands: Sequence[Term]) -> Term | None:
    """Return the term that applies the overload that fits *operands*; None when none does."""
    given = [operand.type for operand in operands]
    fitting = [
        each for each in overloads if len(each.parameters) == len(given) and all(map(accepts, each.parameters, given))
    ]
    if not fitting:
        return None
    weight = 1 + sum(operand.weight for operand in operands)
    result = fitting[0].result
    for each in fitting[1:]:
        result = join(result, each.result)
    if result.name == "list" and len(operands) == 2:
        result = join(*given)
    known = all(type_ != DYN or wanted == DYN for type_, wanted in zip(given, fitting[0].parameters, strict=True))
    if len(fitting) == 1 and known:
        special = _text_method(name, operands) if len(operands) == 2 and operands[1].is_constant else None
        return Term(result, special or _direct(fitting[0].implementation, operands), weight)
    return Term(result, _dispatched(name, fitting, operands), weight)


def _text_method(name: str, operands: Sequence[Term]) -> Code | None:
    """Return code for the methods that conditions use most, with a constant argument."""
    text, part = operands[0].run, operands[1].constant
    if name == "startsWith":
        return lambda frame: text(frame).startswith(part)
    if name == "endsWith":
        return lambda frame: text(frame).endswith(part)
    return None


def _direct(implementation: Implementation, operands: Sequence[Term]) -> Code:
    first = operands[0].run
    if len(operands) == 1:
        return lambda frame: implementation(frame, first(frame))
    second = operands[1].run
    return lambda frame: implementation(frame, first(frame), second(frame))


def _dispatched(name: str, overloads: Sequence[Overload], operands: Sequence[Term]) -> Code:
    table = {
        tuple(CLASSES[each.name] for each in overload.parameters): overload.implementation for overload in overloads
    }
    first = operands[0].run
    if len(operands) == 1:

        def apply_to_one(frame: Frame) -> Any:
            value = first(frame)
            implementation = table.get((type(value),))
            if implementation is None:
                raise EvaluationError(f"{name} does not take {type_name(value)}")
            return implementation(frame, value)

        return apply_to_one
    second = operands[1].run

    def apply_to_two(frame: Frame) -> Any:
        value = first(frame)
        other = second(frame)
        implementation = table.get((type(value), type(other)))
        if implementation is None:
            raise EvaluationError(f"{name} does not take {type_name(value)} and {type_name(other)}")
        return implementation(frame, value, other)

    return apply_to_two


def search(text: Term, pattern: Any) -> Code:
    """Return code that tells whether the compiled *pattern* is found in *text*."""
    run = text.run
    find = pattern.search
    size = pattern.programsize
    unchecked = text.type == STRING

    def is_found(frame: Frame) -> bool:
        value = run(frame)
        if not unchecked and type(value) is not str:
            raise EvaluationError(f"matches does not take {type_name(value)}")
        encoded = value.encode("utf-8", "surrogatepass")
        units = len(encoded) * size >> 6
        if units:
            charge(frame, units)
        return find(encoded) is not None

    return is_found


def dynamic_search(text: Term, pattern: Term) -> Code:
    """Return code that tells whether a pattern that is not known before is found in *text*."""
    run = text.run
    of = pattern.run

    def is_found(frame: Frame) -> bool:
        value, expression = run(frame), of(frame)
        if type(value) is not str or type(expression) is not str:
            raise EvaluationError(f"matches does not take {type_name(value)} and {type_name(expression)}")
        if len(expression) > LONGEST_DYNAMIC_PATTERN:
            raise EvaluationError(f"a regular expression made here has at most {LONGEST_DYNAMIC_PATTERN} characters")
        charge(frame, DYNAMIC_PATTERN)
        try:
            compiled = compile_pattern(expression)
        except InvalidPattern as error:
            raise EvaluationError(str(error)) from None
        encoded = value.encode("utf-8", "surrogatepass")
        charge(frame, len(encoded) * compiled.programsize >> 6)
        return compiled.search(encoded) is not None

    return is_found
