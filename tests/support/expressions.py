"""Expressions in tests: variables by hand, and a request of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vrata.expressions import EvaluationError, InvalidExpression, compile_expression
from vrata.expressions.environment import Environment, Field
from vrata.expressions.limits import VARIABLES, Frame
from vrata.expressions.term import Code
from vrata.expressions.types import DYN


class Failure:
    """What a table expects where an expression has no value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ERROR: Final = Failure("ERROR")
"""The evaluation fails."""
INVALID: Final = Failure("INVALID")
"""The expression is refused before any evaluation."""


def _read(name: str) -> Code:
    def read(frame: Frame) -> Any:
        if name not in frame[VARIABLES]:
            raise EvaluationError(f"{name} has no value")
        return frame[VARIABLES][name]

    return read


UNTYPED: Final = Environment({name: Field(DYN, _read(name)) for name in ("a", "b", "c", "x", "y")})
"""Variables of which nothing is known before the evaluation; their values come from a mapping."""


def value_of(text: str, values: Mapping[str, Any] | None = None) -> Any:
    """Return the value of an expression over `UNTYPED`, or `ERROR`, or `INVALID`."""
    try:
        expression = compile_expression(text, UNTYPED, any_result=True)
    except InvalidExpression:
        return INVALID
    try:
        return expression.evaluate(values or {})  # type: ignore[arg-type]  # what UNTYPED reads
    except EvaluationError:
        return ERROR


def same(value: Any, expected: Any) -> bool:
    """Tell whether two values are the same, types of numbers and of what lists and maps have in them included."""
    if type(value) is not type(expected):
        return False
    if isinstance(value, list):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(value, dict):
        return value.keys() == expected.keys() and all(same(value[key], expected[key]) for key in value)
    return bool(value == expected) or (value != value and expected != expected)


@dataclass(frozen=True)
class Certificate:
    """A client's certificate."""

    uris: tuple[str, ...] = ("spiffe://example.org/ns/shop/sa/cart",)
    dns_names: tuple[str, ...] = ("cart.shop.example",)
    subject: str = "CN=cart,O=Shop"
    serial: str = "1a2b"


@dataclass
class RequestExample:
    """The variables of a request, as plain values."""

    method: str = "GET"
    path: str = "/api/users"
    host: str = "shop.example"
    scheme: str = "https"
    client_ip: str = "192.0.2.7"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    body_json: Mapping[str, Any] | None = None
    certificate: Certificate | None = None

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    def header_values(self) -> Mapping[str, str]:
        return self.headers

    def query_parameter(self, name: str) -> str | None:
        return self.query.get(name)

    def query_parameters(self) -> Mapping[str, str]:
        return self.query


@dataclass
class ClaimsExample:
    """The variables of a token."""

    claims: Mapping[str, Any]
    now: int = 1_700_000_000
