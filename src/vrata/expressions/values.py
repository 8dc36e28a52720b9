"""Values of the language as Python objects, and when two of them are equal.

bool, int, float, str, bytes, list, dict and None stand for themselves; the classes below are the other types. The type
of a value is its exact class: a bool is no int, and neither is a `Uint`.
"""

from typing import Any, Final

from vrata.expressions.limits import Frame, charge, charge_reading


class Uint(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class Timestamp(int):
    """A point in time: nanoseconds since 1970, UTC."""

    __slots__ = ()


class Duration(int):
    """A signed span of time: nanoseconds in 64 bits."""

    __slots__ = ()


class TypeValue(str):
    """A type, as `type()` gives it: its name."""

    __slots__ = ()


class BoolKey:
    """A bool as the key of a map: Python's own would be the same key as 0 or 1."""

    __slots__ = ()


TRUE_KEY: Final = BoolKey()
FALSE_KEY: Final = BoolKey()

TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    type(None): "null_type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
}
"""How the language calls the types of values."""

ORDER: Final[dict[type, int]] = {int: 0, Uint: 0, float: 0, str: 1, bytes: 2, bool: 3, Timestamp: 4, Duration: 5}
"""Values are ordered when their classes have the same number."""


def type_name(value: Any) -> str:
    """Return what the language calls the type of *value*."""
    return TYPE_NAMES.get(type(value), type(value).__name__)


def key_of(value: Any) -> Any:
    """Return what stands for *value* among the keys of a dict."""
    if type(value) is bool:
        return TRUE_KEY if value else FALSE_KEY
    return value


def value_of(key: Any) -> Any:
    """Return the value that a *key* of a dict stands for."""
    if type(key) is BoolKey:
        return key is TRUE_KEY
    return key


def equal(frame: Frame, left: Any, right: Any) -> bool:
    """Tell whether two values of any types are equal: numbers by their value, lists and maps by what is in them."""
    kind = type(left)
    other = type(right)
    if kind is other:
        if kind is list:
            if len(left) != len(right):
                return False
            charge(frame, 8 + 4 * len(left))
            return all(equal(frame, item, right[index]) for index, item in enumerate(left))
        if kind is dict:
            if len(left) != len(right):
                return False
            charge(frame, 8 + 4 * len(left))
            return all(key in right and equal(frame, item, right[key]) for key, item in left.items())
        if (kind is str or kind is bytes) and left is not right:
            charge_reading(frame, min(len(left), len(right)))
        return bool(left == right)
    return ORDER.get(kind) == 0 and ORDER.get(other) == 0 and bool(left == right)


def contains_value(frame: Frame, items: list[Any], value: Any) -> bool:
    """Tell whether *items* has one that equals *value*."""
    charge(frame, 4 * len(items))
    return any(equal(frame, item, value) for item in items)


def find(frame: Frame, entries: dict[Any, Any], key: Any) -> tuple[bool, Any]:
    """Look *key* up: whether it is there, and its value. Keys that are no possible key are not there."""
    kind = type(key)
    if kind is str or kind is int or kind is Uint:
        pass
    elif kind is bool:
        key = TRUE_KEY if key else FALSE_KEY
    elif kind is not float:
        return False, None
    if key in entries:
        return True, entries[key]
    return False, None
