"""Closures of `==`, `!=`, the comparisons and `in`, chosen by what is known of the operands' types."""

import operator
from collections.abc import Callable
from typing import Any, Final

from vrata.expressions.errors import EvaluationError
from vrata.expressions.limits import LONG_TEXT, Frame, charge_reading
from vrata.expressions.term import Code, Entry, Term
from vrata.expressions.types import BYTES, NUMBERS, ORDERED, STRING, list_of
from vrata.expressions.values import ORDER, contains_value, equal, find, type_name

_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def equality(left: Term, right: Term) -> Code:
    """Return code for `left == right`."""
    if left.is_constant:
        left, right = right, left
    first, second = left.run, right.run
    if right.is_constant and type(right.constant) is str:
        text = right.constant
        if left.type == STRING:
            return lambda frame: first(frame) == text

        def equals_text(frame: Frame) -> bool:
            value = first(frame)
            return type(value) is str and value == text

        return equals_text
    if (left.type in NUMBERS and right.type in NUMBERS) or (
        left.type == right.type and left.type in ORDERED - {STRING, BYTES}
    ):
        return lambda frame: first(frame) == second(frame)
    return lambda frame: equal(frame, first(frame), second(frame))


def inequality(left: Term, right: Term) -> Code:
    """Return code for `left != right`."""
    if right.is_constant and type(right.constant) is str and left.type == STRING:
        first, text = left.run, right.constant
        return lambda frame: first(frame) != text
    same = equality(left, right)
    return lambda frame: not same(frame)


def verdict_on_entry(symbol: str, entry: Entry, text: str) -> Code | None:
    """Return code that tells whether `entry symbol text`, or `text in entry`, is true; None for other symbols."""
    find_entry, name = entry
    if symbol == "==":
        return lambda frame: find_entry(frame, name) == text
    if symbol == "!=":
        # Of an entry that is absent nothing is true, neither that it is another one.
        return lambda frame: find_entry(frame, name) not in (None, text)
    if symbol != "in":
        return None

    def contains_text(frame: Frame) -> bool:
        value = find_entry(frame, name)
        if value is None:
            return False
        if len(value) > LONG_TEXT:
            charge_reading(frame, len(value))
        return text in value

    return contains_text


def comparison(symbol: str, left: Term, right: Term) -> Code:
    """Return code for `left symbol right`."""
    compare = _COMPARISONS[symbol]
    first, second = left.run, right.run
    if left.type in NUMBERS and right.type in NUMBERS:
        return lambda frame: compare(first(frame), second(frame))

    def compare_any(frame: Frame) -> Any:
        one, other = first(frame), second(frame)
        kind = type(one)
        if ORDER.get(kind, -1) != ORDER.get(type(other), -2):
            raise EvaluationError(f"no order between {type_name(one)} and {type_name(other)}")
        if kind is str or kind is bytes:
            charge_reading(frame, min(len(one), len(other)))
        return compare(one, other)

    return compare_any


def part_of_text(part: Term, text: Term) -> Code:
    """Return code that tells whether *text* contains *part*, both known to be strings."""
    whole, piece = text.run, part.run
    if part.is_constant:
        word = part.constant

        def contains_word(frame: Frame) -> bool:
            value = whole(frame)
            if len(value) > LONG_TEXT:
                charge_reading(frame, len(value))
            return word in value

        return contains_word

    def contains(frame: Frame) -> bool:
        value = piece(frame)
        among = whole(frame)
        charge_reading(frame, len(among))
        return value in among

    return contains


def membership(item: Term, group: Term) -> Code:
    """Return code for `item in group`."""
    value, among = item.run, group.run
    if item.type == STRING and group.type == STRING:
        return part_of_text(item, group)
    if item.type == STRING and group.is_constant and group.type == list_of(STRING):
        texts = frozenset(group.constant)
        return lambda frame: value(frame) in texts

    def is_member(frame: Frame) -> bool:
        one = value(frame)
        container = among(frame)
        kind = type(container)
        if kind is list:
            return contains_value(frame, container, one)
        if kind is dict:
            return find(frame, container, one)[0]
        if kind is str and type(one) is str:
            charge_reading(frame, len(container))
            return one in container
        raise EvaluationError(f"no in between {type_name(one)} and {type_name(container)}")

    return is_member
