"""Static types: what is known of a value before the evaluation."""

from dataclasses import dataclass
from typing import Any, Final

from vrata.expressions.values import Duration, Timestamp, TypeValue, Uint


@dataclass(frozen=True)
class Type:
    """A type of the language, with the types of elements, or of keys and values, where it has them."""

    name: str
    parameters: tuple["Type", ...] = ()

    def __str__(self) -> str:
        if self.parameters and self.parameters != (DYN,) * len(self.parameters):
            return f"{self.name}<{', '.join(map(str, self.parameters))}>"
        return self.name


DYN: Final = Type("dyn")
"""Known only when it is there."""
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
NULL: Final = Type("null")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")
TYPE: Final = Type("type")

NUMBERS: Final = frozenset({INT, UINT, DOUBLE})
ORDERED: Final = frozenset({BOOL, STRING, BYTES, TIMESTAMP, DURATION})
KEYS: Final = frozenset({BOOL, INT, UINT, STRING, DYN})

CLASSES: Final[dict[str, type[Any]]] = {
    "bool": bool,
    "int": int,
    "uint": Uint,
    "double": float,
    "string": str,
    "bytes": bytes,
    "null": type(None),
    "timestamp": Timestamp,
    "duration": Duration,
    "type": TypeValue,
    "list": list,
    "map": dict,
}
"""The Python class of the values of a type, by the type's name."""


def list_of(element: Type) -> Type:
    """Return the type of lists of *element*."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """Return the type of maps from *key* to *value*."""
    return Type("map", (key, value))


def accepts(wanted: Type, given: Type) -> bool:
    """Tell whether a value of type *given* may be one of type *wanted*."""
    if DYN in (wanted, given):
        return True
    return wanted.name == given.name and all(map(accepts, wanted.parameters, given.parameters))


def comparable(left: Type, right: Type) -> bool:
    """Tell whether values of the two types may ever be equal."""
    if accepts(left, right) or (left in NUMBERS and right in NUMBERS):
        return True
    if left.name == right.name:
        return all(map(comparable, left.parameters, right.parameters))
    # JSON has null where there could be a map or a list.
    return {left.name, right.name} in ({"null", "map"}, {"null", "list"})


def join(left: Type, right: Type) -> Type:
    """Return the type of what is either *left* or *right*."""
    if left == right:
        return left
    if left.name == right.name:
        return Type(left.name, tuple(map(join, left.parameters, right.parameters)))
    return DYN
