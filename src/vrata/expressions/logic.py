"""Closures of what decides by itself which operands it needs: `&&`, `||`, `?:` and the macros.

An error of one operand of `&&` and `||` does not matter when another one decides; so with `all` and `exists`, which are
`&&` and `||` over elements.
"""

from collections.abc import Callable
from typing import Any, Final

from vrata.expressions.errors import EvaluationError
from vrata.expressions.limits import ABSORBED_ERROR, Frame, charge
from vrata.expressions.term import Code
from vrata.expressions.values import type_name, value_of


def _no_bool(value: Any) -> EvaluationError:
    return EvaluationError(f"a bool is needed here, got {type_name(value)}")


def decision(operands: tuple[Code, ...], decisive: bool) -> Code:
    """Return code that is *decisive* if any operand is: `||` with true, `&&` with false."""

    def decide(frame: Frame) -> Any:
        failure: EvaluationError | None = None
        for operand in operands:
            try:
                value = operand(frame)
            except EvaluationError as error:
                charge(frame, ABSORBED_ERROR)
                failure = failure or error
                continue
            if value is decisive:
                return decisive
            if type(value) is not bool:
                failure = failure or _no_bool(value)
        if failure is not None:
            raise failure
        return not decisive

    return decide


def conditional(condition: Code, then: Code, otherwise: Code) -> Code:
    """Return code for `condition ? then : otherwise`."""

    def choose(frame: Frame) -> Any:
        value = condition(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise _no_bool(value)

    return choose


def _elements(frame: Frame, group: Any, weight: int) -> list[Any]:
    """Return what a macro visits, after charging for all of it: it may end early, but need not."""
    if type(group) is dict:
        charge(frame, len(group) * weight)
        return [value_of(key) for key in group]
    if type(group) is not list:
        raise EvaluationError(f"a list or a map is needed here, got {type_name(group)}")
    charge(frame, len(group) * weight)
    return group


def _quantifier(group: Code, slot: int, body: Code, weight: int, decisive: bool) -> Code:
    def quantify(frame: Frame) -> Any:
        failure: EvaluationError | None = None
        for element in _elements(frame, group(frame), weight):
            frame[slot] = element
            try:
                value = body(frame)
            except EvaluationError as error:
                charge(frame, ABSORBED_ERROR)
                failure = failure or error
                continue
            if value is decisive:
                return decisive
            if type(value) is not bool:
                failure = failure or _no_bool(value)
        if failure is not None:
            raise failure
        return not decisive

    return quantify


def every(group: Code, slot: int, body: Code, weight: int) -> Code:
    """Return code for `group.all(slot, body)`."""
    return _quantifier(group, slot, body, weight, False)


def some(group: Code, slot: int, body: Code, weight: int) -> Code:
    """Return code for `group.exists(slot, body)`."""
    return _quantifier(group, slot, body, weight, True)


def selection(group: Code, slot: int, body: Code, weight: int) -> Code:
    """Return code for `group.filter(slot, body)`."""

    def select(frame: Frame) -> list[Any]:
        selected = []
        for element in _elements(frame, group(frame), weight):
            frame[slot] = element
            value = body(frame)
            if value is True:
                selected.append(element)
            elif value is not False:
                raise _no_bool(value)
        return selected

    return select


def exactly_one(group: Code, slot: int, body: Code, weight: int) -> Code:
    """Return code for `group.exists_one(slot, body)`, which absorbs no errors."""
    select = selection(group, slot, body, weight)
    return lambda frame: len(select(frame)) == 1


def mapping(group: Code, slot: int, condition: Code | None, body: Code, weight: int) -> Code:
    """Return code for `group.map(slot, body)` or `group.map(slot, condition, body)`."""

    def transform(frame: Frame) -> list[Any]:
        made = []
        for element in _elements(frame, group(frame), weight):
            frame[slot] = element
            if condition is not None:
                wanted = condition(frame)
                if wanted is False:
                    continue
                if wanted is not True:
                    raise _no_bool(wanted)
            made.append(body(frame))
        return made

    return transform


TESTS: Final[dict[str, Callable[[Code, int, Code, int], Code]]] = {
    "all": every,
    "exists": some,
    "exists_one": exactly_one,
    "filter": selection,
}
"""The macros that ask a bool of each element."""
