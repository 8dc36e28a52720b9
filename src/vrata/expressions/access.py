"""Closures that reach into lists, maps and entries."""

from typing import Any

from vrata.expressions.environment import Entries
from vrata.expressions.errors import EvaluationError
from vrata.expressions.limits import Frame, charge_reading
from vrata.expressions.term import Code
from vrata.expressions.values import Uint, find, type_name


def field(operand: Code, name: str) -> Code:
    """Return code for `operand.name` of a map, or of what turns out to be one."""

    def read(frame: Frame) -> Any:
        entries = operand(frame)
        if type(entries) is not dict:
            raise EvaluationError(f"{type_name(entries)} has no fields")
        if name not in entries:
            raise EvaluationError(f'there is no "{name}"')
        return entries[name]

    return read


def has_field(operand: Code, name: str) -> Code:
    """Return code for `has(operand.name)` of a map."""

    def present(frame: Frame) -> bool:
        entries = operand(frame)
        if type(entries) is not dict:
            raise EvaluationError(f"{type_name(entries)} has no fields")
        return name in entries

    return present


def entry(entries: Entries, name: str) -> Code:
    """Return code for one of *entries* by a constant name."""
    look_up = entries.find
    missing = f'there is no {entries.name}["{name}"]'

    def read(frame: Frame) -> str:
        value = look_up(frame, name)
        if value is None:
            raise EvaluationError(missing)
        # It may be decoded every time.
        charge_reading(frame, len(value))
        return value

    return read


def computed_entry(entries: Entries, key: Code) -> Code:
    """Return code for one of *entries* by a name that is computed."""
    look_up, refusal = entries.find, entries.refusal

    def read(frame: Frame) -> str:
        name = key(frame)
        value = look_up(frame, name) if type(name) is str and refusal(name) is None else None
        if value is None:
            raise EvaluationError(f"there is no such entry in {entries.name}")
        charge_reading(frame, len(value))
        return value

    return read


def has_entry(entries: Entries, key: Code | str) -> Code:
    """Return code that tells whether *entries* has a key."""
    look_up, refusal = entries.find, entries.refusal
    if isinstance(key, str):
        name = key
        return lambda frame: look_up(frame, name) is not None
    code = key

    def present(frame: Frame) -> bool:
        value = code(frame)
        return type(value) is str and refusal(value) is None and look_up(frame, value) is not None

    return present


def item(operand: Code, index: Code) -> Code:
    """Return code for `operand[index]` of a list or a map."""

    def read(frame: Frame) -> Any:
        group, at = operand(frame), index(frame)
        kind = type(group)
        if kind is dict:
            found, value = find(frame, group, at)
            if not found:
                raise EvaluationError("there is no such key")
            return value
        if kind is not list:
            raise EvaluationError(f"{type_name(group)} has no items")
        place = type(at)
        if place is float and at.is_integer():
            at, place = int(at), int
        # Not isinstance(): a bool would pass it, and compiled be an integer from there on.
        if (place is int or place is Uint) and 0 <= at < len(group):
            return group[at]
        raise EvaluationError(f"there is no such item: the list has {len(group)}")

    return read
