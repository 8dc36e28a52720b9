"""The syntax tree. ``offset`` is where in the source text errors about a node belong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """Any part of an expression."""

    offset: int


@dataclass(frozen=True)
class Literal(Node):
    """A value that stands in the text."""

    value: Any


@dataclass(frozen=True)
class Name(Node):
    """A variable or a type; ``absolute`` with a dot before it: not the variable of a macro."""

    name: str
    absolute: bool


@dataclass(frozen=True)
class Select(Node):
    """`operand.field`."""

    operand: Node
    field: str


@dataclass(frozen=True)
class Has(Node):
    """`has(operand.field)`."""

    operand: Node
    field: str


@dataclass(frozen=True)
class Index(Node):
    """`operand[index]`."""

    operand: Node
    index: Node


@dataclass(frozen=True)
class Call(Node):
    """`function(arguments)`, `receiver.function(arguments)`, or an operator."""

    function: str
    receiver: Node | None
    arguments: Sequence[Node]


@dataclass(frozen=True)
class Logic(Node):
    """`a && b && …` or `a || b || …`: at least two operands."""

    operator: str
    operands: Sequence[Node]


@dataclass(frozen=True)
class Conditional(Node):
    """`condition ? then : otherwise`."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True)
class ListOf(Node):
    """`[items]`."""

    items: Sequence[Node]


@dataclass(frozen=True)
class MapOf(Node):
    """`{key: value, …}`."""

    entries: Sequence[tuple[Node, Node]]


@dataclass(frozen=True)
class Macro(Node):
    """`range.macro(variable, body)`; `map` may have a condition on what it visits."""

    macro: str
    range: Node
    variable: str
    condition: Node | None
    body: Node
